"""Properties of any text: no exception, bounded output, the same crashes however it is split."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpanic.grammars import CrashReport, Parser, parse
from kpanic.grammars.incident import CHARACTERS, LINES
from kpanic.grammars.parser import ALL_CHARACTERS, CHUNK
from kpanic.grammars.registry import Registry, default
from kpanic.grammars.report import CONSEQUENCES, FAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGS = Path(__file__).parent.parent / "logs"
OOPS = (LOGS / "transports" / "vmcore-dmesg-6.1-null_read.txt").read_bytes()
PIECES = [
    *(literal for literal, _ in default().literals),
    "Call Trace:",
    " [<ffffffff81234567>] ? f.isra.0+0x16/0x20 [module]",
    " f+0x1/0x2",
    "RIP: 0010:f+0x16/0x20",
    "CPU: 0 PID: 1 Comm: x Tainted: G        W  OE      6.1.0 #1",
    "Modules linked in: a(O) b",
    "(f) from [<c0101010>] (g+0x1/0x2)",
    "<IRQ>",
    "\x00\x1b[31m\u2028\udcff",
    "at: ",
]
WORDS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=12)), max_size=4).map(" ".join)
TEXTS = st.lists(WORDS, max_size=40).map("\n".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS)
def test_no_text_raises(text: str) -> None:
    for crash in parse(text.encode("utf-8", "surrogateescape" if "\udcff" in text else "replace")):
        assert crash.title
        assert not crash.doubt.startswith(FAULT)
        assert len(crash.title) <= 240
        assert len(crash.lines) <= LINES
        assert len(crash.consequences) <= CONSEQUENCES


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_raise(data: bytes) -> None:
    assert not any(crash.doubt.startswith(FAULT) for crash in parse(data))


def words(crashes: list[CrashReport]) -> list[tuple[str, str, list[str]]]:
    return [(crash.title, crash.cause, [line.text for line in crash.lines]) for crash in crashes]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(OOPS)), max_size=6))
def test_pieces_give_the_same_crashes(cuts: list[int]) -> None:
    parser = Parser()
    crashes: list[CrashReport] = []
    edges = [0, *sorted(cuts), len(OOPS)]
    for start, end in itertools.pairwise(edges):
        crashes += parser.feed(OOPS[start:end])
    crashes += parser.close()
    assert words(crashes) == words(list(parse(OOPS)))
    assert len(crashes) == 1


def test_a_closed_parser_is_as_a_new_one() -> None:
    """A line without a prefix does not belong to a host of the previous text."""
    parser = Parser()
    parser.feed(b"Nov 22 18:53:41 web1 kernel: [   12.345678] Kernel panic - not syncing: one")
    (first,) = parser.close()
    parser.feed(b"Kernel panic - not syncing: two")
    (second,) = parser.close()
    assert (first.host, second.host) == ("web1", "")


MANY = b"9" * 5000


@pytest.mark.parametrize(
    ("printed", "hostile"),
    [
        (b"PID: 1 ", b"PID: " + MANY + b" "),
        (b"CPU: 0 ", b"CPU: " + MANY + b" "),
        (b"[#1]", b"[#" + MANY + b"]"),
        (b"Oops: 0000", b"Oops: " + b"f" * 5000),
        (b"address: 0000000000000010", b"address: " + b"f" * 5000),
        (b"+0x5/", b"+0x" + b"f" * 5000 + b"/"),
        (b"[    ", b"[" + MANY),
        (b"[    ", b"<4>[" + MANY),
    ],
)
def test_numbers_that_no_kernel_prints_cost_no_crash(printed: bytes, hostile: bytes) -> None:
    (known,) = parse(OOPS)
    changed = OOPS.replace(printed, hostile)
    both = list(parse(OOPS + changed + OOPS))
    assert both[0].title == both[-1].title == known.title
    found = list(parse(changed))
    if b"[999" not in hostile:
        assert [crash.title for crash in found] == [known.title]
    for crash in found:
        assert crash.process.pid in {None, known.process.pid}
        assert crash.process.cpu in {None, known.process.cpu}


def test_a_host_that_is_no_text_costs_no_crash() -> None:
    entries = b"".join(
        b'{"_TRANSPORT":"kernel","_HOSTNAME":"\\ud800","MESSAGE":%s}\n'
        % json.dumps(line.partition(b"] ")[2].decode()).encode()
        for line in OOPS.splitlines()
    )
    assert len(list(parse(entries))) == 1


def test_threads_read_side_by_side() -> None:
    logs = [path.read_bytes() for path in sorted((LOGS / "lab").iterdir())[:20]]
    expected = [words(list(parse(log))) for log in logs]
    unread = Registry(default().families)

    def read(_: int) -> list[list[tuple[str, str, list[str]]]]:
        parser = Parser(unread)
        return [words(parser.feed(log) + parser.close()) for log in logs]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, range(4)):
            assert found == expected


def test_omitted_fields_of_a_form_are_omitted() -> None:
    (crash,) = parse("[    1.000000] detected buffer overflow in      1.364903] NET: Registered PF_INET6\n")
    assert (crash.status, crash.cause_detail) == ("corrupted", "")


@pytest.mark.parametrize("line", ["BUG: kernel NULL pointer dereference, address: 00", "WARNING: CPU: 0 "])
def test_many_headers_are_one_bounded_report(line: str) -> None:
    crashes = list(
        parse("[    1.000000] BUG: KASAN: use-after-free in f+0x1/0x2\n" + f"[    1.000000] {line}\n" * 5000)
    )
    assert len(crashes) == 1
    assert len(crashes[0].lines) <= LINES
    assert crashes[0].truncated


def test_an_incident_of_long_lines_is_bounded() -> None:
    (crash,) = parse(b"Oops: 0002 [#1] SMP\n" + (b"Call Trace: \xff" + b"x" * 5000 + b"\n") * 1000)
    assert crash.truncated
    assert sum(len(line.raw) for line in crash.lines) < CHARACTERS


def test_crashes_of_many_hosts_are_bounded_together() -> None:
    parser = Parser()
    names = [f"web{number}" for number in range(4 * ALL_CHARACTERS // CHARACTERS)]
    crashes: list[CrashReport] = []
    for text in ("Oops: 0002 [#1] SMP", *["Call Trace: " + "x" * 7000] * 200):
        said = "".join(f"Nov 22 18:53:41 {name} kernel: {text}\n" for name in names)
        crashes += parser.feed(said.encode())
    early = len(crashes)
    assert 0 < early < len(names)
    crashes += parser.close()
    assert {crash.host for crash in crashes} == set(names)
    assert all(crash.truncated for crash in crashes)


def test_a_crash_in_each_boot_is_a_document_with_its_own_kernel() -> None:
    def boot(release: str, crash: str) -> str:
        return (
            f"[    0.000000] Linux version {release} (builder@host) (gcc 12) #1 SMP\n[   50.000000] hello\n"
            + crash
        )

    bug = (
        "[   60.000000] kernel BUG at mm/x.c:1!\n[   60.000001] RIP: 0010:widget+0x1/0x2\n[   "
        "60.000002] Call Trace:\n[   60.000003]  f+0x1/0x2\n"
    )
    crashes = list(parse(boot("5.10.1", bug) + boot("5.10.2", "") + boot("5.10.3", bug)))
    assert [crash.kernel.release for crash in crashes] == ["5.10.1", "5.10.3"]


def test_a_report_without_a_trace_survives_the_next_boot() -> None:
    boot = "[    0.000000] Linux version 6.1.{} (builder@host) (gcc 12) #1 SMP\n"
    gone = "[   60.000000] VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.\n"
    (crash,) = parse(boot.format(1) + gone + boot.format(2))
    assert crash.kernel.release == "6.1.1"


def test_reading_ahead_gives_the_same_crashes() -> None:
    noise = b"[   12.000000] usb 1-1: new high-speed USB device number 2\n" * 10_000
    log = noise + OOPS + noise + noise + OOPS
    chunks = [log[at : at + CHUNK] for at in range(0, len(log), CHUNK)]
    assert list(parse(iter(chunks), ahead=True)) == list(parse(log))


def test_an_exception_in_reading_ahead_is_raised() -> None:
    def source() -> Iterator[bytes]:
        yield b"x" * CHUNK
        yield OOPS
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(parse(source(), ahead=True))
    endless = parse(itertools.repeat(OOPS + b"x" * CHUNK + b"\n"), ahead=True)
    next(endless)
    endless.close()  # ends the thread


def test_later_reports_belong_to_the_cause() -> None:
    text = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-refcount.log").read_bytes()
    (crash,) = parse(text)
    assert crash.fatal
    assert crash.title.startswith("WARNING: refcount bug in ")
    assert crash.consequences == ("kernel panic: panic_on_warn set",)
