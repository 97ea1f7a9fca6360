"""The command ``kpanic``; each command is a module of :mod:`kpanic.shipper.commands`, imported when called.

Exit codes: 0 done; 1 something could not be delivered or parsed (it is named, and kept); 2 the command or the
configuration is wrong. Documents go to standard output, everything else to standard error.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import TYPE_CHECKING

import click

from kpanic import __version__
from kpanic.shipper.terminal import OperatorError, say

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["Failure", "main"]

COMMANDS = {
    "parse": "Print the crashes of files as documents.",
    "explain": "Explain crashes step by step, with the lines that prove each step.",
    "ship": "Parse files and folders, and deliver their crashes.",
    "filter": "Turn lines into documents inside another pipeline.",
    "run": "Run as a service: watch the inputs and deliver.",
    "last": "Show the newest crash and its reading in short.",
    "list": "List crashes, by time, host, cause, fault or kernel.",
    "report": "Write the local dashboard as one HTML file.",
    "setup": "Install templates, policies, dashboards and alert rules into the stack.",
    "teardown": "Remove what setup installed.",
    "export": "Print what setup installs, as files.",
    "test": "Check the configuration or an output.",
    "signatures": "List faults, or make the next crash of one alert again.",
    "rollup": "Count an engine's crashes in advance, by signature and by day.",
    "status": "Show what the store holds, what failed and why.",
    "replay": "Deliver refused documents again.",
}


class Failure(Exception):  # noqa: N818 - of the command, not of the program
    """The command cannot continue. The message is one line for the operator.

    :ivar code: the exit code.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class _Lazy(click.Group):
    """A group that imports only the command that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"kpanic.shipper.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kpanic", message="%(prog)s %(version)s")
def cli() -> None:
    """Kernel panics as structured documents."""


class _OutError(OSError):
    """Standard output cannot be written. A reader that went away is a BrokenPipeError."""


class _Out(io.FileIO):
    """Standard output that raises errors of its own class."""

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _OutError(error.errno, error.strerror) from None


def _take_streams() -> None:
    """Make standard output an :class:`_Out`, and replace closed streams by open files."""
    if sys.stdin is None:
        os.open(os.devnull, os.O_WRONLY)
    if sys.stdout is None:
        sys.stdout = _out(os.open(os.devnull, os.O_RDONLY), "utf-8", "strict")
    else:
        sys.stdout = _out(sys.stdout.fileno(), sys.stdout.encoding, sys.stdout.errors or "strict")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _out(number: int, encoding: str, errors: str) -> io.TextIOWrapper:
    raw = _Out(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors=errors, line_buffering=raw.isatty()
    )


def main() -> None:
    """Run the command line and exit with its code."""
    _take_streams()
    out = sys.stdout
    try:
        code = _run()
        out.flush()
        if "kpanic.grammars" in sys.modules:
            _keep_patterns()
    except (BrokenPipeError, _OutError) as error:
        if isinstance(error, BrokenPipeError):  # the reader needs no more
            code = 0
        else:
            say(f"kpanic: standard output cannot be written: {error.strerror}")
            code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # Python flushes it once more when it ends
    sys.exit(code)


def _keep_patterns() -> None:
    """Save the patterns that a command compiled, unless they are saved already."""
    from kpanic.grammars.precompiled import PATTERNS  # noqa: PLC0415 - imported already

    if PATTERNS.wanted:
        from kpanic.grammars import precompile  # noqa: PLC0415 - once for an installation

        precompile.write_if_possible()


def _run() -> int:
    """Run the command line, print its errors, and return its exit code.

    :raises BrokenPipeError, _OutError: standard output cannot be written.
    """
    try:
        code = cli.main(prog_name="kpanic", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        code = error.exit_code
    except click.ClickException as error:
        say(f"kpanic: {' '.join(error.format_message().split())}")
        context = getattr(error, "ctx", None)
        if context is not None:
            say(f"Try '{context.command_path} --help'.")
        code = error.exit_code
    except click.exceptions.Abort:
        code = 130
    except Failure as error:
        for line in str(error).splitlines():
            say(f"kpanic: {line}")
        code = error.code
    except (BrokenPipeError, _OutError):
        raise
    except (OperatorError, OSError) as error:
        say(f"kpanic: {error}")
        code = 1
    return code if isinstance(code, int) else 0
