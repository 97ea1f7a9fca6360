"""What ``kpanic run`` costs while nothing happens, with every input, once with each set of outputs.

    python tests/benchmarks/idle.py                 five minutes for each
    python tests/benchmarks/idle.py --seconds 30

Before it is measured, it reads the crashes of ``tests/logs/lab``, so that the grammar is in its memory. The
journalctl that it started counts too. The engines are not there: who cannot deliver tries again, and that is
part of the cost.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
BEGIN = 75.0
"""Seconds until what the start read is over, and its memory given back."""
OUTPUTS = {
    "file": "output.file.path: {folder}/out.ndjson",
    "opensearch": 'output.opensearch.hosts: ["http://127.0.0.1:1"]',
    "all": 'output.file.path: {folder}/out.ndjson\noutput.opensearch.hosts: ["http://127.0.0.1:1"]\n'
    'output.elasticsearch.hosts: ["http://127.0.0.1:1"]\noutput.fluentd.hosts: ["127.0.0.1:1"]',
}
INPUTS = """
path.data: {folder}/data
inputs:
  - {{type: kdump}}
  - {{type: file, paths: ["{logs}/*panic*"]}}
  - {{type: journal}}
  - {{type: kmsg}}
  - {{type: pstore}}
  - {{type: netconsole, host: "127.0.0.1:{ports[0]}"}}
  - {{type: syslog, protocol.udp.host: "127.0.0.1:{ports[1]}", protocol.tcp.host: "127.0.0.1:{ports[1]}"}}
  - {{type: stdin}}
"""


def ports() -> list[int]:
    """Return two ports that are free."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], other.getsockname()[1]]


def measure(name: str, seconds: float) -> None:
    """Run it with one set of outputs and print what it costs."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "kpanic.yml")
        given = {"folder": folder, "logs": ROOT / "tests" / "logs" / "lab", "ports": ports()}
        config.write_text(INPUTS.format(**given) + OUTPUTS[name].format(**given) + "\n")
        command = [sys.executable, "-c", "from shipper.cli import main; main()", "run", "-c", str(config)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as running:
            time.sleep(BEGIN)
            process = psutil.Process(running.pid)
            family = [process, *process.children(recursive=True)]
            before = [one.cpu_times() for one in family]
            time.sleep(seconds)
            after = [one.cpu_times() for one in family]
            used = sum(sum(now[:2]) - sum(then[:2]) for now, then in zip(after, before, strict=True))
            resident = [one.memory_info().rss / 1e6 for one in family]
            running.terminate()
        print(
            f"{name:<11}{resident[0]:6.1f} MB resident, {sum(resident[1:]):.1f} MB of journalctl,"
            f" {100 * used / seconds:.3f}% of a core"
        )


def main() -> None:
    """Measure each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--outputs", default=",".join(OUTPUTS))
    arguments = parser.parse_args()
    for name in arguments.outputs.split(","):
        measure(name, arguments.seconds)


if __name__ == "__main__":
    main()
