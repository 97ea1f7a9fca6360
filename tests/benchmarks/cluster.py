"""How long the commands take that ask an engine with many documents.

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
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from multiprocessing import Pool
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from kpanic.dashboards.panels import INDEX as PANELS
from kpanic.dashboards.panels import KERNEL_PANICS, LONG_TERM
from kpanic.dashboards.query import query
from kpanic.indices import data_stream
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
INDEX = data_stream("default")


class Part(NamedTuple):
    """Some of the documents, which a process makes and sends."""

    url: str
    seed: int
    documents: int
    signatures: int
    hosts: int
    late: bool = False
    """The engine received them now, not when the machines died."""


def crashes(part: Part) -> Iterator[dict[str, Any]]:
    """Yield documents."""
    chance = random.Random(part.seed)
    weights = [*accumulate(1 / rank for rank in range(1, part.signatures + 1))]
    document: dict[str, Any] = {}
    for number in range(part.documents):
        if number % 11:
            provider = "file"
        elif number:  # the one before, by another transport
            yield document | {"event": document["event"] | {"provider": "netconsole"}}
            continue
        else:
            provider = "pstore"
        fault = bisect(weights, chance.uniform(0, weights[-1]))
        moment = int((START + timedelta(days=chance.uniform(0, DAYS))).timestamp() * 1000)
        document = {
            "@timestamp": moment,
            "event": {
                "id": f"v1-{chance.getrandbits(128):032x}",
                "provider": provider,
                "ingested": int(time.time() * 1000) if part.late else moment,
            },
            "host": {
                "name": f"host{chance.randrange(part.hosts)}.example.com",
                "os": {"kernel": f"6.1.0-{chance.randrange(60)}-amd64"},
            },
            "kernel": {
                "panic": {
                    "cause": "null-dereference",
                    "fatal": True,
                    "signature": {"id": f"v1-{fault:016x}", "quality": "strong"},
                    "title": f"BUG: unable to handle kernel NULL pointer dereference in function_{fault}",
                }
            },
        }
        yield document


def send(part: Part) -> None:
    """Send documents."""
    lines = (b'{"create":{}}\n%b\n' % json.dumps(one).encode() for one in crashes(part))
    request = urllib.request.Request(f"{part.url}/{INDEX}/_bulk", b"".join(lines))  # noqa: S310
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
        if (said := json.load(answer))["errors"]:
            raise SystemExit(f"a document was refused: {str(said)[:500]}")


def fill(engine: Engine, whole: Part) -> None:
    """Send documents from two processes."""
    subprocess.run([*KPANIC, "setup", "--index-management", *option(engine)], check=True, capture_output=True)
    parts = (whole._replace(seed=seed, documents=BULK) for seed in range(whole.documents // BULK))
    with Pool(2) as pool:
        for _ in pool.imap_unordered(send, parts):
            pass
    engine.ask("POST", f"/{INDEX}/_refresh")


def option(engine: Engine) -> list[str]:
    """Return the configuration of an engine for the command line."""
    return ["-E", f"output.{engine.product}.hosts={engine.url}"]


def roll_up(engine: Engine) -> None:
    """Count, and print what it takes."""
    server = listener(int(engine.url.rpartition(":")[2]))
    before, begin = server.cpu_times(), time.monotonic()
    subprocess.run([*KPANIC, "rollup", *option(engine)], check=True, capture_output=True)
    seconds, after = time.monotonic() - begin, server.cpu_times()
    spent = after.user + after.system - before.user - before.system
    print(f"  {'kpanic rollup':<49} {seconds:6.2f} s {spent:6.2f} s", flush=True)


def load(engine: Engine, dashboard: Dashboard) -> None:
    """Ask for all panels of a dashboard over all years, and print what it takes."""
    server = listener(int(engine.url.rpartition(":")[2]))
    before, begin = server.cpu_times(), time.monotonic()
    for panel in dashboard.panels:
        if panel.source != "signatures":
            path = f"/{PANELS[panel.source]}/_search?request_cache=false"
            engine.ask("POST", path, query(panel, interval=timedelta(days=30)))
    seconds, after = time.monotonic() - begin, server.cpu_times()
    spent = after.user + after.system - before.user - before.system
    print(f"  panels of {dashboard.title:<39} {seconds:6.2f} s {spent:6.2f} s", flush=True)


def timed(engine: Engine, *arguments: str) -> None:
    """Run a command and print what it takes."""
    command = [*KPANIC, *arguments, "--from", engine.product, *option(engine)]
    server = listener(int(engine.url.rpartition(":")[2]))
    taken = []
    for _ in range(1 + AGAIN):
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


def listener(port: int) -> psutil.Process:
    """Return the process that listens at a port of this machine."""
    (pid,) = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid
    }
    return psutil.Process(pid)


def main() -> None:
    """Fill the engine and print what each command takes."""
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
        timed(engine, "signatures")
        roll_up(engine)
        roll_up(engine)
        send(whole._replace(seed=-1, documents=LATE, late=True))
        engine.ask("POST", f"/{INDEX}/_refresh")
        timed(engine, "signatures")
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
