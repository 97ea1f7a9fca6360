"""``kpanic filter``: lines in, documents out, for use inside an existing pipeline.

A document is printed as soon as its crash is complete: its host has been quiet for ``--close-quiet`` seconds,
prints other messages, or the input ends. SIGTERM and SIGINT end the filter like the end of the input. With
``--state`` a crash that is open at the end is left to the next filter.
"""

from __future__ import annotations

import os
import signal
import sys

import click

from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import read_config
from kpanic.shipper.commands._plugins import origin
from kpanic.shipper.terminal import say

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
@click.option(
    "--input-format",
    type=click.Choice(["lines", "msgpack"]),
    default="lines",
    show_default=True,
    help="Lines, plain or records in JSON; or records in MessagePack, alone or as Fluentd's events.",
)
@click.option(
    "--output-format",
    type=click.Choice(["json", "msgpack", "syslog"]),
    default="json",
    show_default=True,
    help="JSON lines; Fluentd's events in MessagePack; messages of RFC 5424 with the JSON as their text.",
)
@click.option("--signatures", is_flag=True, help="Print a second document for each new signature.")
@click.option(
    "--tag",
    default="",
    metavar="TAG",
    help="Tag of the documents; those of signatures get TAG.signature. In JSON it is the field tag.",
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    help="File to append the documents to, by default standard output.",
)
@click.option(
    "--confirm",
    is_flag=True,
    help="Print OK for each line that was accepted (rsyslog's confirmMessages); needs --output.",
)
@click.option(
    "--state",
    "folder",
    metavar="FOLDER",
    help="Folder for crashes that are open at the end, with which the next filter continues.",
)
@click.option(
    "-E", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the configuration; repeatable."
)
@click.option(
    "-c",
    "config_file",
    metavar="FILE",
    help="Configuration file, for namespace, tags, labels and redaction; by default none.",
)
def command(  # noqa: PLR0913 - its options
    *,
    close_quiet: float,
    input_format: str,
    output_format: str,
    signatures: bool,
    tag: str,
    target: str | None,
    confirm: bool,
    folder: str | None,
    overrides: tuple[str, ...],
    config_file: str | None,
) -> None:
    """Read lines from standard input and print a document for each crash.

    A line is plain, in any form that a kernel's line travels in, or a record in JSON with the words in
    message, msg, log or MESSAGE and the host's name beside them. A crash that comes twice is printed once.
    """
    from kpanic.shipper.api import Stop, Unavailable  # noqa: PLC0415 - the grammar
    from kpanic.shipper.commands.filter.stage import (  # noqa: PLC0415
        Stage,
        to_file,
        to_standard_output,
    )
    from kpanic.shipper.commands.filter.state import State  # noqa: PLC0415
    from kpanic.shipper.inputs.piped_lines import (  # noqa: PLC0415
        NotMessagePack,
        PipedLines,
        PipedRecords,
        follow_pipe,
    )
    from kpanic.shipper.outputs.file import FileConfig, FileOutput  # noqa: PLC0415

    if sys.stdin is None:
        raise Failure("standard input is closed")
    if confirm and target is None:
        raise click.UsageError("--confirm needs --output: standard output is for the confirmations")
    if confirm and input_format != "lines":
        raise click.UsageError("--confirm needs --input-format lines")
    if target is not None and output_format != "json":
        raise click.UsageError("--output is a file of JSON lines")
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    out = sys.stdout
    os.set_blocking(out.fileno(), True)

    def tell(message: str) -> None:
        say(f"kpanic: {message}")

    def answer(line: str) -> None:
        out.write(line + "\n")
        out.flush()

    parser = PipedLines if input_format == "lines" else PipedRecords
    stage = Stage(
        lambda take, clock: parser(close_quiet, tell, take, clock),
        to_standard_output(output_format, tag)
        if target is None
        else to_file(FileOutput(FileConfig(path=target)), tag, stop, tell),
        origin(read_config(config_file, overrides) if config_file or overrides else None),
        signatures,
        answer if confirm else None,
        tell,
        State(folder) if folder else None,
    )
    stage.start()
    try:
        follow_pipe(sys.stdin.fileno(), stage, stop, stage.clock)
    except NotMessagePack as error:
        stage.flush()
        raise Failure(f"standard input is not MessagePack: {error}") from None
    except Unavailable as error:
        raise Failure(str(error)) from None
