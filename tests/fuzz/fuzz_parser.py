"""Fuzzes the parser with libFuzzer: no fault, bounded output, the same result if the input is split.

    pip install atheris
    mkdir -p /tmp/fuzz
    python tests/fuzz/fuzz_parser.py /tmp/fuzz -max_total_time=1800

It starts from the ends of the logs in ``tests/logs``, where their crashes are. An input that fails, or takes
longer than :data:`SECONDS`, is written to ``crash-…`` or ``timeout-…`` in the working directory; the same
program with that file as its only argument runs it again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["kpanic"]):
    from kpanic.grammars import Parser, registry
    from kpanic.grammars.boot import READERS
    from kpanic.grammars.report import FAULT
    from kpanic.shipper.document import ORIGINAL_LIMIT, build
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import encode

    PARSER = Parser()  # imports the families
    for log in (Path(__file__).parents[1] / "logs" / "lab").glob("*-null_read.log"):
        PARSER.feed(log.read_bytes())  # other modules that the first crash imports
        PARSER.close()

LONGEST = 8192
"""Maximum bytes of an input."""
SECONDS = 5
"""Maximum seconds of an input: a few kilobytes take milliseconds, and ten times more under the fuzzer."""
EXPANSION = 16
"""Maximum bytes of JSON for a byte of input: an incident's lines are kept up to three times, and escaped."""
ORIGIN = Origin("file", "/fuzz", mtime=0.0, agent_host="fuzz")


def one_input(data: bytes) -> None:
    """Parse the input whole and in two pieces; both must give the same crashes."""
    whole = PARSER.feed(data) + PARSER.close()
    if len(whole) > 1 + data.count(b"\n") + data.count(b"\\"):
        raise AssertionError(f"{len(whole)} reports of {len(data)} bytes")
    for report in whole:
        if report.doubt.startswith(FAULT):
            raise AssertionError(report.doubt)
        document = encode(build(report, ORIGIN, now=0.0))
        if b"\n" in document or json.loads(document)["kernel"]["panic"]["title"] == "":
            raise AssertionError(f"no document: {document!r}")
        if len(document) > ORIGINAL_LIMIT + EXPANSION * (len(data) + 1024):
            raise AssertionError(f"{len(document)} bytes of JSON for {len(data)}")
    cut = data[0] * len(data) // 256 if data else 0
    pieces = PARSER.feed(data[:cut]) + PARSER.feed(data[cut:]) + PARSER.close()
    if pieces != whole:
        raise AssertionError(f"a split at {cut} changes the crashes")


def dictionary(folder: Path) -> Path:
    """Write the literals of the scan and of a report's body as a dictionary of libFuzzer."""
    words = [literal for literal, *_ in (*registry.default().literals, *READERS)]
    words += [
        "Call Trace:\n",
        "\n f+0x1/0x2\n",
        "RIP: 0010:f+0x1/0x2\n",
        "[    1.000000] ",
        "<4>[    1.000000][  T1] ",
    ]
    quoted = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
    path = folder / "words.dict"
    path.write_text("".join(f'"{word}"\n' for word in quoted))
    return path


def seeds(folder: Path) -> Path:
    """Write the ends of real logs, which are short enough for mutations in many places."""
    target = folder / "seeds"
    target.mkdir()
    for number, path in enumerate(sorted((Path(__file__).parents[1] / "logs").rglob("*"))):
        if path.is_file():
            (target / str(number)).write_bytes(path.read_bytes()[-LONGEST:])
    return target


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = [*sys.argv, f"-dict={dictionary(folder)}", f"-timeout={SECONDS}", f"-max_len={LONGEST}"]
        if any(Path(argument).is_dir() for argument in sys.argv[1:]):
            arguments.append(str(seeds(folder)))
        atheris.Setup(arguments, one_input)
        atheris.Fuzz()
