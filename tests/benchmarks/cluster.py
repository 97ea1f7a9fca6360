"""Measures the commands that query an engine, on an engine with many documents.

    python -m tests.benchmarks.cluster                            1,000,000 documents in one OpenSearch node
    python -m tests.benchmarks.cluster --engine elasticsearch --documents 100000
    python -m tests.benchmarks.cluster --url http://127.0.0.1:9200   one that runs; filled if it is empty

Each document has the fields of a crash that the commands ask for, with an incident, a signature, a host, a
kernel and a time of its own. Few signatures have many crashes (Zipf's law), and every tenth crash comes a
second time, by another transport. Of the last 500 the engine hears after ``kpanic rollup`` has counted.

A line is a command: its seconds by the clock, start-up included, and the engine's seconds of a processor, of
the first run and the median of three more, for which the engine may remember answers; and the lines printed.
Panels are asked for one after the other, over all years.
"""

# ruff: noqa: T201, S311

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import time
import urllib.request
from bisect import bisect
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate
from multiprocessing import Pool
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from kpanic.dashboards import totals
from kpanic.dashboards.engine import rows
from kpanic.dashboards.panels import INDEX as PANELS
from kpanic.dashboards.panels import KERNEL_PANICS, LONG_TERM
from kpanic.dashboards.query import query
from kpanic.indices import data_stream, totals_index
from tests.benchmarks.service import KPANIC
from tests.engines import parts
from tests.engines.search import Engine, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.dashboards.panels import Dashboard

BULK = 5000
"""Documents of a request."""
AGAIN = 3
LATE = 500
"""Documents since the last ``kpanic rollup``."""
START, DAYS = datetime(2020, 1, 1, tzinfo=UTC), 5 * 365
LIFE = 365
"""Days in which a fault kills machines."""
INDEX = data_stream("default")


class Crash(NamedTuple):
    """The fields that differ between documents."""

    incident: str
    provider: str
    moment: int
    """Milliseconds since 1970 UTC."""
    fault: int
    host: int
    kernel: int


class Part(NamedTuple):
    """A part of the documents, which one process makes and sends."""

    url: str
    seed: int
    documents: int
    signatures: int
    hosts: int
    late: bool = False
    """Whether the crashes are of the last day and the engine receives them now."""


