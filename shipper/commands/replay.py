"""``kpanic replay``: deliver refused documents again, or all of them."""

from __future__ import annotations

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._deliver import delivering, say_delivered
from kpanic.shipper.commands._owner import become_owner
from kpanic.shipper.commands._plugins import make_outputs
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.terminal import say
from kpanic.shipper.triage import Triage

__all__ = ["command"]


@click.command("replay")
@click.argument("output", required=False)
@configured
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Deliver all documents whose text is kept, not only the refused ones.",
)
def command(
    output: str | None, config_file: str | None, overrides: tuple[str, ...], *, everything: bool
) -> int:
    """Deliver the documents again that OUTPUT, or any output, refused. Fix the reason first."""
    config = read_config(config_file, overrides)
    become_owner(config)
    outputs = make_outputs(config, output)
    with open_store(config) as store:
        for one in outputs:
            store.register_output(one.name)
        count = store.replay(output, everything=everything)
        say(f"{count} to deliver again")
        with delivering(store, outputs, Triage(config.entries)):
            pass
        return 0 if say_delivered(store, outputs) else 1
