"""``kpanic status``: show what the store holds, what is not delivered, and why."""

from __future__ import annotations

import sys
import time

import click

from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.terminal import escape_controls, visible

__all__ = ["command"]


@click.command("status")
@configured
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="Output format."
)
@click.option("--dead", is_flag=True, help="List every document that an output refused, with its reason.")
def command(config_file: str | None, overrides: tuple[str, ...], form: str, *, dead: bool) -> int:
    """Show what the store holds, how far each output is, and what was refused and why."""
    import msgspec  # noqa: PLC0415

    config = read_config(config_file, overrides)
    with open_store(config, readonly=True) as store:
        status = store.status()
        refusals = store.refusals()
        letters = list(store.dead_letters()) if dead else []
    if form == "json":
        document = msgspec.to_builtins(status)
        if dead:
            document["dead"] = [
                {"output": one.output, "id": one.id, "reason": one.reason, "at": one.at} for one in letters
            ]
        sys.stdout.buffer.write(escape_controls(msgspec.json.format(msgspec.json.encode(document))) + b"\n")
        return 0
    lines = [
        f"store      {status.path} ({status.bytes / 1e6:.1f} MB)",
        f"documents  {status.documents} ({status.kept} with their text)",
        f"incidents  {status.incidents}, {status.fatal} of them fatal",
    ]
    if status.first:
        lines.append(f"crashes    {status.first} to {status.last}")
    if not status.outputs:
        lines.append("outputs    none so far")
    for output in status.outputs:
        lines.append(
            f"output     {output.name}: {output.delivered} delivered, {output.pending} pending,"
            f" {output.dead} refused{_ago(output.last_delivery)}"
        )
        if output.trouble:
            lines.append(f"           {output.trouble}")
        lines += [
            f"           refused {one.documents}: {one.reason}"
            for one in refusals
            if one.output == output.name
        ]
    if dead and not letters:
        lines.append("refused    none")
    elif dead:
        lines += [f"refused    {one.output} {one.id}: {one.reason}" for one in letters]
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
    return 0


def _ago(moment: float | None) -> str:
    return "" if moment is None else f", last {max(0, time.time() - moment):.0f} s ago"
