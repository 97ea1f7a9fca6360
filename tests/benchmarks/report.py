"""How long ``kpanic report`` takes over large stores, in how much memory, and how soon its page is there.

    python tests/benchmarks/report.py                      10,000, 100,000 and 1,000,000 incidents
    python tests/benchmarks/report.py --incidents 10000    other numbers, with commas between
    python tests/benchmarks/report.py --keep FOLDER        keep the stores there; use those that are there

The incidents are the crashes of ``tests/logs``, some more often than others, at times of their own in a
year, on 2,000 hosts; every tenth is heard twice. A store of a million takes some minutes to make, and 5 GB.

The report is a process of its own: its time by the clock and the processor's, and its largest resident
size. The page is opened in Chromium: "drawn" is from the start of loading until every chart is painted,
"filter" from a click on a bar until all of them are painted anew. MB are 10^6 bytes.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic import grammars
from kpanic.shipper.document import build
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import Packed, encode
from kpanic.shipper.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGS = Path(__file__).parents[1] / "logs"
HOSTS = 2_000
START, YEAR = 1.76e9, 365 * 86_400
MB = 10**6


def packed(incidents: int) -> Iterator[Packed]:
    """Yield documents as the store takes them; the JSON is put together of pieces, which is fast."""
    crashes = []
    for path in sorted(LOGS.rglob("*.log")):
        for report in grammars.parse(path.read_bytes()):
            document = build(report, Origin("kdump", path=path.name, host_name="@host@"), now=1.8e9)
            document |= {"_id": "@id@", "@timestamp": "@time@"}
            document["event"]["id"] = "@event@"
            document["host"]["name"] = document["host"]["hostname"] = "@host@"
            pieces = re.split(rb"(@id@|@time@|@event@|@host@)", encode(document))
            crashes.append((pieces, document["kernel"]["panic"]["fatal"]))
    chance = random.Random(2026)  # noqa: S311 - the same store every time
    chance.shuffle(crashes)
    shares = list(accumulate(1 / (rank + 4) for rank in range(len(crashes))))  # few faults are most crashes
    for number in range(incidents):
        ((pieces, fatal),) = chance.choices(crashes, cum_weights=shares)
        event = f"v1-{chance.getrandbits(128):032x}"
        moment = datetime.fromtimestamp(START + chance.random() * YEAR, UTC)
        stamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        host = f"node{int(HOSTS * chance.random() ** 3):04}.example.net"
        for provider in ("kdump", "netconsole") if number % 10 == 0 else ("kdump",):
            name = f"{event}-{provider}"
            words = {b"@id@": name, b"@time@": stamp, b"@event@": event, b"@host@": host}
            body = b"".join(words[piece].encode() if piece in words else piece for piece in pieces)
            if provider != "kdump":
                body = body.replace(b'"provider":"kdump"', f'"provider":"{provider}"'.encode())
            yield Packed(name, event, stamp, fatal, body)


def make(path: Path, incidents: int) -> float:
    """Make a store; return the seconds it took."""
    begin = time.monotonic()
    with Store(path) as store:
        documents = packed(incidents)
        while batch := list(islice(documents, 5_000)):
            store.add(batch)
    return time.monotonic() - begin


def report(folder: Path, page: Path) -> tuple[float, float, float]:
    """Make the report; return seconds, the processor's seconds, and the largest resident size in MB."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("kpanic"), "report", "-E", f"path.data={folder}", "-o", page],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"kpanic report failed with {process.returncode}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MB


def browse(page: Path) -> tuple[float, float]:
    """Open the page; return the seconds until it is drawn, and until a filter is."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    painted = "document.documentElement.dataset.painted === '{}'"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1400, "height": 900})
        tab.set_default_timeout(300_000)
        tab.goto(page.as_uri())
        tab.wait_for_function(f"() => {painted.format(1)}")
        drawn = tab.evaluate("performance.getEntriesByName('painted')[0].startTime") / 1000
        begin = tab.evaluate("performance.now()")
        tab.locator("#panel-by-cause .bars button").first.click()
        tab.wait_for_function(f"() => {painted.format(2)}")
        clicked = (tab.evaluate("performance.getEntriesByName('painted')[1].startTime") - begin) / 1000
        chromium.close()
    return drawn, clicked


def main() -> None:
    """Print a line a size."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--incidents", default="10000,100000,1000000")
    arguments.add_argument("--keep", type=Path)
    chosen = arguments.parse_args()
    heads = ("store", "report", "processor", "memory", "page", "drawn", "filter")
    print(f"{'incidents':>9}", *(f"{head:>9}" for head in heads))
    for incidents in map(int, chosen.incidents.split(",")):
        with nullcontext(chosen.keep) if chosen.keep else tempfile.TemporaryDirectory() as top:
            folder = Path(top) / str(incidents)
            if not (folder / "kpanic.db").exists():
                make(folder / "kpanic.db", incidents)
            page = folder / "report.html"
            seconds, processor, memory = report(folder, page)
            drawn, clicked = browse(page)
            store, size = ((folder / "kpanic.db").stat().st_size / MB, page.stat().st_size / MB)
            figures = (
                f"{store:.0f} MB",
                f"{seconds:.1f} s",
                f"{processor:.1f} s",
                f"{memory:.0f} MB",
                f"{size:.1f} MB",
                f"{drawn:.2f} s",
                f"{clicked:.2f} s",
            )
            print(f"{incidents:>9,}", *(f"{figure:>9}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
