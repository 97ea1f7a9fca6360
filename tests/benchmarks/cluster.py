"""How long the commands take that ask an engine with many documents.

    python -m tests.benchmarks.cluster                            1,000,000 documents in one OpenSearch node
    python -m tests.benchmarks.cluster --engine elasticsearch --documents 100000
    python -m tests.benchmarks.cluster --url http://127.0.0.1:9200   one that runs; filled if it is empty

Each document is that of one parsed crash, without its text, registers and reading, and with an incident, a
signature, a host, a kernel and a time of its own. Few signatures have many crashes (Zipf's law), and every
tenth crash comes a second time, by another transport. A line is a command: its seconds by the clock, start-up
included, and the engine's seconds of a processor; both for its first run and the median of three more, for
which the engine may remember what it answered; and the lines that it printed.
"""

# ruff: noqa: T201, S311

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import time
from bisect import bisect
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import psutil

from kpanic.grammars import parse
from kpanic.indices import data_stream
from kpanic.shipper.contract import crash_text
from kpanic.shipper.document import build
from tests.benchmarks.service import KPANIC
from tests.engines import parts
from tests.engines.search import Engine, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

BULK = 5000
"""Documents of a request."""
AGAIN = 3
START, DAYS = datetime(2022, 1, 1, tzinfo=UTC), 5 * 365
INDEX = data_stream("default")


def crashes(count: int, signatures: int, hosts: int) -> Iterator[dict[str, Any]]:
    """Yield documents."""
    report = next(iter(parse(crash_text(1))))
    document = build(report)
    for name in ("registers", "analysis", "call_trace", "code", "modules"):
        document["kernel"]["panic"].pop(name, None)
    document["event"].pop("original")
    document.pop("_id")
    chance = random.Random(1)
    weights = [*accumulate(1 / rank for rank in range(1, signatures + 1))]
    panic = document["kernel"]["panic"]
    for number in range(count):
        if number % 11:  # else it is the one before, by another transport
            fault = bisect(weights, chance.uniform(0, weights[-1]))
            moment = START + timedelta(days=chance.uniform(0, DAYS))
            document["@timestamp"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            document["event"]["id"] = f"v1-{chance.getrandbits(128):032x}"
            document["host"]["name"] = f"host{chance.randrange(hosts)}.example.com"
            document["host"]["os"]["kernel"] = f"6.1.0-{chance.randrange(60)}-amd64"
            panic["signature"]["id"] = f"v1-{fault:016x}"
            panic["title"] = f"BUG: unable to handle kernel NULL pointer dereference in function_{fault}"
        document["event"]["provider"] = "file" if number % 11 else "netconsole"
        yield document


def fill(engine: Engine, documents: Iterator[dict[str, Any]]) -> None:
    """Send documents."""
    options = ("-E", f"output.{engine.product}.hosts={engine.url}")
    subprocess.run([*KPANIC, "setup", "--index-management", *options], check=True, capture_output=True)
    lines = (b'{"create":{}}\n%b\n' % json.dumps(one).encode() for one in documents)
    while some := b"".join(islice(lines, BULK)):
        answer = engine.ask("POST", f"/{INDEX}/_bulk", some)
        if answer["errors"]:
            raise SystemExit(f"a document was refused: {str(answer)[:500]}")
    engine.ask("POST", f"/{INDEX}/_refresh")


def timed(engine: Engine, *arguments: str) -> None:
    """Run a command and print what it takes."""
    command = [*KPANIC, *arguments, "--from", engine.product]
    command += ["-E", f"output.{engine.product}.hosts={engine.url}"]
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
    try:
        if not engine.count(INDEX):
            begin = time.monotonic()
            fill(engine, crashes(chosen.documents, chosen.signatures, chosen.hosts))
            print(f"filled in {time.monotonic() - begin:.0f} s")
        print(f"{engine.count(INDEX):,} documents, {chosen.signatures:,} signatures, {chosen.hosts:,} hosts")
        common, rare = f"v1-{0:016x}", f"v1-{chosen.signatures - 1:016x}"
        timed(engine, "list")
        timed(engine, "list", "--host", "host77*", "--since", "2024-01-01")
        timed(engine, "list", "--signature", common)
        timed(engine, "list", "--signature", rare)
        timed(engine, "signatures")
        timed(engine, "signatures", "show", common)
        timed(engine, "signatures", "show", rare)
    finally:
        if node:
            node.remove()


if __name__ == "__main__":
    main()
