"""Feed the parser whatever libFuzzer thinks of: no exception, no unbounded output, chunks or not.

    pip install atheris
    mkdir -p /tmp/fuzz
    python tests/fuzz/fuzz_parser.py /tmp/fuzz tests/logs/lab -max_len=8192 -max_total_time=1800

Input that fails is written to ``crash-…`` in the working directory; the same command with that file as its
only argument runs it again. With ``-runs=0`` it only reads the logs it is given.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["grammars"]):
    from grammars import Parser

HARD_LIMIT = 64
"""Reports that an input of a few kilobytes cannot hold more of: each has a line of its own."""


def one_input(data: bytes) -> None:
    """Parse the input whole and in two pieces; both must give the same crashes."""
    parser = Parser()
    whole = parser.feed(data) + parser.close()
    if len(whole) > HARD_LIMIT + data.count(b"\n") + data.count(b"\\"):
        raise AssertionError(f"{len(whole)} reports of {len(data)} bytes")
    cut = len(data) // 3
    pieces = parser.feed(data[:cut]) + parser.feed(data[cut:]) + parser.close()
    if pieces != whole:
        raise AssertionError("a split changes the crashes")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
