"""Writes the consoles of a small fleet for the README: ``python tests/demo.py FOLDER``.

The crashes are those of ``tests/logs/lab``, kernels that were crashed on purpose. Here they are those of a
fleet in the last two months: one fault spreads over five hosts within an hour, one machine keeps dying of its
hardware, and one host died last night.
"""

from __future__ import annotations

import os
import random
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

LAB = Path(__file__).parent / "logs" / "lab"
HOSTS = [
    f"{kind}{number:02}"
    for kind, many in (("web", 8), ("db", 4), ("kvm", 6))
    for number in range(1, many + 1)
]
DAYS = 60
SPREADING = "6.1.0-56-amd64-x86_64-null_read.log"
LAST_NIGHT = "6.1.0-56-amd64-x86_64-list_del.log"
FAILING = ("kvm03", "6.1.0-56-amd64-x86_64-mce.log")
STAMP = re.compile(rb"^(\[ *)(\d+)\.(\d{6})\]", re.MULTILINE)
CLOCK = re.compile(rb"setting system clock to \S+ UTC \(\d+\)")
PAGES = re.compile(rb"CR3: [0-9a-f]{16}")


def main(folder: Path) -> None:
    """Write the consoles below a folder."""
    chance = random.Random(7)  # noqa: S311 - each demonstration shows the same fleet
    now = datetime.now(UTC).replace(microsecond=0)
    night = now.replace(hour=3, minute=12, second=55)
    night -= timedelta(days=night > now)
    logs = {path.name: path.read_bytes() for path in sorted(LAB.glob("*-x86_64-*.log"))}
    crashes = [(night, "web03", LAST_NIGHT)]
    outbreak = night - timedelta(days=5, hours=-11)
    crashes += [(outbreak + timedelta(minutes=9 * n), f"web{n:02}", SPREADING) for n in range(4, 9)]
    host, log = FAILING
    crashes += [(night - timedelta(days=3 * n, hours=n), host, log) for n in range(1, 5)]
    for _ in range(2 * DAYS):
        ago = timedelta(days=DAYS * chance.random() ** 1.6, hours=1)
        crashes.append((night - ago, chance.choice(HOSTS), chance.choice(list(logs))))
    for number, (moment, host, log) in enumerate(sorted(crashes)):
        console = folder / host / f"tty-{moment:%Y%m%d-%H%M%S}.log"
        console.parent.mkdir(parents=True, exist_ok=True)
        console.write_bytes(dated(logs[log], moment, number))
        os.utime(console, (moment.timestamp(),) * 2)


def dated(text: bytes, moment: datetime, number: int) -> bytes:
    """Return the log of a boot whose last line has a given time, different from all other boots."""
    uptime = 3600 * (1 + number % 500) + 17 * number  # seconds that it runs longer than in the lab
    last = max((float(found[2]) for found in STAMP.finditer(text)), default=0.0)
    boot = moment - timedelta(seconds=last + uptime)
    clock = f"setting system clock to {boot:%Y-%m-%dT%H:%M:%S} UTC ({int(boot.timestamp())})".encode()

    def later(found: re.Match[bytes]) -> bytes:
        return b"[%5d.%s]" % (int(found[2]) + uptime, found[3])

    begun = CLOCK.search(text)
    start = begun.end() if begun else 0
    text = CLOCK.sub(clock, text[:start]) + STAMP.sub(later, text[start:])
    return PAGES.sub(b"CR3: %016x" % (0x1_0000_0000 + 0x1000 * number), text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
