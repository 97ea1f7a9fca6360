"""Simulates a fleet with a bad rollout and one collector; measures losses, delays and cost.

    python -m tests.benchmarks.fleet                       100,000 hosts, 1,000 of them crash within a minute
    python -m tests.benchmarks.fleet --hosts 10000 --crashes 200 --seconds 20
    python -m tests.benchmarks.fleet --nodes 1   into one node of OpenSearch, beside a file
    python -m tests.benchmarks.fleet --nodes 3   into three, of which one is killed meanwhile

Each host is an address of 127.0.0.0/8 that sends as netconsole does: the hosts of the rollout their banner
and their crash, all with one signature, any other host of the fleet a line now and then. What a host sends
takes a second, as on a serial line. "late" is from a crash's last datagram until its document stands in the
output's file, by which alerts go: the median, 99 of 100, and the last one; of an engine until the request
that brought it the document. A collector is full where it loses crashes, or its processor time reaches the
seconds that passed. The node that is killed is the one that documents are written to. "in two" counts crashes
whose end came as a document of its own.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import urllib3

from kpanic.shipper.contract import crash_text
from tests.benchmarks.service import KPANIC, resident, spent
from tests.engines import parts
from tests.engines.search import Node, cluster
from tests.waiting import until

LASTS = 1.0
"""Seconds that a host takes to print its crash."""
SETTLES = 60.0
"""Maximum seconds until the last crash arrives."""
SOCKETS = 400
"""Number of hosts that send concurrently, each from its own socket."""
INDEX = "logs-kernel.panic-default"
NOISE = b"[  201.000000] usb 1-1: new high-speed USB device number 4 using xhci_hcd\n"


class Datagram(NamedTuple):
    """A line of a host."""

    at: float
    """Seconds since the beginning."""
    host: int
    line: bytes


def address(host: int) -> str:
    """Return the address of a host: 127.1.0.1 and those behind it."""
    number = host + 1
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def planned(hosts: int, crashes: int, seconds: float, noise: float) -> list[Datagram]:
    """Return the datagrams of the fleet, in order.

    :param noise: lines a second of all hosts that do not crash.
    """
    chance = random.Random(1)  # noqa: S311
    sent = [
        Datagram(chance.uniform(0, seconds), chance.randrange(crashes, hosts), NOISE)
        for _ in range(int(noise * seconds))
    ]
    for host in range(crashes):
        begin = chance.uniform(0, seconds - LASTS)
        lines = crash_text(host).splitlines(keepends=True)
        sent += [Datagram(begin + LASTS * at / len(lines), host, line) for at, line in enumerate(lines)]
    return sorted(sent)


def play(sent: list[Datagram], port: int) -> dict[int, float]:
    """Send the datagrams; return the time of each host's last line, in seconds since 1970 UTC."""
    sockets: dict[int, socket.socket] = {}
    last: dict[int, float] = {}
    pace = threading.Event()
    began = time.monotonic()
    for datagram in sent:
        if (wait := began + datagram.at - time.monotonic()) > 0:
            pace.wait(wait)
        own = sockets.pop(datagram.host, None)
        if own is None:
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            own.bind((address(datagram.host), 0))
        sockets[datagram.host] = own
        own.sendto(datagram.line, ("127.0.0.1", port))
        last[datagram.host] = time.time()
        if len(sockets) > SOCKETS:
            sockets.pop(next(iter(sockets))).close()
    for own in sockets.values():
        own.close()
    return last


class Player(threading.Thread):
    """The fleet.

    :ivar last: as of :func:`play`.
    """

    def __init__(self, sent: list[Datagram], port: int) -> None:
        super().__init__()
        self._sent, self._port = sent, port
        self.last: dict[int, float] = {}

    def run(self) -> None:
        self.last = play(self._sent, self._port)


class Arrivals:
    """The output's file, which is read while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.times: dict[str, list[float]] = {}

    def look(self) -> None:
        """Record the new documents by host."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            (ip,) = json.loads(line)["host"]["ip"]
            self.times.setdefault(ip, []).append(time.time())


