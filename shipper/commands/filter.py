"""``kpanic filter``: lines in, documents out, for use inside an existing pipeline.

A document is printed as soon as its crash is complete: its host has been quiet for ``--close-quiet`` seconds,
or goes on after it, or the input ends. SIGTERM and SIGINT end it like the end of the input.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._plugins import origin
from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport

__all__ = ["command"]


@click.command("filter")
@click.option(
    "--close-quiet",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds without a line from a host after which its crash counts as complete.",
)
def command(close_quiet: float) -> None:
    """Read lines from standard input and print a document for each crash.

    A line is plain, in any form that a kernel's line travels in, or a record in JSON with the words in
    message, msg, log or MESSAGE and the host's name beside them.
    """
    from kpanic.shipper.api import Stop  # noqa: PLC0415
    from kpanic.shipper.document import build  # noqa: PLC0415
    from kpanic.shipper.inputs.piped_lines import PipedLines, follow_pipe  # noqa: PLC0415 - the grammar
    from kpanic.shipper.packed import encode  # noqa: PLC0415

    if sys.stdin is None:
        raise Failure("standard input is closed")
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    base = origin()
    out = sys.stdout.buffer
    os.set_blocking(sys.stdout.fileno(), True)

    def take(complete: list[tuple[str, CrashReport]]) -> None:
        for host, report in complete:
            of = replace(base, path="-", host_name=host, relayed=bool(host))
            out.write(encode(build(report, of)) + b"\n")
        out.flush()  # the reader does not wait for the next crash

    follow_pipe(
        sys.stdin.fileno(), PipedLines(close_quiet, lambda fault: say(f"kpanic: {fault}"), take), stop
    )