def crashes(part: Part) -> Iterator[Crash]:
    """Yield crashes, every tenth one twice."""
    chance = random.Random(part.seed)
    weights = [*accumulate(1 / rank for rank in range(1, part.signatures + 1))]
    crash: Crash | None = None
    for number in range(part.documents):
        if number % 11 == 0 and crash:
            yield crash._replace(provider="netconsole")
            continue
        fault = bisect(weights, chance.uniform(0, weights[-1]))
        day = DAYS - chance.random() if part.late else (fault * LIFE // 7 + chance.random() * LIFE) % DAYS
        crash = Crash(
            f"{chance.getrandbits(128):032x}",
            "file" if number else "pstore",
            int((START + timedelta(days=day)).timestamp() * 1000),
            fault,
            chance.randrange(part.hosts),
            int(day) // 30 + chance.randrange(6),
        )
        yield crash


def lines(part: Part) -> Iterator[bytes]:
    """Yield the actions of a request, with the fields that commands and counts use."""
    for one in crashes(part):
        received = int(time.time() * 1000) if part.late else one.moment
        yield (
            f"""{{"create":{{}}}}
{{"@timestamp":{one.moment},"event":{{"id":"v1-{one.incident}","provider":"{one.provider}",\
"ingested":{received}}},"host":{{"name":"host{one.host}.example.com",\
"os":{{"kernel":"6.1.0-{one.kernel}-amd64"}}}},"kernel":{{"panic":{{"cause":"cause-{one.fault % 12}",\
"fatal":true,"hardware":{{"product":"PowerEdge R{one.host % 20}"}},\
"rip":{{"module":"module_{one.fault % 90}","symbol":"function_{one.fault}"}},\
"signature":{{"id":"{signature(one.fault)}","quality":"strong"}},"taint":{{"flags":["O","W"]}},\
"title":"BUG: unable to handle kernel NULL pointer dereference in function_{one.fault}"}}}}}}
"""
        ).encode()


def signature(fault: int) -> str:
    """Return the signature of a fault."""
    return f"v1-{fault:016x}"


def send(part: Part) -> None:
    """Send documents."""
    request = urllib.request.Request(f"{part.url}/{INDEX}/_bulk?filter_path=errors", b"".join(lines(part)))  # noqa: S310
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
        if json.load(answer)["errors"]:
            raise SystemExit("a document was refused")


def fill(engine: Engine, whole: Part) -> None:
    """Send documents from two processes; meanwhile the engine neither refreshes nor syncs."""
    begin = time.monotonic()
    subprocess.run([*KPANIC, "setup", "--index-management", *option(engine)], check=True, capture_output=True)
    engine.ask("PUT", f"/_data_stream/{INDEX}")
    quick = {
        "refresh_interval": "-1",
        "translog.durability": "async",
        "translog.flush_threshold_size": "1gb",
    }
    engine.ask("PUT", f"/{INDEX}/_settings", {"index": quick})
    parts = (whole._replace(seed=seed, documents=BULK) for seed in range(whole.documents // BULK))
    with Pool(2) as pool:
        for number, _ in enumerate(pool.imap_unordered(send, parts), 1):
            if number % (10**6 // BULK) == 0:
                print(f"  {number * BULK:,} documents after {time.monotonic() - begin:.0f} s", flush=True)
    engine.ask("PUT", f"/{INDEX}/_settings", {"index": dict.fromkeys(quick)})
    engine.ask("POST", f"/{INDEX}/_refresh")


def option(engine: Engine) -> list[str]:
    """Return the configuration of an engine for the command line."""
    return ["-E", f"output.{engine.product}.hosts={engine.url}"]


def roll_up(engine: Engine, *arguments: str) -> None:
    """Run ``kpanic rollup``, and print its cost."""
    server = listener(int(engine.url.rpartition(":")[2]))
    before, begin = server.cpu_times(), time.monotonic()
    subprocess.run([*KPANIC, "rollup", *arguments, *option(engine)], check=True, capture_output=True)
    seconds, after = time.monotonic() - begin, server.cpu_times()
    spent = after.user + after.system - before.user - before.system
    print(f"  {'kpanic rollup':<49} {seconds:6.2f} s {spent:6.2f} s", flush=True)


def load(engine: Engine, dashboard: Dashboard) -> None:
    """Query all panels of a dashboard over all years, and print the cost."""
    server = listener(int(engine.url.rpartition(":")[2]))
    before, begin = server.cpu_times(), time.monotonic()
    for panel in dashboard.panels:
        if panel.source != "signatures":
            path = f"/{PANELS[panel.source]}/_search?request_cache=false"
            engine.ask("POST", path, query(panel, interval=timedelta(days=30)))
    seconds, after = time.monotonic() - begin, server.cpu_times()
    spent = after.user + after.system - before.user - before.system
    print(f"  panels of {dashboard.title:<39} {seconds:6.2f} s {spent:6.2f} s", flush=True)


def timed(engine: Engine, *arguments: str, again: int = AGAIN) -> None:
    """Run a command, and print its cost.

    :param again: runs after the first.
    """
    command = [*KPANIC, *arguments, "--from", engine.product, *option(engine)]
    server = listener(int(engine.url.rpartition(":")[2]))
    taken = []
    for _ in range(1 + again):
        before, begin = server.cpu_times(), time.monotonic()
        done = subprocess.run(command, capture_output=True, check=False)
        seconds, after = time.monotonic() - begin, server.cpu_times()
        taken.append((seconds, after.user + after.system - before.user - before.system))
        if done.returncode:
            raise SystemExit(done.stderr.decode())
    first = "{:6.2f} s {:6.2f} s".format(*taken[0])
    again = "{:6.2f} s {:6.2f} s".format(*map(statistics.median, zip(*taken[1:], strict=True)))
    lines = len(done.stdout.splitlines())
    print(f"  kpanic {' '.join(arguments):<42} {first} {again} {lines:6,}", flush=True)


def check(engine: Engine, whole: Part) -> None:
    """Compare the list of signatures with a full count by the engine, and with the crashes that were made."""

    def ask(index: str, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = engine.ask("POST", f"/{index}/_search", body)
        return found

    documents, kept = partial(ask, INDEX), partial(ask, totals_index("default"))
    listed = totals.rows(kept, documents)
    if listed is None:
        raise SystemExit("the totals were not used")
    counted = {row.key: row.values for row in rows(documents, totals.LIST)}
    if {row.key for row in listed} != counted.keys():
        raise SystemExit("the list has other signatures than a full count")
    print(f"  {len(listed):,} signatures; of these differ from a full count:")
    for place, name in enumerate(("incidents", "hosts", "first", "last", "title", "cause")):
        unlike = [row for row in listed if row.values[place] != counted[row.key][place]]
        most = (abs(row.values[place] / counted[row.key][place] - 1) for row in unlike if place < 2)  # type: ignore[operator]
        print(f"    {name:<10} {len(unlike):6,}, by {max(most, default=0):.2%} at most")
    made: Counter[str] = Counter()
    batches = [whole._replace(seed=seed, documents=BULK) for seed in range(whole.documents // BULK)]
    for part in [*batches, late(whole)]:
        made.update(signature(one.fault) for one in crashes(part) if one.provider != "netconsole")
    errors = {row.key: abs(int(row.values[0] or 0) / made[str(row.key)] - 1) for row in listed}
    exact = sum(not error for error in errors.values())
    print(
        f"    incidents are those that were made of {exact:,}, and off by {max(errors.values()):.2%} at most"
    )


def late(whole: Part) -> Part:
    """Return the crashes that the engine receives after a count; they have a seed of their own."""
    return whole._replace(seed=whole.documents // BULK, documents=LATE, late=True)


def listener(port: int) -> psutil.Process:
    """Return the process that listens on a port of this machine."""
    (pid,) = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid
    }
    return psutil.Process(pid)


def main() -> None:
    """Fill the engine, and print the cost of each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=["opensearch", "elasticsearch"], default="opensearch")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--signatures", type=int, default=3000)
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--heap", default="1g", help="memory of the engine's Java")
    parser.add_argument("--url", default="")
    chosen = parser.parse_args()
    node = None
    if not chosen.url:
        node = Node(chosen.engine, f"http://127.0.0.1:{parts.free_port(27_400)}", heap=chosen.heap)
        node.start()
    engine = node or Engine(chosen.engine, chosen.url)
    whole = Part(engine.url, 0, chosen.documents, chosen.signatures, chosen.hosts)
    try:
        if not engine.count(INDEX):
            begin = time.monotonic()
            fill(engine, whole)
            print(f"filled in {time.monotonic() - begin:.0f} s")
        print(f"{engine.count(INDEX):,} documents, {chosen.signatures:,} signatures, {chosen.hosts:,} hosts")
        common, rare = f"v1-{0:016x}", f"v1-{chosen.signatures - 1:016x}"
        timed(engine, "list")
        timed(engine, "list", "--host", "host77*", "--since", "2024-01-01")
        timed(engine, "list", "--signature", common)
        timed(engine, "list", "--signature", rare)
        timed(engine, "signatures", again=1)
        roll_up(engine)
        roll_up(engine)
        send(late(whole))
        engine.ask("POST", f"/{INDEX}/_refresh")
        timed(engine, "signatures")
        check(engine, whole)
        roll_up(engine, "--delay", "0")
        load(engine, LONG_TERM)
        load(engine, LONG_TERM)
        load(engine, KERNEL_PANICS)
        timed(engine, "signatures", "show", common)
        timed(engine, "signatures", "show", rare)
    finally:
        if node:
            node.remove()


if __name__ == "__main__":
    main()