def main() -> None:
    """Run the simulation, and print the row of the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=100_000)
    parser.add_argument("--crashes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--noise", type=float, default=1000, help="lines a second of all other hosts")
    parser.add_argument("--memory", default="64mb", help="the collector's memory.limit")
    parser.add_argument("--senders", type=int, default=4096, help="the collector's max_senders")
    parser.add_argument("--nodes", type=int, default=0, help="of OpenSearch")
    parser.add_argument("--heap", default="768m", help="of each node")
    chosen = parser.parse_args()
    sent = planned(chosen.hosts, chosen.crashes, chosen.seconds, chosen.noise)
    nodes = cluster(chosen.nodes, chosen.heap)
    with tempfile.TemporaryDirectory() as name:
        try:
            with ThreadPoolExecutor() as pool:  # they start together
                list(pool.map(Node.start, nodes))
            run(Path(name), sent, chosen, nodes)
        finally:
            for node in nodes:
                node.remove()


def run(folder: Path, sent: list[Datagram], chosen: argparse.Namespace, nodes: list[Node]) -> None:
    """Send the planned datagrams to a new collector."""
    port, metrics = parts.free_port(27_100), parts.free_port(27_200)
    outputs: dict[str, object] = {"file": {"path": str(folder / "out.ndjson")}}
    if nodes:
        outputs["opensearch"] = {"hosts": [node.url for node in nodes]}
    config = folder / "kpanic.yml"
    settings = {
        "path.data": str(folder / "data"),
        "inputs": [
            {
                "type": "netconsole",
                "host": f"127.0.0.1:{port}",
                "allow": ["127.0.0.0/8"],
                "max_senders": chosen.senders,
            }
        ],
        "output": outputs,
        "memory.limit": chosen.memory,
        "http": {"enabled": True, "port": metrics},
    }
    config.write_text(json.dumps(settings))
    if nodes:
        subprocess.run([*KPANIC, "setup", "--index-management", "-c", str(config)], check=True)
    process = subprocess.Popen([*KPANIC, "run", "-c", str(config)], stderr=subprocess.DEVNULL)
    arrivals = Arrivals(folder / "out.ndjson")
    try:
        until(lambda: listens(metrics))
        before, full = spent(process.pid), overflown()
        began = time.monotonic()
        player = Player(sent, port)
        player.start()
        dying = threading.Thread(target=kill_writer, args=(nodes, chosen.crashes // 4))
        if len(nodes) > 1:
            dying.start()
        until(lambda: arrivals.look() or not player.is_alive(), chosen.seconds * 3, every=0.05)
        player.join()
        with_all = time.monotonic() + SETTLES
        until(
            lambda: arrivals.look() or len(arrivals.times) >= chosen.crashes or time.monotonic() > with_all,
            2 * SETTLES,
            every=0.05,
        )
        passed = time.monotonic() - began
        if len(nodes) > 1:
            dying.join()
        if nodes:
            left = next(node for node in nodes if node.running)
            until(lambda: left.count(INDEX) >= sum(map(len, arrivals.times.values())), 2 * SETTLES, every=0.5)
        processor, memory = spent(process.pid) - before, resident(process.pid)
        said = urllib3.request("GET", f"http://127.0.0.1:{metrics}/metrics").data.decode()
        dropped = {
            line.split()[0].split("reason=")[1].strip('"}'): int(float(line.split()[1]))
            for line in said.splitlines()
            if line.startswith("kpanic_input_dropped_messages_total{") and not line.endswith(" 0.0")
        }
    finally:
        process.terminate()
        process.wait()
    report(chosen, sent, player.last, arrivals)
    print(
        f"collector: {processor:.1f} s of a processor in {passed:.0f} s, {memory:.0f} MB resident;"
        f" {overflown() - full} datagrams found its socket full, dropped: {dropped or 0}"
    )
    if nodes:
        report_engine(left, player.last, chosen.crashes)


def kill_writer(nodes: list[Node], count: int) -> None:
    """Kill the node with the primary shard once it has a number of documents."""
    until(lambda: nodes[0].count(INDEX) >= count, 4 * SETTLES, every=0.05)
    shards = nodes[0].ask("GET", f"/_cat/shards/{INDEX}?format=json")
    name = next(shard["node"] for shard in shards if shard["prirep"] == "p")
    next(node for node in nodes if node.settings["node.name"] == name).kill()
    print(f"{name} was killed when {count} documents were there")


def report_engine(node: Node, last: dict[int, float], crashes: int) -> None:
    """Print the number of documents in an engine, and their delays."""
    times: dict[str, list[float]] = {}
    for hit in node.found(INDEX):
        (ip,) = hit["_source"]["host"]["ip"]
        ingested = datetime.fromisoformat(hit["_source"]["event"]["ingested"]).timestamp()
        times.setdefault(ip, []).append(ingested)
    late = sorted(times[address(host)][0] - last[host] for host in range(crashes) if address(host) in times)
    twice = sum(len(found) - 1 for found in times.values())
    nodes = node.ask("GET", "/_cluster/health")["number_of_nodes"]
    print(f"opensearch, {nodes} nodes left: {crashes - len(late)} lost, {twice} in two; {quantiles(late)}")


def report(chosen: argparse.Namespace, sent: list[Datagram], last: dict[int, float], got: Arrivals) -> None:
    """Print the number of lost crashes, and the delays of the others."""
    late = sorted(
        got.times[address(host)][0] - last[host]
        for host in range(chosen.crashes)
        if address(host) in got.times
    )
    twice = sum(len(times) - 1 for times in got.times.values())
    print(
        f"{chosen.hosts} hosts, {len(sent) / chosen.seconds:.0f} datagrams a second, {chosen.seconds:.0f} s;"
        f" {chosen.crashes} crashes: {chosen.crashes - len(late)} lost, {twice} in two"
    )
    print(quantiles(late))


def quantiles(late: list[float]) -> str:
    """Return the median, the 99th percentile and the maximum of sorted seconds."""
    if not late:
        return "nothing arrived"
    return f"late: {statistics.median(late):.1f} s, {late[len(late) * 99 // 100]:.1f} s, {late[-1]:.1f} s"


def overflown() -> int:
    """Return the number of datagrams that this machine's kernel dropped because a socket was full."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index("RcvbufErrors")])


def listens(port: int) -> bool:
    """Tell whether a process listens on a port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()
