"""The time of an input, from bytes to documents, is linear in its length."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse
from kpanic.shipper.contract import crash_text
from kpanic.shipper.document import documented
from kpanic.shipper.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 8.0
"""Maximum ratio of the times of two inputs, one four times as long; a quadratic time has 16."""
LOG = Path(__file__).parents[1] / "logs" / "lab" / "6.1.0-56-amd64-x86_64-null_read.log"
OOPS = LOG.read_bytes().replace(b"\r", b"")
OOPS = OOPS[OOPS.index(b"BUG: kernel NULL") - 15 :][:6000]
HEAD, TAIL = OOPS[:600].rpartition(b"\n")[0] + b"\n", OOPS[600:]
LINES = sorted({line.partition(b"] ")[2] for line in OOPS.splitlines() if b"] " in line} - {b""})
STAMP = b"[  100.000000] "

LONG_LINES: dict[str, tuple[bytes, bytes, bytes]] = {
    "numbers of a CPU line": (b"CPU: 1 Tainted:a (1.", b"1", b""),
    "blanks of a frame": (b" [<0000000000000000>] ", b" ", b"0x0"),
    "a race's name": (b"BUG: KCSAN: data-race in ", b"a", b""),
    "parts of a frame": (b" f+0x1/0x2 ", b"a.", b""),
    "blanks of a CPU line": (
        b"CPU: 1 UID: 1 PID: 1 Comm: a Kdump: loaded Tainted:a", b" ", b"x",
    ),
    "prefixes": (b"", b"a:a: ", b""),
    "quotes": (b"", b"> ", b""),
    "modules": (b"Modules linked in: ", b"abc(OE) ", b""),
    "code": (b"Code: ", b"00 ", b"<0f> 0b"),
    "stamps": (b"", b"x[  100.000001] ", b""),
    "brackets": (b"", b"[", b""),
    "braces": (b'{"log":"', b'{\\"a\\":', b'"}'),
    "escapes": (b"", b"\x1b[0m", b"x"),
    "octal escapes": (b"", b"#012", b""),
    "a call trace on one line": (b"Call Trace: ", b"[<c0112233>] f+0x1/0x2 ", b""),
    "registers": (b"RAX: 0000000000000000 ", b"RBX: 0000000000000000 ", b""),
}  # fmt: skip
MANY: dict[str, Callable[[int], bytes]] = {
    "crashes": lambda size: b"".join(map(crash_text, range(size // 1000))),
    "boots that die": lambda size: (
        (b"[    0.0] Linux version 6.1.0 (a@b) #1 SMP\n" + STAMP + b"BUG: a\n") * (size // 60)
    ),
    "headers": lambda size: (STAMP + b"kernel BUG at mm/a.c:1!\n") * (size // 40),
    "parts of records": lambda size: b"".join(
        b"Oops#%d Part1\n<4>[  1.000000] BUG: unable to handle\n" % number for number in range(size // 50)
    ),
    "hosts": lambda size: b"".join(
        b"Nov 22 19:31:14 h%d kernel: [    1.000000] kernel BUG at mm/a.c:1!\n" % number
        for number in range(size // 70)
    ),
    "records in JSON": lambda size: b'{"log":"[  1.000000] kernel BUG at mm/a.c:1!\\n"}\n' * (size // 50),
    "records of kmsg": lambda size: b"".join(
        b"4,%d,%d,-;kernel BUG at mm/a.c:1!\n" % (number, number) for number in range(size // 45)
    ),
    "fragments of netconsole": lambda size: b"".join(
        b"4,1,1,-,ncfrag=%d/99999;xxxxxxxxxx\n" % (10 * number) for number in range(size // 40)
    ),
}


def seconds(text: bytes) -> float:
    """Return the CPU time from an input to its documents, the median of three."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        for report in parse(text):
            documented(report, Origin("file"))
        times.append(time.thread_time() - began)
    return median(times)


def grows_with_its_length(text: Callable[[int], bytes], size: int) -> bool:
    """Tell whether the time of a text is linear; other processes may slow one measurement, but not three."""
    seconds(text(size // 4))  # objects that are created on first use
    return any(seconds(text(size)) < LIMIT * max(seconds(text(size // 4)), 0.002) for _ in range(3))


@pytest.mark.parametrize("line", LONG_LINES.values(), ids=LONG_LINES)
def test_a_long_line_in_a_report(line: tuple[bytes, bytes, bytes]) -> None:
    before, piece, after = line

    def text(size: int) -> bytes:
        return HEAD + STAMP + before + piece * (size // len(piece)) + after + b"\n" + TAIL

    assert grows_with_its_length(text, 8000)


@pytest.mark.parametrize("text", MANY.values(), ids=MANY)
def test_many_of_a_kind(text: Callable[[int], bytes]) -> None:
    assert grows_with_its_length(text, 32_000)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.decode("ascii", "replace")[:40])
def test_a_line_of_a_report_again_and_again(line: bytes) -> None:
    def text(size: int) -> bytes:
        return HEAD + (STAMP + line + b"\n") * (size // (len(line) + 16)) + TAIL

    assert grows_with_its_length(text, 120_000)
