"""Writes the man pages of kpanic and its commands: ``python packaging/man.py FOLDER DATE``."""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from kpanic import __version__
from kpanic.shipper.cli import cli


def loaded(command: click.Command) -> click.Command:
    """Return a command with all subcommands loaded, which are normally imported when they are called."""
    help_ = " ".join((command.help or "").split("\n\n")[0].split())
    command.short_help = help_.partition(". ")[0].removesuffix(
        "."
    )  # click would cut the sentence at 45 characters
    if not isinstance(command, click.Group):
        return command
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return click.Group(
        command.name,
        {name: loaded(one) for name, one in found.items() if one is not None},
        help=command.help,
        short_help=command.short_help,
        params=command.params,
        context_settings=command.context_settings,
    )


def main() -> None:
    """Write the pages, compressed as Debian's policy requires."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("kpanic", loaded(cli), version=__version__, target_dir=str(folder), date=sys.argv[2])
    for page in folder.glob("*.1"):
        text = re.sub(
            r"^'", r"\\&'", page.read_text(), flags=re.MULTILINE
        )  # a leading quote would be a roff request
        page.with_name(f"{page.name}.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        page.unlink()


if __name__ == "__main__":
    main()
