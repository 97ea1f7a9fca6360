"""``kpanic report``: the local dashboard as one self-contained HTML file, or its figures as JSON."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from shipper.cli import Failure
from shipper.commands._common import configured, open_store, read_config
from shipper.terminal import visible

__all__ = ["command"]


@click.command("report")
@configured
@click.option("-o", "--output", "target", metavar="FILE", default="kpanic-report.html", show_default=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "json"]),
    default="html",
    help="html: a page in FILE; json: the same figures on standard output.",
)
@click.option("--fleet", type=click.IntRange(1), metavar="N", help="Hosts there are in all, for rates.")
def command(
    config_file: str | None, overrides: tuple[str, ...], target: str, form: str, fleet: int | None
) -> int:
    """Write what the store holds as one HTML file that needs no network; print its path."""
    import dashboards  # noqa: PLC0415 - templates
    from shipper.triage import Triage  # noqa: PLC0415

    config = read_config(config_file, overrides)
    triage = Triage(config.entries)
    with open_store(config, readonly=True) as store:
        documents = map(triage.put, store.documents())
        if form == "json":
            import json  # noqa: PLC0415

            sys.stdout.write(json.dumps(dashboards.summarise(documents), indent=2) + "\n")
            return 0
        page = dashboards.render_report(documents, fleet=fleet)
    path = Path(target)
    try:
        _replace(path, page)
    except OSError as error:
        raise Failure(f"{target}: cannot be written: {error.strerror}") from None
    sys.stdout.write(visible(str(path.absolute())) + "\n")
    return 0


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        os.unlink(name)  # noqa: PTH108
        raise
