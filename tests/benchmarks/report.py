"""Measures the time and memory of commands on large stores, and the time until the report is drawn.

    python -m tests.benchmarks.report                      10,000, 100,000 and 1,000,000 incidents
    python -m tests.benchmarks.report --incidents 10000    other numbers, with commas between
    python -m tests.benchmarks.report --keep FOLDER        keep the stores there; use those that are there

The stores are those of :mod:`tests.benchmarks.crashes`; a million takes some minutes to make, and 3 GB.

Every command is a process of its own, start-up included: its time by the clock, the processor's, and its
largest resident size. The page is opened in Chromium: "drawn" is from the start of loading until every chart
is painted, "filter" from a click on a bar until all of them are painted anew. MB are 10^6 bytes.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

MB = 10**6
COMMANDS = (("status",), ("list",), ("last",), ("signatures",), ("report", "--format", "json"))


class Taken(NamedTuple):
    """The cost of a process."""

    seconds: float
    processor: float
    memory: float
    """Largest resident size in MB, of the process or of one that it started."""


def run(folder: Path, *arguments: str) -> Taken:
    """Run a command over a store."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("kpanic"), *arguments, "-E", f"path.data={folder}"],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"kpanic {' '.join(arguments)} failed with {process.returncode}")
    return Taken(time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / MB)


def browse(page: Path) -> tuple[float, float]:
    """Open the page; return the seconds until it is drawn, and until it is drawn with a filter."""
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
    """Print the cost for each size of store."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--incidents", default="10000,100000,1000000")
    arguments.add_argument("--keep", type=Path)
    chosen = arguments.parse_args()
    for incidents in map(int, chosen.incidents.split(",")):
        with nullcontext(chosen.keep) if chosen.keep else tempfile.TemporaryDirectory() as top:
            folder = Path(top) / str(incidents)
            store, page = folder / "kpanic.db", folder / "report.html"
            if not store.exists():
                # In another process: a child process counts its parent's memory.
                made = [sys.executable, "-m", "tests.benchmarks.crashes", str(store), str(incidents)]
                subprocess.run(made, check=True)
            print(f"{incidents:,} incidents, {store.stat().st_size / incidents:,.0f} bytes each")
            for command in (*COMMANDS, ("report", "-o", str(page))):
                taken = run(folder, *command)
                figures = f"{taken.seconds:6.2f} s {taken.processor:6.2f} s CPU {taken.memory:5.0f} MB"
                print(f"  {' '.join(command[:3]):<22} {figures}", flush=True)
            drawn, clicked = browse(page)
            print(f"  page of {page.stat().st_size / MB:.1f} MB: drawn {drawn:.2f} s, filter {clicked:.2f} s")


if __name__ == "__main__":
    main()
