"""Trains the dictionary with which the store compresses texts.

    python -m tests.shipper.dictionary FILE

The samples are the documents of the crashes in ``tests/logs`` and ``tests/wild``. A dictionary of a release
stays as it is: texts that were compressed with it need it. A better one is a further file.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
from pathlib import Path

import zstandard

from kpanic import grammars
from kpanic.shipper.document import build
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import encode

TESTS = Path(__file__).parents[1]
SIZE = 112_640
"""Size in bytes, zstd's default. With half of it texts are 5 % larger."""
LEVEL = 6
"""The same as :data:`kpanic.shipper.store.bodies.LEVEL`."""


def samples() -> list[bytes]:
    """Return the documents of all logs."""
    paths = sorted(path for name in ("logs", "wild") for path in (TESTS / name).rglob("*") if path.is_file())
    return [
        encode(build(report, Origin("kdump", path=f"/var/crash/{path.name}", host_name="node"), now=1.8e9))
        for path in paths
        if path.suffix in {".log", ".txt"}
        for report in grammars.parse(path.read_bytes())
    ]


def main() -> None:
    """Write the file."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--number", type=int, default=1, help="its number, which each text states")
    chosen = arguments.parse_args()
    texts = samples()
    trained = zstandard.train_dictionary(SIZE, texts, dict_id=chosen.number, level=LEVEL)
    chosen.file.write_bytes(trained.as_bytes())
    print(f"{chosen.file}: {len(trained.as_bytes())} bytes of {len(texts)} documents")


if __name__ == "__main__":
    main()
