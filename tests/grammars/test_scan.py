"""The scanner returns the lines that its literals request, and no others, however the input is split."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpanic.grammars.scan import ASIDE, BLOCK, HELD_BY_HOST, HISTORY, LONGEST, Literal, Scanner, Search

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

CRASH = Literal("Oops: ", after=5, before=2)
LITERALS = [
    CRASH,
    Literal("Call Trace:", after=3),
    Literal("Linux version ", boot=True),
    Literal("DMI: "),
]
NOISE = b"[    1.000000] usb 1-1: new high-speed USB device number 2\n"


def scan(data: bytes, literals: list[Literal] = LITERALS) -> list[Line]:
    scanner = Scanner(Search(literals))
    return scanner.feed(data) + scanner.close()


def numbered(count: int, first: int = 1) -> bytes:
    return b"".join(b"[%5d.000000] noise %d\n" % (n, n) for n in range(first, first + count))


def test_noise_yields_nothing() -> None:
    assert scan(NOISE * 1000) == []


def test_a_single_literal_yields_its_line_alone() -> None:
    lines = scan(NOISE * 3 + b"[    0.000000] Linux version 6.1.0\n" + NOISE * 3)
    assert [(line.number, line.text, line.time) for line in lines] == [(4, "Linux version 6.1.0", 0.0)]


def test_a_crash_literal_opens_a_window_around_its_line() -> None:
    lines = scan(numbered(10) + b"[   11.000000] Oops: 0002 [#1] SMP\n" + numbered(20, first=12))
    assert [line.number for line in lines] == [9, 10, 11, 12, 13, 14, 15, 16]


def test_a_further_hit_keeps_the_window_open() -> None:
    lines = scan(b"Oops: 1\n" + numbered(4, first=2) + b"Call Trace:\n" + numbered(20, first=7))
    assert [line.number for line in lines] == [*range(1, 10)]


def test_a_hit_inside_a_word_is_none() -> None:
    assert scan(b"xOops: 1\n_Oops: 2\n7Oops: 3\n") == []
    assert [line.text for line in scan(b"(Oops: 1\n")] == ["(Oops: 1"]


def test_the_last_line_needs_no_newline() -> None:
    scanner = Scanner(Search(LITERALS))
    assert scanner.feed(b"Oops: 1") == []
    assert [line.text for line in scanner.close()] == ["Oops: 1"]


def test_a_line_is_yielded_with_its_newline() -> None:
    scanner = Scanner(Search(LITERALS))
    assert [line.text for line in scanner.feed(b"Oops: 1\nRIP")] == ["Oops: 1"]
    assert [line.text for line in scanner.feed(b": 0010\n")] == ["RIP: 0010"]


def test_a_closed_scanner_starts_afresh() -> None:
    scanner = Scanner(Search(LITERALS))
    first = scanner.feed(b"x\nOops: 1\n") + scanner.close()
    assert scanner.feed(b"x\nOops: 1\n") + scanner.close() == first


def test_lines_before_a_hit_are_found_in_earlier_chunks() -> None:
    scanner = Scanner(Search(LITERALS))
    assert scanner.feed(numbered(4)) == []
    assert [line.number for line in scanner.feed(b"Oops: 1\n")] == [3, 4, 5]


def test_windows_belong_to_hosts() -> None:
    def said(host: str, text: str) -> bytes:
        return f"Nov 22 18:53:41 {host} kernel: [   12.345678] {text}\n".encode()

    log = [said("web1", "Oops: 0002 [#1] SMP")]
    for n in range(6):
        log += [said(f"db{i}", f"noise {n}") for i in range(3)] + [said("web1", f"frame {n}")]
    lines = scan(b"".join(log))
    assert {line.host for line in lines} == {"web1"}
    assert [line.text for line in lines] == ["Oops: 0002 [#1] SMP", *(f"frame {n}" for n in range(5))]


def test_single_lines_come_right_before_their_hosts_crash() -> None:
    scanner = Scanner(Search(LITERALS))
    boots = b"".join(
        b"Nov 22 18:53:41 %s kernel: %s\n" % (host, text)
        for text in (b"Linux version 5", b"DMI: old", b"Linux version 6", b"DMI: new")
        for host in (b"web1", b"10.0.0.1")
    )
    assert scanner.feed(boots) == []
    lines = scanner.feed(b"Nov 22 18:53:41 10.0.0.1 kernel: Oops: 1\n")
    assert [(line.host, line.text) for line in lines] == [
        ("10.0.0.1", text) for text in ("Linux version 6", "DMI: new", "Oops: 1")
    ]
    (later,) = scanner.feed(b"Nov 22 18:53:41 10.0.0.1 kernel: Linux version 7\n")
    assert later.text == "Linux version 7"
    assert [line.text for line in scanner.close()] == ["Linux version 6", "DMI: new"]


def test_a_flood_of_single_lines_leaves_the_banner_and_the_latest() -> None:
    flood = b"".join(b"[    1.000000] DMI: %d\n" % n for n in range(1000))
    texts = [line.text for line in scan(b"[    0.000000] Linux version 6\n" + flood + b"Oops: 1\n")]
    assert texts[0] == "Linux version 6"
    assert texts[-2:] == ["DMI: 999", "Oops: 1"]
    assert len(texts) <= HELD_BY_HOST + 1


BANNER = b"[    0.000000] Linux version 6\n"


@pytest.mark.parametrize("blocks", [0, 1, ASIDE // 2, ASIDE + 1])
def test_single_lines_are_found_however_far_before_the_crash(blocks: int) -> None:
    noise = NOISE * (BLOCK // len(NOISE))
    log = b"[    9.000000] DMI: other boot\n" + BANNER + b"[    0.000000] DMI: x\n"
    log += b"".join(noise + b"[    1.000000] DMI: %d\n" % n for n in range(blocks)) + b"Oops: 1\n"
    texts = [line.text for line in scan(log) if "usb" not in line.text]
    assert texts == ["Linux version 6", "DMI: x", *(f"DMI: {n}" for n in range(blocks)), "Oops: 1"]
    lines = log.split(b"\n")
    assert all(lines[line.number - 1].decode() == line.raw for line in scan(log))


def test_a_banner_that_a_program_quotes_ends_no_boot() -> None:
    log = BANNER + b"[    0.000000] DMI: x\nLinux version 5, says uname\n"
    assert [line.text for line in scan(log + b"Oops: 1\n")][:2] == ["Linux version 6", "DMI: x"]


def test_a_boot_without_time_stamps_ends_the_one_before() -> None:
    boots = b"".join(b"Linux version %d\nDMI: %d\n" % (n, n) for n in range(100))
    texts = [line.text for line in scan(boots + b"Oops: 1\n")]
    assert texts == ["Linux version 99", "DMI: 99", "Oops: 1"]


def test_a_line_that_wants_the_one_before_is_not_held() -> None:
    log = NOISE + b"[    9.000000] VFS: gone\n" + BANNER
    lines = scan(log, [*LITERALS, Literal("VFS: ", before=1)])
    assert [line.number for line in lines] == [1, 2, 3]


def test_a_coloured_line_is_held_with_its_colours() -> None:
    (held, _) = scan(b"[    0.000000] \x1b[1mDMI\x1b[0m: x\nOops: 1\n")
    assert (held.text, held.raw) == ("DMI: x", "[    0.000000] \x1b[1mDMI\x1b[0m: x")


def test_programs_that_say_the_same_words_are_not_the_kernel() -> None:
    assert (
        scan(b"Nov 22 18:53:41 web1 cron[12]: Oops: 0002\nNov 22 18:53:41 web1 kernel: usb 1-1\n" * 3) == []
    )


def test_long_lines_are_read_in_pieces() -> None:
    lines = scan(b"first\n" + b"a" * 3 * LONGEST + b" Oops: 1 " + b"b" * LONGEST + b"\nlast\n")
    assert [line.number for line in lines] == [2, 2, 2, 2, 3]
    assert all(len(line.raw) <= LONGEST + 1 for line in lines)
    assert [line.text[-1] for line in lines] == ["…", "…", "…", "b", "t"]


def test_text_right_after_lost_blocks_of_a_file_is_read() -> None:
    lines = scan(b"Nov 22 18:53:41 web1 ker" + b"\0" * 100_000 + b"Nov 22 18:59:00 web1 kernel: Oops: 1\n")
    assert [(line.text, line.host) for line in lines if "Oops" in line.text] == [("Oops: 1", "web1")]


PIECES = [
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\xff\xfe",
    b"\x1b[31m",
    b"Oops: ",
    b"Call Trace:\n",
    b"Linux version 6.1\n",
    b"DMI: x\n",
    b"Panic#1 Part1\n",
    b"Panic#1 Part2\n",
    b"Oops#2 Part1\n",
    b"<4>[    1.000000] ",
    b"[    2.000000][  T12] ",
    b"Nov 22 18:53:41 web1 kernel: ",
    b"Nov 22 18:53:41 db1 kernel: ",
    b"Nov 22 18:53:41 db1 cron: ",
    b"4,17,1000000,-;",
    b"4,18,1000000,-,ncfrag=0/12;Oops: ",
    b"4,18,1000000,-,ncfrag=6/12;abcdef\n",
    b" SUBSYSTEM=acpi\n",
    b'{"MESSAGE":"Oops: 1","_TRANSPORT":"kernel","_HOSTNAME":"web1"}\n',
    b"__CURSOR=x\n_TRANSPORT=kernel\n",
    b"MESSAGE=Oops: 1\n",
    b"MESSAGE\n\x07\0\0\0\0\0\0\0Oops:\n1\n",
    b'         "time":     1.000000,\n',
    b'         "msg": "Oops: 1"\n',
    b"** 12 printk messages dropped **\n",
    b"some words\n",
    b"frame+0x1/0x2\n",
    b"x" * 50 + b"\n",
    b"y" * (LONGEST - 5),
    numbered(12),
]
TEXT = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=60).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(TEXT, st.lists(st.integers(0, 60_000), max_size=12))
@example(b"Oops: 1\n" * 3, [1, 2, 3, 8, 9])
def test_any_split_gives_the_same_lines(data: bytes, cuts: list[int]) -> None:
    scanner = Scanner(Search(LITERALS))
    found: list[Line] = []
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    for start, end in itertools.pairwise(edges):
        found += scanner.feed(data[start:end])
    assert found + scanner.close() == scan(data)


@settings(max_examples=200, deadline=None)
@given(TEXT | st.binary(max_size=3000))
@example(
    b'Linux version 6.1\n{"MESSAGE":"Oops: 1","_TRANSPORT":"kernel","_HOSTNAME":"web1"}\n<4>[    1.000000] '
)
def test_any_bytes_give_clean_lines_in_order(data: bytes) -> None:
    lines = scan(data)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e]", "".join(line.text for line in lines))
    assert all("\n" not in line.raw for line in lines)
    assert (
        len(lines)
        <= 3 * data.count(b"\n") + sum(map(data.count, (b"\\", b"#", b"["))) + len(data) // LONGEST + 1
    )
    if b"Part" not in data and b"ncfrag" not in data:  # these are sorted
        for host in {line.host for line in lines}:
            numbers = [line.number for line in lines if line.host == host]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(b"Oops: 0002 ", id="one line"),
        pytest.param(b"Oops: 0002\n", id="headers"),
        pytest.param(b"\0", id="NULs"),
        pytest.param(b"\xc3\x28\xf0\x90\n", id="broken UTF-8"),
        pytest.param(b"\x1b[", id="escapes"),
        pytest.param(b"\r", id="carriage returns"),
        pytest.param(b"Panic#1 Part1\n", id="records"),
        pytest.param(b"MESSAGE=Oops: \n", id="fields"),
        pytest.param(b"[[[[    <1", id="brackets"),
    ],
)
def test_memory_is_bounded(unit: bytes) -> None:
    scanner = Scanner(Search(LITERALS))
    size = BLOCK if b"\n" not in unit else BLOCK // 8
    chunk = (unit * (size // len(unit) + 1))[:size]
    for _ in range(6):  # then history and collected records have their full size
        scanner.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(2):
            scanner.feed(chunk)
        grown, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 6 * BLOCK  # replacement of an untraced object
    assert peak < 100 * BLOCK


@pytest.mark.slow
def test_ten_thousand_hosts_keep_a_bounded_number_of_windows() -> None:
    scanner = Scanner(Search([Literal("Oops: ", after=1000)]))
    for n in range(10_000):
        scanner.feed(b"Nov 22 18:53:41 host%d kernel: Oops: 1\n" % n)
    lines = scanner.feed(b"".join(b"Nov 22 18:53:42 host%d kernel: frame\n" % n for n in range(10_000)))
    assert 0 < len({line.host for line in lines}) <= 4096


def test_history_is_bounded() -> None:
    lines = scan(numbered(2 * HISTORY) + b"Oops: 1\n", [Literal("Oops: ", before=10 * HISTORY)])
    assert len(lines) <= 10 * HISTORY + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unit", "size"),
    [
        pytest.param(b"Panic#1 Part1\n", BLOCK // 16, id="records"),
        pytest.param(b"MESSAGE=Oops: \n", BLOCK // 16, id="fields"),
        pytest.param(b"4,17,1,-,ncfrag=%d/99999999;Oops: x\n", BLOCK // 16, id="fragments"),
        pytest.param(b"Nov 22 18:53:41 web%d kernel: DMI: " + b"x" * 4000 + b"\n", BLOCK, id="long lines"),
    ],
)
def test_the_memory_of_a_scanner_does_not_grow(unit: bytes, size: int) -> None:
    number = itertools.count()
    scanner = Scanner(Search(LITERALS))
    held = []
    tracemalloc.start()
    try:
        for _ in range(32):
            scanner.feed(
                b"".join(unit % next(number) if b"%" in unit else unit for _ in range(size // len(unit)))
            )
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(held[24:]) < 1.1 * max(held[:24]) + 4096
