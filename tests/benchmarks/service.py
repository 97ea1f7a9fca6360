"""What the service costs while nothing crashes, and how long its users wait for a command.

    python -m tests.benchmarks.service                five minutes of idling, 100,000 documents in the store
    python -m tests.benchmarks.service --seconds 30 --documents 20000

Idle: ``kpanic run`` with every input and four outputs, metrics on; resident memory and share of a core,
before the first crash and after one. The commands are timed from outside, the whole process: clock and
processor, the median of ten, beside a Python that does nothing.
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
from pathlib import Path

from shipper.document import Packed
from shipper.store import Store
from tests.engines import documents, parts

ROOT = Path(__file__).parents[2]
STORY = ROOT / "tests" / "logs" / "story" / "127.0.0.1-2021-04-29-20:32:26"
KPANIC = [str(Path(sys.executable).with_name("kpanic"))]


def spent(process: int) -> float:
    """Seconds of processor time of all its threads (schedstat of proc(5))."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{process}/task").iterdir()
    )


def resident(process: int) -> float:
    """MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def idle(folder: Path, seconds: float) -> None:
    """Run the service and look at it."""
    crash = folder / "crash"
    crash.mkdir()
    (folder / "pstore").mkdir()
    settings = {
        "path.data": str(folder / "data"),
        "inputs": [
            {"type": "kdump", "paths": [str(crash)]},
            {"type": "file", "paths": [str(folder / "messages*")]},
            {"type": "pstore", "paths": [str(folder / "pstore")]},
            {"type": "netconsole", "host": f"127.0.0.1:{parts.free_port(26_700)}", "allow": ["127.0.0.0/8"]},
            {"type": "syslog", "protocol.udp.host": f"127.0.0.1:{parts.free_port(26_800)}"},
            {"type": "journal"},
            {"type": "kmsg"},
            {"type": "stdin"},
        ],
        "output": {
            "opensearch": {"hosts": ["http://127.0.0.1:9"]},
            "elasticsearch": {"hosts": ["http://127.0.0.1:9"]},
            "fluentd": {"hosts": ["127.0.0.1:9"]},
            "file": {"path": str(folder / "out.ndjson")},
        },
        "http": {"enabled": True, "port": parts.free_port(25_200)},
    }
    config = folder / "kpanic.yml"
    config.write_text(json.dumps(settings))
    with subprocess.Popen(
        [*KPANIC, "run", "-c", str(config)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as service:
        time.sleep(5)
        began = spent(service.pid)
        time.sleep(seconds)
        share = (spent(service.pid) - began) / seconds
        print(f"idle for {seconds:.0f} s: {share:.3%} of a core, {resident(service.pid):.0f} MB resident")
        shutil.copytree(STORY, crash / STORY.name)
        while not (folder / "out.ndjson").read_text():
            time.sleep(0.1)
        time.sleep(5)
        print(f"after a crash: {resident(service.pid):.0f} MB resident")
        service.terminate()


def commands(folder: Path, count: int) -> None:
    """Time what people type."""
    with Store(folder / "many" / "kpanic.db") as store:
        store.register("opensearch")
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
