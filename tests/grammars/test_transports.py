"""A crash through any transport gives the same lines of the kernel as its plain console."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic.grammars.scan import Literal, Scanner, Search

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import Line

LOGS = Path(__file__).parents[1] / "logs"
LITERALS = [
    Literal("BUG:", after=200, before=2),
    Literal("Oops:", after=200, before=2),
    Literal("sysrq: Trigger a crash", after=200),
    Literal("------------[ cut here ]------------", after=200),
    Literal("Kernel panic - not syncing", after=50),
    Literal("Linux version "),
    Literal("Command line:"),
]
CONSOLES = {
    "fmt-*": "dmesg",
    "netconsole-extended.*": "netconsole-ext",
    "netconsole-plain.*": "netconsole",
    "pstore-efi-files.txt": "efipstore",
    "pstore-erst-files.txt": "erst",
    "ramoops-pstore-files.txt": "ramoops",
    "vmcore-dmesg-6.1-bug.txt": "kdump-oops-s",
    "vmcore-dmesg-6.1-null_read.txt": "kdump-null",
    "vmcore-dmesg-6.1-sysrq-c.txt": "kdump-sysrq",
}
BEGINNINGS = ("BUG: kernel NULL pointer", "sysrq: Trigger a crash", "kernel BUG at")
FILES = [
    path
    for pattern in CONSOLES
    for path in sorted((LOGS / "transports").glob(pattern))
    if path.suffix == ".txt"
]


def scan(data: bytes) -> list[Line]:
    scanner = Scanner(Search(LITERALS))
    return scanner.feed(data) + scanner.close()


def crash(lines: list[Line]) -> list[str]:
    """Return the kernel's lines from the crash on, without lines of user space on the same console."""
    texts = [line.text for line in lines]
    start = next(i for i, text in enumerate(texts) if text.startswith(BEGINNINGS))
    # the rest depends on how long the transport recorded
    end = next(
        (i for i in range(start, len(texts)) if re.match(r"note: |Terminated|Rebooting in", texts[i])), None
    )
    return texts[start:end]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_transport_gives_the_words_of_the_console(path: Path) -> None:
    kind = next(console for pattern, console in CONSOLES.items() if path.match(pattern))
    console = (LOGS / "lab" / f"6.1.0-56-amd64-x86_64-{kind}.log").read_bytes()
    expected = crash([line for line in scan(console) if line.time is not None])
    found = crash(scan(path.read_bytes()))
    shorter = min(len(found), len(expected))
    assert shorter > 25
    assert found[:shorter] == expected[:shorter]
    assert sum(text.startswith("Linux version 6.1.0-56-amd64") for text in found) <= 1


@pytest.mark.parametrize(
    "name", ["pstore-efi-files.txt", "pstore-erst-files.txt", "ramoops-pstore-files.txt"]
)
def test_records_of_pstore_come_in_order_and_once(name: str) -> None:
    lines = scan((LOGS / "transports" / name).read_bytes())
    times = [line.time for line in lines if line.time is not None]
    assert times == sorted(times)
    assert sum(line.text.startswith("BUG: kernel NULL pointer") for line in lines) == 1
    assert any(line.text.startswith("Kernel panic - not syncing: Fatal exception") for line in lines)
    assert not any("ECC" in line.text or "Part" in line.text for line in lines)


def test_lines_keep_their_number_in_the_file() -> None:
    data = (LOGS / "transports" / "pstore-efi-files.txt").read_bytes()
    raws = data.decode(errors="replace").split("\n")
    for line in scan(data):
        assert raws[line.number - 1].rstrip("\r").endswith(line.raw)


PARTS = """\
<2>[    9.000001] BUG: one
<4>[    9.000002] RIP
Oops#3 Part3
<4>[    9.000003] Call
<4>[    9.000004] frame
Oops#3 Part2
<4>[    9.000005] end
"""


def test_parts_go_on_with_lines_whose_header_is_missing() -> None:
    assert [line.text for line in scan(PARTS.encode())] == ["BUG: one", "RIP", "Call", "frame", "end"]


@pytest.mark.parametrize("time", ["8.000003", "12.000003"])
def test_parts_of_another_time_do_not_go_on_with_the_lines_above(time: str) -> None:
    lines = scan(PARTS.replace("9.000003", time).encode())
    assert [line.text for line in lines] == ["BUG: one", "RIP"]


