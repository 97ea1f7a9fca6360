"""Measures the cost of the idle service, and the time of commands.

    python -m tests.benchmarks.service                five minutes of idling, 100,000 documents in the store
    python -m tests.benchmarks.service --seconds 30 --documents 20000

Idle: ``kpanic run`` with every input and metrics on, a line for each combination of outputs (their receivers
are real); share of a core and resident memory, before the first crash and after some. The commands are timed
from outside, the whole process: clock and processor, the median of ten, beside a Python that does nothing.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from kpanic.shipper.packed import Packed
from kpanic.shipper.store import Store
from tests.engines import documents, parts
from tests.engines.forward import Receiver
from tests.engines.search import RELEASES, Node
from tests.waiting import until

ROOT = Path(__file__).parents[2]
LOGS = sorted((ROOT / "tests" / "logs" / "lab").iterdir())[:20]
STORY = ROOT / "tests" / "logs" / "story" / "127.0.0.1-2021-04-29-20:32:26"
KPANIC = [str(Path(sys.executable).with_name("kpanic"))]
QUIET = 90
"""Seconds after a burst: the service returns memory once a minute."""


def spent(process: int) -> float:
    """Return the CPU seconds of all threads of a process (schedstat of proc(5))."""
    seconds = 0.0
    for task in Path(f"/proc/{process}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def resident(process: int) -> float:
    """MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


class Service:
    """``kpanic run`` in a new folder."""

    def __init__(self, folder: Path, number: int, outputs: dict[str, object]) -> None:
        self.crash = folder / "crash"
        for made in (self.crash, folder / "pstore"):
            made.mkdir(parents=True)
        self._store = folder / "data" / "kpanic.db"
        ports = {
            name: parts.free_port(first + 10 * number)
            for name, first in {"netconsole": 26_700, "syslog": 26_800, "metrics": 25_200}.items()
        }
        settings = {
            "path.data": str(self._store.parent),
            "inputs": [
                {"type": "kdump", "paths": [str(self.crash)]},
                {"type": "file", "paths": [str(folder / "messages*")]},
                {"type": "pstore", "paths": [str(folder / "pstore")]},
                {"type": "netconsole", "host": f"127.0.0.1:{ports['netconsole']}", "allow": ["127.0.0.0/8"]},
                {"type": "syslog", "protocol.udp.host": f"127.0.0.1:{ports['syslog']}"},
                {"type": "journal"},
                {"type": "kmsg"},
                {"type": "stdin"},
            ],
            "output": outputs,
            "http": {"enabled": True, "port": ports["metrics"]},
        }
        config = folder / "kpanic.yml"
        config.write_text(json.dumps(settings))
        self.name = ", ".join(outputs)
        self.process = subprocess.Popen(
            [*KPANIC, "run", "-c", str(config)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def delivered(self) -> bool:
        """Tell whether every output has every crash."""
        with Store(self._store, readonly=True) as store:
            return all(output.delivered and not output.pending for output in store.outputs())

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate()


def idle(folder: Path, seconds: float) -> None:
    """Run the service with each combination of outputs, and print its cost."""
    engines = [Node(product, f"http://127.0.0.1:{parts.free_port(22_000)}") for product in RELEASES]
    receiver = Receiver(parts.free_port(23_000))
    outputs: dict[str, object] = {engine.product: {"hosts": [engine.url]} for engine in engines}
    outputs["fluentd"] = {"hosts": [receiver.host]}
    services: list[Service] = []
    try:
        for started in (*engines, receiver):
            started.start()
        for names in (*([name] for name in outputs), [*outputs]):
            number = len(services)
            chosen = {name: outputs[name] for name in names}
            services.append(Service(folder / str(number), number, chosen))
        time.sleep(10)
        began = [spent(service.process.pid) for service in services]
        time.sleep(seconds)
        shares = [
            (spent(one.process.pid) - before) / seconds for one, before in zip(services, began, strict=True)
        ]
        before = [resident(service.process.pid) for service in services]
        for service in services:
            for one in (STORY, *LOGS):
                to = service.crash / f"{one.stem}-2021-04-29-20:32:26"
                shutil.copytree(STORY, to)
                if one is not STORY:
                    shutil.copy(one, to / "vmcore-dmesg.txt")
        until(lambda: all(service.delivered() for service in services), 600, every=1)
        time.sleep(QUIET)
        for service, share, megabytes in zip(services, shares, before, strict=True):
            print(
                f"{service.name}: idle for {seconds:.0f} s: {share:.3%} of a core, {megabytes:.1f} MB"
                f" resident; {QUIET} s after {1 + len(LOGS)} crashes: {resident(service.process.pid):.1f} MB",
                flush=True,
            )
    finally:
        for service in services:
            service.close()
        receiver.close()
        for engine in engines:
            engine.remove()


def commands(folder: Path, count: int) -> None:
    """Measure commands that people type."""
    with Store(folder / "many" / "kpanic.db") as store:
        store.register_output("opensearch")
        for start in range(0, count, 1000):
            made = [documents.stored(number, "many") for number in range(start, min(count, start + 1000))]
            store.add(
                [
                    Packed(one.id, one.id, "2026-01-01T00:00:00.000Z", fatal=True, body=one.body)
                    for one in made
                ]
            )
    timed("python -c pass", [sys.executable, "-c", "pass"])
    timed("kpanic --version", [*KPANIC, "--version"])
    timed(f"kpanic status, {count} documents", [*KPANIC, "status", "-E", f"path.data={folder / 'many'}"])


def timed(name: str, command: list[str]) -> None:
    """Print the median of ten."""
    walls, processor = [], []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(1000 * (time.perf_counter() - began))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    wall, used = statistics.median(walls), statistics.median(processor)
    print(f"{name}: {wall:.0f} ms, {used:.0f} ms of processor; {min(walls):.0f} ms at best", flush=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--documents", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands(Path(folder), arguments.documents)
        idle(Path(folder), arguments.seconds)


if __name__ == "__main__":
    main()
