"""Every transport gives the kernel's text of a line, and the metadata that the line contains."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from kpanic.grammars.lines import Reader
from kpanic.grammars.model import Line

TEXT = " sysrq_handle_crash+0x16/0x20"


def stamp(day: int, hour: int, minute: int, second: int, microsecond: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, second, microsecond, tzinfo=UTC).timestamp()


def read(*lines: str | bytes) -> list[Line]:
    reader = Reader()
    found: list[Line] = []
    for number, line in enumerate(lines, 1):
        found += reader.read(number, line if isinstance(line, bytes) else line.encode())
    return found + reader.flush()


NOON = stamp(22, 18, 53, 41)
FORMS = {
    "console": (f"[   12.345678] {TEXT}", {"time": 12.345678}),
    "late": (f"[123456.345678] {TEXT}", {"time": 123456.345678}),
    "caller": (f"[   12.345678][ T1234] {TEXT}", {"time": 12.345678, "caller": "T1234"}),
    "CPU": (f"[   12.345678][    C0] {TEXT}", {"time": 12.345678, "caller": "C0"}),
    "caller as dmesg prints it": (f"[   12.345678] [ T1234] {TEXT}", {"time": 12.345678, "caller": "T1234"}),
    "level": (f"<4>[   12.345678] {TEXT}", {"time": 12.345678}),
    "level alone": (f"<4>{TEXT}", {}),
    "nothing": (TEXT, {}),
    "dmesg -d": (f"[   12.345678 <    0.000086>] {TEXT}", {"time": 12.345678}),
    "dmesg -T": (f"[Sun Nov 22 18:53:41 2026] {TEXT}", {}),
    "dmesg -T -d": (f"[Sun Nov 22 18:53:41 2026 <    0.000086>] {TEXT}", {}),
    "dmesg -T, caller": (f"[Sun Nov 22 18:53:41 2026] [    T1] {TEXT}", {"caller": "T1"}),
    "dmesg -x": (f"kern  :warn  : [   12.345678] {TEXT}", {"time": 12.345678}),
    "dmesg -x -T": (f"kern  :warn  : [Sun Nov 22 18:53:41 2026] {TEXT}", {}),
    "dmesg -H": (f"[Nov22 19:31] {TEXT}", {}),
    "dmesg -H, next": (f"[  +0.000086] {TEXT}", {}),
    "dmesg delta": (f"[<    0.000086>] {TEXT}", {}),
    "dmesg iso": (f"2026-11-22T18:53:41,500000+00:00 {TEXT}", {"epoch": NOON + 0.5}),
    "dmesg iso, zone": (f"2026-11-22T20:53:41,500000+02:00 {TEXT}", {"epoch": NOON + 0.5}),
    "RFC 3164": (f"Nov 22 18:53:41 web1 kernel: [   12.345678] {TEXT}", {"time": 12.345678, "host": "web1"}),
    "RFC 3164, priority": (f"<4>Nov  2 18:53:41 web1 kernel: {TEXT}", {"host": "web1"}),
    "RFC 3164, caller": (
        f"Nov 22 18:53:41 web1 kernel: [   12.345678][  T1] {TEXT}",
        {"time": 12.345678, "host": "web1", "caller": "T1"},
    ),
    "BusyBox": (f"Nov 22 18:53:41 kernel: [   12.345678] {TEXT}", {"time": 12.345678}),
    "OpenWrt": (f"Sun Nov 22 18:53:41 2026 kern.warn kernel: [   12.345678] {TEXT}", {"time": 12.345678}),
    "ISO syslog": (
        f"2026-11-22T18:53:41.500000+00:00 web1 kernel: [   12.345678] {TEXT}",
        {"time": 12.345678, "host": "web1", "epoch": NOON + 0.5},
    ),
    "RFC 5424": (
        f'<4>1 2026-11-22T18:53:41.500000Z web1 kernel - - [meta sequenceId="1\\"]"] {TEXT}',
        {"host": "web1", "epoch": NOON + 0.5},
    ),
    "RFC 5424, nothing known": (
        f"<4>1 - web1 kernel - - - [   12.345678] {TEXT}",
        {"host": "web1", "time": 12.345678},
    ),
    "journalctl": (f"Nov 22 18:53:41 web1 kernel: {TEXT}", {"host": "web1"}),
    "journalctl short-precise": (f"Nov 22 18:53:41.500000 web1 kernel: {TEXT}", {"host": "web1"}),
    "journalctl short-iso": (
        f"2026-11-22T18:53:41+0000 web1 kernel: {TEXT}",
        {"host": "web1", "epoch": NOON},
    ),
    "journalctl short-full": (
        f"Sun 2026-11-22 18:53:41 UTC web1 kernel: {TEXT}",
        {"host": "web1", "epoch": NOON},
    ),
    "journalctl short-full, zone by name": (
        f"Sun 2026-11-22 18:53:41 CET web1 kernel: {TEXT}",
        {"host": "web1"},
    ),
    "journalctl short-monotonic": (
        f"[   12.345678] web1 kernel: {TEXT}",
        {"host": "web1", "time": 12.345678},
    ),
    "console server": (f"2026-11-22 18:53:41 [   12.345678] {TEXT}", {"time": 12.345678}),
    "test runner": (f"2026/11/22 18:53:41 {TEXT}", {}),
    "kmsg": (f"4,433,12345678,-;{TEXT}", {"time": 12.345678}),
    "kmsg, caller": (f"4,433,12345678,-,caller=T1;{TEXT}", {"time": 12.345678, "caller": "T1"}),
    "netconsole, release": (f"6.4.0,4,433,12345678,-,caller=C0;{TEXT}", {"time": 12.345678, "caller": "C0"}),
    "JSON of the journal": (
        (
            f'{{"MESSAGE":"{TEXT}","_TRANSPORT":"kernel","_HOSTNAME":"web1",'
            f'"_SOURCE_MONOTONIC_TIMESTAMP":"12345678","__REALTIME_TIMESTAMP":"{int(NOON)}500000"}}'
        ),
        {"host": "web1", "time": 12.345678, "epoch": NOON + 0.5},
    ),
    "JSON of a collector": (f'{{"log":"[   12.345678] {TEXT}\\n","stream":"stdout"}}', {"time": 12.345678}),
    "login prompt": (f"web1 login: [   12.345678] {TEXT}", {"time": 12.345678, "before": "web1 login:"}),
    "words without an end": (
        f"[....] Starting rsyslogd[   12.345678][    T1] {TEXT}",
        {"time": 12.345678, "caller": "T1", "before": "[....] Starting rsyslogd"},
    ),
    "quoted in a mail": (f"> [   12.345678] {TEXT}", {"time": 12.345678}),
    "serial line": (f"[   12.345678] {TEXT}\r", {"time": 12.345678}),
    "NULs": (f"\0\0[   12.345678] {TEXT}", {"time": 12.345678}),
    "colours": (f"\x1b[32m[   12.345678] \x1b[0m\x1b[1m{TEXT}\x1b[0m", {"time": 12.345678}),
}


@pytest.mark.parametrize(("line", "known"), FORMS.values(), ids=FORMS)
def test_a_form_gives_the_text_and_what_is_known(line: str, known: dict[str, object]) -> None:
    *before, found = read(line)
    assert [one.text for one in before] == [known.pop("before")] if "before" in known else not before
    expected = structs.replace(Line(1, TEXT, raw=line.removesuffix("\r")), **known)  # type: ignore[arg-type]
    assert structs.replace(found, clock=None, transport="") == expected
    assert bool(found.transport) == (line != TEXT)


@pytest.mark.parametrize(
    ("form", "seconds"),
    [
        ("[Sun Nov 22 18:53:41 2026] {}", 61),
        ("[So Nov 22 18:53:41 2026] {}", 61),
        ("[Вс ноя 22 18:53:41 2026] {}", 61),  # noqa: RUF001 - Russian
        ("Nov 22 18:53:41 web1 kernel: {}", 61),
        ("févr. 22 18:53:41 web1 kernel: {}", 61),
        ("11月 22 18:53:41 web1 kernel: {}", 61),
        ("Sun Nov 22 18:53:41 2026 kern.warn kernel: {}", 61),
        ("2026-11-22T18:53:41.500000 web1 kernel: {}", 61),
        ("2026-11-22T18:53:41.500000+01:00 web1 kernel: {}", 61),
        ("2026-11-22T18:53:41,500000+00:00 {}", 61),
        ("2026-11-22 18:53:41 [   12.345678] {}", 61),
        ("2026/11/22 18:53:41 {}", 61),
        ("[Nov22 18:53] {}", 60),
    ],
)
def test_a_stamp_without_a_zone_is_a_clock_all_the_same(form: str, seconds: int) -> None:
    first, second = read(
        form.format(TEXT), form.format(TEXT).replace("18:53:41", "18:54:42").replace("18:53]", "18:54]")
    )
    assert first.text == second.text == TEXT
    assert first.clock is not None
    assert second.clock is not None
    assert round(second.clock - first.clock) == seconds


def test_the_clock_of_dmesg_H_goes_on_by_differences() -> None:  # noqa: N802 - named like the option
    lines = read("[Nov22 19:31] one", "[  +0.500000] two", "[  +2.000000] three")
    assert [line.clock and line.clock - (lines[0].clock or 0) for line in lines] == [0, 0.5, 2.5]


def test_a_stamp_alone_is_a_line_without_words() -> None:
    (line,) = read("[Sun Nov 22 18:53:41 2026]")
    assert (line.text, line.transport) == ("", "dmesg")


@pytest.mark.parametrize(("line", "known"), FORMS.values(), ids=FORMS)
def test_a_run_of_lines_reads_as_each_of_them(line: str, known: dict[str, object]) -> None:
    assert known is not None
    lines = [line, f"[   13.000000] {TEXT}", line]
    assert Reader().run(1, "".join(part + "\n" for part in lines).encode()) == read(*lines)


@pytest.mark.parametrize("other", ["no stamp", "[   12.000000]"])
def test_records_that_stand_on_one_line_are_parted_beside_any_other_line(other: str) -> None:
    lines = [other, f"[   12.345678] {TEXT}[   12.345679] {TEXT}"]
    found = Reader().run(1, "".join(line + "\n" for line in lines).encode())
    assert found == read(*lines)
    assert [line.time for line in found[1:]] == [12.345678, 12.345679]


@pytest.mark.parametrize(
    "line",
    [
        "Nov 22 18:53:41 web1 systemd[1]: Started Oops: 0002",
        "Nov 22 18:53:41.500000 web1 sshd[12]: Kernel panic - not syncing",
        "2026-11-22T18:53:41+0000 web1 cron: BUG: unable to handle",
        "Sun 2026-11-22 18:53:41 UTC web1 systemd[1]: init.scope: Oops",
        "<13>1 2026-11-22T18:53:41Z web1 logger 12 - - Oops: 0002",
        "Message from syslogd@web1 at Nov 22 18:53:41 ...",
        '{"MESSAGE":"Oops: 0002","_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel"}',
        '{"MESSAGE":null,"_TRANSPORT":"kernel"}',
        "",
        "   ",
    ],
)
def test_lines_of_other_programs_are_not_the_kernel_s(line: str) -> None:
    assert read(line) == []


def test_spaces_that_a_web_page_folded() -> None:
    (line,) = read("[ 790.371603] [<ffffffffb3c7507d>] __handle_sysrq+0x10d/0x170")
    assert (line.time, line.text) == (790.371603, "[<ffffffffb3c7507d>] __handle_sysrq+0x10d/0x170")


def test_a_text_that_looks_like_an_address_is_no_caller() -> None:
    (line,) = read("[  790.371603]  [<ffffffffb3c7507d>] __handle_sysrq+0x10d/0x170")
    assert line.text == " [<ffffffffb3c7507d>] __handle_sysrq+0x10d/0x170"


def test_control_codes_are_shown_not_kept() -> None:
    (line,) = read("[    1.000000] comm: \x07evil\x08\x1b]0;title\x07 \u202egnp.exe\x85\x7f\ttab \0 end")
    assert line.text == "comm: ␇evil␈ �gnp.exe�␡\ttab ␀ end"
    assert line.raw == "[    1.000000] comm: \x07evil\x08\x1b]0;title\x07 \u202egnp.exe\x85\x7f\ttab \0 end"


def test_broken_utf8_is_replaced() -> None:
    (line,) = read(b"[    1.000000] Comm: \xff\xc3(x \xe2\x82\xac")
    assert line.text == "Comm: \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}(x €"


def test_kmsg_text_is_unescaped_and_split() -> None:
    lines = read(r"4,433,12345678,-;one\x0atwo \xe2\x82\xac\x09\x5cx41\x1b[1m")
    assert [line.text for line in lines] == ["one", "two €\t\\x41"]


def test_properties_of_a_device_are_no_text() -> None:
    lines = read(
        "4,433,1,-;ata1: error", " SUBSYSTEM=ata", " DEVICE=+ata:ata1", "4,434,1,-;next", "next", " A=b"
    )
    assert [line.text for line in lines] == ["ata1: error", "next", "next", " A=b"]


def test_fragments_are_put_together() -> None:
    lines = read("4,7,1000000,-,ncfrag=0/10;Oops:", "4,7,1000000,-,ncfrag=5/10; 0002", "4,8,1000000,-;next")
    assert [(line.number, line.text, line.lost) for line in lines] == [(1, "Oops: 0002", 0), (3, "next", 0)]


def test_fragments_of_datagrams_on_one_line() -> None:
    lines = read("4,7,1000000,-,ncfrag=0/10;Oops:4,7,1000000,-,ncfrag=5/10; 0002")
    assert [line.text for line in lines] == ["Oops: 0002"]


def test_a_fragment_that_never_comes_costs_no_line() -> None:
    lines = read("4,7,1000000,-,ncfrag=0/10;Oops:", *["4,8,1000000,-;next"] * 40)
    assert sorted(line.text for line in lines) == ["Oops:", *["next"] * 40]


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        (["[    1.000000] one", "** 12 printk messages dropped **", "[    2.000000] two"], [0, 12]),
        (["** 12 printk messages dropped ** [    2.000000] two"], [12]),
        (["4,7,1,-;one", "4,10,1,-;two", "4,11,1,-;three"], [0, 2, 0]),
        (["4,700,1,-;one", "4,0,1,-;another boot"], [0, 0]),
        (
            [
                "Nov 22 18:53:41 web1 kernel: one",
                "Nov 22 18:53:41 web1 systemd-journald[99]: Missed 5 kernel messages",
                "Nov 22 18:53:41 web1 kernel: two",
            ],
            [0, 5],
        ),
        (
            [
                '{"MESSAGE":"Missed 5 kernel messages","_TRANSPORT":"driver"}',
                '{"MESSAGE":"two","_TRANSPORT":"kernel"}',
            ],
            [5],
        ),
    ],
)
def test_lost_records_are_counted(lines: list[str], lost: list[int]) -> None:
    assert [line.lost for line in read(*lines)] == lost


def test_the_export_form_of_the_journal() -> None:
    lines = read(
        "__CURSOR=s=1",
        f"__REALTIME_TIMESTAMP={int(NOON)}500000",
        "_SOURCE_MONOTONIC_TIMESTAMP=12345678",
        "_TRANSPORT=kernel",
        "MESSAGE=Oops: 0002 [#1] SMP",
        "_HOSTNAME=web1",
        "",
        "_TRANSPORT=kernel",
        "MESSAGE",
        *b"\x0a\0\0\0\0\0\0\0two\n\x01lines".split(b"\n"),
        "",
        "_TRANSPORT=syslog",
        "MESSAGE=Oops: of another program",
        "",
    )
    assert lines == [
        Line(
            number=5,
            text="Oops: 0002 [#1] SMP",
            time=12.345678,
            host="web1",
            epoch=NOON + 0.5,
            raw="MESSAGE=Oops: 0002 [#1] SMP",
            transport="journal",
        ),
        Line(9, "two", raw="MESSAGE", transport="journal"),
        Line(9, "␁lines", raw="MESSAGE", transport="journal"),
    ]


def test_the_json_form_of_dmesg() -> None:
    lines = read(
        "{",
        '   "dmesg": [',
        "      {",
        '         "pri": 4,',
        '         "time":    12.345678,',
        '         "caller": "T1",',
        '         "msg": "say \\"Oops\\""',
        "      },{",
        '         "pri": 4,',
        '         "time":    12.345679,',
        '         "msg": "broken \\',
        "      }",
    )
    assert [(line.time, line.caller, line.text) for line in lines if line.text.strip("{}")][:1] == [
        (12.345678, "T1", 'say "Oops"')
    ]


@given(st.text(max_size=200) | st.sampled_from([line for line, _ in FORMS.values()]), st.binary(max_size=20))
def test_anything_reads(text: str, tail: bytes) -> None:
    for part in text.encode("utf-8", "surrogatepass").split(b"\n"):
        for line in read(part + tail.replace(b"\n", b"")):
            assert len(line.text) <= len(part) + len(tail) + 1
