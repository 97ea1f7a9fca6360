"""Makes a store of many crashes with different hosts, times, addresses and kernels.

    python -m tests.benchmarks.crashes FILE INCIDENTS

The crashes are those of ``tests/logs`` and ``tests/wild``, some more often than others, at times in a year,
on 2,000 hosts; every tenth is heard twice. Every address, register and identifier of eight digits and more is
drawn anew for each crash, so that no text repeats another; each fault comes on twelve builds of its kernel.
"""

from __future__ import annotations

import random
import re
import sys
from datetime import UTC, datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kpanic import grammars
from kpanic.shipper.columns import Columns, columns
from kpanic.shipper.document import build
from kpanic.shipper.identity import Sighting
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import Packed, encode
from kpanic.shipper.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
HOSTS = 2_000
BUILDS = 12
START, YEAR = 1.76e9, 365 * 86_400
BATCH = 5_000

_VARIED = re.compile(
    rb"(@id@|@time@|@event@|@host@|@kernel@|@provider@"
    rb"|(?<![0-9a-zA-Z])(?!0{8})[0-9a-f]{8,16}(?![0-9a-zA-Z])|(?<=0x)[0-9a-f]{8,16}(?![0-9a-zA-Z]))"
)


class _Crash(NamedTuple):
    pieces: list[bytes]
    """The document's JSON; every other piece is replaced."""
    kernel: str
    columns: Columns
    fatal: bool


def _crashes() -> Iterator[_Crash]:
    for path in sorted(path for name in ("logs", "wild") for path in (TESTS / name).rglob("*")):
        if path.suffix not in {".log", ".txt"}:
            continue
        for report in grammars.parse(path.read_bytes()):
            document = build(report, Origin("kdump", path=path.name, host_name="@host@"), now=1.8e9)
            found = columns(document)
            kernel = document["host"].get("os", {}).get("kernel", "")
            document |= {"_id": "@id@", "@timestamp": "@time@"}
            document["event"] |= {"id": "@event@", "provider": "@provider@"}
            document["host"]["name"] = document["host"]["hostname"] = "@host@"
            text = encode(document)
            if kernel:
                text = text.replace(kernel.encode(), b"@kernel@")
            yield _Crash(_VARIED.split(text), kernel, found, document["kernel"]["panic"]["fatal"])


def _size(crash: _Crash) -> int:
    return sum(map(len, crash.pieces))


def packed(incidents: int) -> Iterator[Packed]:
    """Yield documents as the store takes them, the same in each run."""
    chance = random.Random(2026)  # noqa: S311
    crashes = sorted(_crashes(), key=_size)
    typical = _size(crashes[len(crashes) // 2])
    crashes.sort(key=lambda crash: abs(_size(crash) - typical))  # the most frequent ones have common sizes
    shares = list(accumulate(1 / (rank + 4) for rank in range(len(crashes))))  # few faults cause most crashes
    for number in range(incidents):
        (crash,) = chance.choices(crashes, cum_weights=shares)
        event = f"v1-{chance.getrandbits(128):032x}"
        moment = datetime.fromtimestamp(START + chance.random() * YEAR, UTC)
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        host = f"node{int(HOSTS * chance.random() ** 3):04}.example.net"
        kernel = f"{crash.kernel}.{chance.randrange(BUILDS)}" if crash.kernel else ""
        words = {b"@time@": stamp, b"@event@": event, b"@host@": host, b"@kernel@": kernel}
        drawn = {place: text.encode() for place, text in words.items()}
        for provider in ("kdump", "netconsole") if number % 10 == 0 else ("kdump",):
            name = f"{event}-{provider}-{chance.getrandbits(48):012x}"
            drawn |= {b"@id@": name.encode(), b"@provider@": provider.encode()}
            pieces = crash.pieces.copy()
            for place in range(1, len(pieces), 2):
                piece = pieces[place]
                if piece not in drawn:
                    drawn[piece] = f"{chance.getrandbits(64):016x}"[: len(piece)].encode()
                pieces[place] = drawn[piece]
            profile = tuple(
                provider if value == "kdump" else kernel if kernel and value == crash.kernel else value
                for value in crash.columns.profile
            )
            found = Columns(int(moment.timestamp() * 1000), host, profile)
            seen = Sighting(host, f"{chance.getrandbits(128):032x}", provider, moment.timestamp(), timed=True)
            yield Packed(name, event, stamp, crash.fatal, b"".join(pieces), seen, found)


def make(path: Path, incidents: int) -> None:
    """Make a store."""
    with Store(path) as store:
        documents = packed(incidents)
        while batch := list(islice(documents, BATCH)):
            store.add(batch)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
