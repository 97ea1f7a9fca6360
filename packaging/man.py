"""Write the man pages of kpanic and its commands: ``python packaging/man.py FOLDER DATE``."""

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
    """Return a command with all its subcommands, which are otherwise loaded when they are called."""
    help_ = " ".join((command.help or "").split("\n\n")[0].split())
    command.short_help = help_.partition(". ")[0].removesuffix(".")  # a sentence, where click cuts at 45
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
    """Write the pages, compressed as Debian's policy wants them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("kpanic", loaded(cli), version=__version__, target_dir=str(folder), date=sys.argv[2])
    for page in folder.glob("*.1"):
        text = re.sub(r"^'", r"\\&'", page.read_text(), flags=re.MULTILINE)  # a word, and no request to roff
        page.with_name(f"{page.name}.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        page.unlink()


if __name__ == "__main__":
    main()
