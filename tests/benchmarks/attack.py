"""Runs all attacks on the sockets of ``kpanic run`` at once, while honest senders send a crash a second.

    nice python -m tests.benchmarks.attack --seconds 600

Attackers and honest senders are processes of their own on addresses of 127.0.0.0/8; the attackers' have a
lower priority, as they would have another machine's processor. Prints how many honest crashes were kept and
after how many seconds, what was dropped and why, the largest resident memory, and how long SIGTERM took. A
crash of netconsole is complete when its sender's next boot begins, a second later.
"""

# ruff: noqa: S311, T201

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.shipper.contract import crash_text
from kpanic.shipper.store import Store
from tests.benchmarks.service import resident
from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Attack = Callable[[dict[str, int]], None]

KPANIC: Final = str(Path(sys.executable).with_name("kpanic"))
EARLIER: Final = 12.0
"""Seconds for which only the honest senders send, before the attacks begin."""
HONEST: Final = ("127.0.0.2", "127.0.0.3")
"""Senders of netconsole and of syslog over TCP."""
TITLE: Final = re.compile(r"PID: 1(\d{3,6}) Comm: worker")


def crash(number: int) -> list[bytes]:
    """Return the lines of an honest crash."""
    return crash_text(number).splitlines()


def extended(lines: list[bytes], first: int) -> Iterator[bytes]:
    """Yield lines as netconsole's extended datagrams."""
    for at, line in enumerate(lines):
        stamp, _, text = line.partition(b"] ")
        microseconds = int(float(stamp.strip(b"[ ")) * 1e6)
        yield b"4,%d,%d,-;%s\n" % (first + at, microseconds, text)


def honest_netconsole(ports: dict[str, int], start: float, seconds: float) -> None:
    """Send a crash of one host each second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((HONEST[0], 0))
        for number in each_second(start, seconds):
            for datagram in extended(crash(number), 1):
                sender.sendto(datagram, ("127.0.0.1", ports["netconsole"]))


def honest_syslog(ports: dict[str, int], start: float, seconds: float) -> None:
    """Send a crash of a relay's host each second, over one connection."""
    with socket.create_connection(("127.0.0.1", ports["tcp"]), source_address=(HONEST[1], 0)) as sender:
        for number in each_second(start, seconds):
            lines = (b"<4>Nov 26 16:00:00 web-1 kernel: " + line for line in crash(number))
            sender.sendall(b"\n".join((*lines, b"")))


def each_second(start: float, seconds: float) -> Iterator[int]:
    """Yield a number at each second."""
    for number in range(int(seconds)):
        time.sleep(max(0.0, start + number - time.time()))
        yield number


def udp(source: str) -> socket.socket:
    """Return a socket of an address."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((source, 0))
    return made


def flood(ports: dict[str, int]) -> None:
    """Send small datagrams from 64 addresses as fast as possible."""
    sockets = [udp(f"127.66.0.{number}") for number in range(1, 65)]
    small = b"4,1,1,-;" + b"x" * 100
    while True:
        for one in sockets:
            for port in (ports["netconsole"], ports["netconsole"], ports["udp"]):
                with suppress(OSError):
                    one.sendto(small, ("127.0.0.1", port))


def hostile_datagrams(ports: dict[str, int]) -> None:
    """Send texts that once took quadratic time, early records, endless crashes, messages of new senders."""
    number = 0
    quadratic = (
        b"4,1,1,-" + b",a=" * 21_800,
        b"BUG: KCSAN: data-race in " + b"a" * 7900,
        b"CPU: 1 UID: 1 PID: 1 Comm: a Kdump: loaded Tainted:a" + b" " * 8000 + b"x",
        b"a:a: " * 1600,
    )
    while True:
        number += 1
        with udp(
            f"127.{random.randrange(100, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"
        ) as one:
            to = ("127.0.0.1", ports["netconsole"])
            with suppress(OSError):
                one.sendto(b"4,1,1,-;x", to)
                one.sendto(b"BUG: unable to handle page fault for address: %016x\n" % number, to)
                one.sendto(random.choice(quadratic), to)
                one.sendto(b"4,%d,1,-;" % (number + 3) + b"x" * 60_000, to)
                one.sendto(
                    b"<4>Nov 26 16:00:00 host%d kernel: kernel BUG at a.c:1!" % number,
                    ("127.0.0.1", ports["udp"]),
                )
        time.sleep(0.001)


def connections(ports: dict[str, int]) -> None:
    """Keep idle and slow connections to syslog, and incomplete requests to the metrics."""
    held: list[socket.socket] = []
    while True:
        for port in (ports["tcp"], ports["tcp"], ports["metrics"]):
            with suppress(OSError):
                one = socket.create_connection(
                    ("127.0.0.1", port), 1, source_address=(f"127.77.0.{random.randrange(1, 250)}", 0)
                )
                one.settimeout(0)
                held.append(one)
        for one in random.sample(held, min(len(held), 20)):
            with suppress(OSError):
                one.send(random.choice((b"G", b"<4>x", b"\x16\x03\x01", b"999999 ", b"x" * 4000)))
        while len(held) > 900:
            held.pop(random.randrange(len(held))).close()
        time.sleep(0.002)


def new_hosts(ports: dict[str, int]) -> None:
    """Send crashes of new hosts and endless lines over connections."""
    number = 0
    while True:
        with (
            suppress(OSError),
            socket.create_connection(
                ("127.0.0.1", ports["tcp"]), 2, source_address=(f"127.88.0.{random.randrange(1, 8)}", 0)
            ) as one,
        ):
            for _ in range(2000):
                number += 1
                one.sendall(b"<4>Nov 26 16:00:00 h%d kernel: kernel BUG at mm/a%d.c:1!\n" % (number, number))
            one.sendall(b"x" * 500_000)


ATTACKS: Final[tuple[Attack, ...]] = (
    flood, hostile_datagrams, connections, new_hosts,
)  # fmt: skip


class Result(NamedTuple):
    """The state of the service after an attack.

    :ivar latencies: seconds from sending a crash until its document was made, by sender and number.
    :ivar sent: crashes of each honest sender.
    :ivar resident: MB at most.
    :ivar code: of its exit.
    :ivar ended: seconds from SIGTERM to its exit.
    :ivar metrics: what they said last under attack.
    :ivar scrapes: how often they were asked for, and answered.
    """

    latencies: dict[str, dict[int, float]]
    sent: int
    resident: float
    code: int
    ended: float
    metrics: str
    scrapes: tuple[int, int]
    log: str


def main() -> None:
    """Attack for a time, and print the fate of the honest crashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=[attack.__name__ for attack in ATTACKS], action="append")
    options = parser.parse_args()
    attacks = [attack for attack in ATTACKS if not options.only or attack.__name__ in options.only]
    with tempfile.TemporaryDirectory() as name:
        found = attacked(Path(name), options.seconds, attacks)
    print(f"SIGTERM: exit {found.code} after {found.ended:.1f} s; largest resident {found.resident:.0f} MB")
    print(f"metrics answered {found.scrapes[1]} of {found.scrapes[0]} times")
    print(found.metrics)
    for line in found.log.splitlines()[-6:]:
        print(json.loads(line)["message"][:200] if line.startswith("{") else line)
    for sender, kept in found.latencies.items():
        times = sorted(kept.values()) or [0.0]
        missing = sorted(set(range(found.sent)) - set(kept))
        print(
            f"{sender}: {len(kept)} of {found.sent} kept; seconds: median {times[len(times) // 2]:.1f},"
            f" most {times[-1]:.1f}; missing {missing[:10]}"
        )