def test_records_of_two_boots_are_two_stories() -> None:
    def dump(kind: str) -> str:
        newest = f"Panic#1 Part1\n<4>[    2.000000] {kind}\n<4>[    3.000000] Call\n"
        return f"{newest}Panic#1 Part2\n<4>[    1.000000] BUG: {kind}\n"

    lines = scan((dump("one") + dump("two") + "[    9.000000] BUG: live\n").encode())
    assert [line.text for line in lines] == [
        "BUG: one",
        "one",
        "Call",
        "BUG: two",
        "two",
        "Call",
        "BUG: live",
    ]


ROWS = [
    (float(match[1]), match[2])
    for match in re.finditer(
        r"(?m)^\[ *(\d+\.\d+)\] ?(.*?)\r?$",
        (LOGS / "lab" / "6.1.0-56-amd64-x86_64-null_read.log").read_bytes().decode(),
    )
]


def escaped(text: str) -> str:
    return re.sub(r"[^ -\[\]-~]", lambda match: "".join(f"\\x{byte:02x}" for byte in match[0].encode()), text)


WRAPS: dict[str, Callable[[float, str], str]] = {
    "console": lambda s, m: f"[{s:12.6f}] {m}",
    "caller": lambda s, m: f"[{s:12.6f}][ T1234] {m}",
    "level": lambda s, m: f"<4>[{s:12.6f}] {m}",
    "bare": lambda _, m: m,
    "dmesg -T": lambda s, m: f"[Sun Nov 22 18:00:{s % 60:02.0f} 2026] {m}",
    "dmesg -x": lambda s, m: f"kern  :warn  : [{s:12.6f}] {m}",
    "dmesg -d": lambda s, m: f"[{s:12.6f} <    0.000001>] {m}",
    "dmesg -H": lambda s, m: f"\x1b[32m[  +{s:.6f}] \x1b[0m\x1b[1m{m}\x1b[0m",
    "dmesg iso": lambda s, m: f"2026-11-22T18:00:{s % 60:02.0f},000001+00:00 {m}",
    "syslog": lambda s, m: f"Nov 22 18:00:{s % 60:02.0f} web1 kernel: [{s:12.6f}] {m}",
    "journalctl": lambda s, m: f"Nov 22 18:00:{s % 60:02.0f} web1 kernel: {m}",
    "monotonic": lambda s, m: f"[{s:12.6f}] web1 kernel: {m}",
    "kmsg": lambda s, m: f"4,{round(s * 1e6)},{round(s * 1e6)},-;{escaped(m)}",
    "kmsg properties": lambda s, m: f"4,{round(s * 1e6)},{round(s * 1e6)},-;{escaped(m)}\n SUBSYSTEM=ata",
    "fragments": lambda s, m: "\n".join(
        f"4,{round(s * 1e6)},{round(s * 1e6)},-,ncfrag={at}/{len(escaped(m))};{escaped(m)[at : at + 60]}"
        for at in range(0, len(escaped(m)), 60)
    ),
    "export": lambda s, m: f"__CURSOR=a\n_TRANSPORT=kernel\nMESSAGE={m}\n_HOSTNAME=web1\nX={s}\n",
    "CRLF": lambda s, m: f"[{s:12.6f}] {m}\r",
}


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(WRAPS)),
    st.integers(0, 40).map(lambda n: ROWS[len(ROWS) - 90 + n :]),
    st.lists(st.text("abcdef ()+/x0123456789?.,-<>€\t", min_size=1, max_size=60), max_size=10),
)
def test_any_wrap_gives_the_same_words(how: str, rows: list[tuple[float, str]], words: list[str]) -> None:
    rows = [*rows, *((rows[-1][0], f"comm{word}x") for word in words)]
    rows = [(seconds, text) for seconds, text in rows if text.strip()]
    plain, wrapped = (
        scan("".join(wrap(seconds, text) + "\n" for seconds, text in rows).encode())
        for wrap in (WRAPS["console"], WRAPS[how])
    )
    assert [line.text for line in wrapped] == [line.text for line in plain]
    assert all(line.lost < 1 << 20 for line in wrapped)


@pytest.mark.parametrize("how", sorted(WRAPS))
def test_a_whole_log_in_any_wrap(how: str) -> None:
    rows = [(seconds, text) for seconds, text in ROWS if text.strip()]
    plain, wrapped = (
        scan("".join(wrap(seconds, text) + "\n" for seconds, text in rows).encode())
        for wrap in (WRAPS["console"], WRAPS[how])
    )
    assert len(plain) > 60
    assert [line.text for line in wrapped] == [line.text for line in plain]