def attacked(folder: Path, seconds: float, attacks: Sequence[Attack] = ATTACKS) -> Result:
    """Start the service, the honest senders and the attackers; end them."""
    names = {"netconsole": 26_700, "udp": 26_800, "tcp": 26_900, "metrics": 25_200}
    ports = {name: parts.free_port(first) for name, first in names.items()}
    everybody = ["127.0.0.0/8"]
    settings = {
        "path.data": str(folder / "data"),
        "inputs": [
            {"type": "netconsole", "host": f"127.0.0.1:{ports['netconsole']}", "allow": everybody},
            {
                "type": "syslog",
                "protocol.udp.host": f"127.0.0.1:{ports['udp']}",
                "protocol.tcp.host": f"127.0.0.1:{ports['tcp']}",
                "allow": everybody,
            },
        ],
        "http": {"enabled": True, "port": ports["metrics"]},
    }
    config, log = folder / "kpanic.yml", folder / "log"
    config.write_text(json.dumps(settings))
    with log.open("wb") as written:
        service = subprocess.Popen([KPANIC, "run", "-c", str(config)], stderr=written)
    until(lambda: b"running" in log.read_bytes() and _scraped(ports))
    start = time.time() + 1
    context = multiprocessing.get_context("fork")
    honest = [
        context.Process(target=one, args=(ports, start, EARLIER + seconds))
        for one in (honest_netconsole, honest_syslog)
    ]
    attackers = [context.Process(target=one, args=(ports,), daemon=True) for one in attacks]
    largest, asked, answers = 0.0, 0, [""]
    try:
        for process in honest:
            process.start()
        time.sleep(EARLIER)
        for process in attackers:
            process.start()
            os.setpriority(os.PRIO_PROCESS, process.pid or 0, os.getpriority(os.PRIO_PROCESS, 0) + 5)
        while any(process.is_alive() for process in honest):
            largest = max(largest, resident(service.pid))
            asked += 1
            if answer := _scraped(ports):
                answers.append(answer)
            time.sleep(0.5)
        began = time.monotonic()
        service.send_signal(signal.SIGTERM)
        code = service.wait(60)
        ended = time.monotonic() - began
    finally:
        for process in attackers:
            process.kill()
        service.kill()
    sent = int(EARLIER + seconds)
    latencies = _latencies(folder / "data" / "kpanic.db", start)
    scrapes = asked, len(answers) - 1
    return Result(latencies, sent, largest, code, ended, answers[-1], scrapes, log.read_text())


def _scraped(ports: dict[str, int]) -> str:
    """Return the metrics of dropped and of present things; empty if the service does not answer."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{ports['metrics']}/metrics", timeout=5) as answer,
    ):
        lines = answer.read().decode().splitlines()
        wanted = ("kpanic_input", "kpanic_memory", "kpanic_grammar", "kpanic_watchdog")
        return "\n".join(line for line in lines if line.startswith(wanted) and not line.endswith(" 0.0"))
    return ""


def _latencies(store: Path, start: float) -> dict[str, dict[int, float]]:
    """Return the seconds from the sending of each honest crash to its arrival in the store."""
    latencies: dict[str, dict[int, float]] = {HONEST[0]: {}, "web-1": {}}
    with Store(store, readonly=True) as opened:
        for document in opened.documents():
            sender = document["host"].get("ip", [""])[0] or document["host"].get("name", "")
            found = TITLE.search(document["event"]["original"])
            if sender in latencies and found:
                number = int(found[1])
                made = datetime.fromisoformat(document["event"]["created"]).timestamp()
                latencies[sender].setdefault(number, made - start - number)
    return latencies


if __name__ == "__main__":
    main()
