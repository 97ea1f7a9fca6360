"""A fault of the grammar costs one line or one report; all others are read."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from msgspec import structs

from kpanic.grammars import Parser, boot, faults, parse, parser, report, transport
from kpanic.grammars.registry import Registry
from kpanic.grammars.transport import Encoded, LineReader, Row, Transport, Transports

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars import CrashReport

BOOT = """\
[    0.000000] Linux version 6.18.0 (builder@host) (gcc 12) #1 SMP
[    0.000001] Command line: quiet
"""
CRASH = """\
[   10.000001] kernel BUG at drivers/widget/main.c:77!
[   10.000002] RIP: 0010:widget_scan+0x10/0x40 [widget]
[   10.000003] Call Trace:
[   10.000004]  widget_write+0x20/0x40 [widget]
"""
LOG = BOOT + CRASH + "!!! strange: a line\n" + BOOT + CRASH


def boom(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("boom")


class Faulty(LineReader):
    def read(self, row: Row) -> NoReturn:  # noqa: ARG002 - it fails for any line
        boom()


class Records:
    """Records whose lines cannot be read."""

    def read(self, number: int, line: bytes) -> bool:
        return number > 0 and line.startswith((b"!!!", b"WIDGET"))

    def lines(self) -> NoReturn:
        boom()


def titles(crashes: list[CrashReport]) -> list[str]:
    return [crash.title for crash in crashes]


def read(*more: Transport, text: str = LOG) -> list[CrashReport]:
    reader = Parser(transports=Transports([*transport.default().all, *more]))
    return reader.feed(text.encode()) + reader.close()


WRONG: dict[str, tuple[Transport, str]] = {
    "its reader": (Transport("widget", reader=Faulty, order=1), "transport Faulty"),
    "its records": (
        Transport("widget", marks=("!!! strange",), begins=lambda line: b"!!!" in line, records=Records),
        "records",
    ),
    "how they begin": (
        Transport("widget", marks=("!!! strange",), begins=boom, records=Records),
        "records",
    ),
    "its code": (Transport("widget", encoded=Encoded("!!! strange:", boom)), "transport !!! strange:"),
}


@pytest.mark.parametrize("part", WRONG)
def test_a_transport_with_a_fault_costs_its_line(part: str) -> None:
    wrong, stage = WRONG[part]
    before = faults.counts().get(stage, 0)
    assert titles(read(wrong)) == ["kernel BUG in widget_scan"] * 2
    assert faults.counts()[stage] > before


def test_a_boot_that_cannot_be_read_costs_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    literal = "Command line: "
    readers = tuple((text, kind, boom if text == literal else reader) for text, kind, reader in boot.READERS)
    monkeypatch.setattr(boot, "READERS", readers)
    crashes = list(parse(LOG))
    assert [(crash.title, crash.kernel.release) for crash in crashes] == [
        ("kernel BUG in widget_scan", "6.18.0")
    ] * 2


def fails_once(function: Callable[..., object]) -> Callable[..., object]:
    calls = iter([boom])

    def call(*arguments: object, **named: object) -> object:
        return next(calls, function)(*arguments, **named)

    return call


@pytest.mark.parametrize(
    "inject",
    [
        pytest.param(
            lambda patch: patch.setattr(Registry, "ignores", fails_once(Registry.ignores)), id="header"
        ),
        pytest.param(lambda patch: patch.setattr(report, "read", fails_once(report.read)), id="report"),
        pytest.param(
            lambda patch: patch.setattr(parser, "analyse", fails_once(parser.analyse)), id="reading"
        ),
    ],
)
def test_a_stage_with_a_fault_costs_one_report(
    inject: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch)
    *_, last = parse(LOG)
    assert (last.title, last.status) == ("kernel BUG in widget_scan", "complete")


def test_a_report_that_cannot_be_read_is_a_document_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "read", boom)
    assert [crash.status for crash in parse(LOG)] == ["corrupted"] * 2


@pytest.mark.parametrize("line", ["a:a: " * 1600, "> " * 4000 + "x", "b'" * 2000 + "'" * 2000])
@pytest.mark.parametrize("wrapped", ["{}", '{{"log": "{}"}}'])
def test_prefixes_that_never_end_cost_their_line(line: str, wrapped: str) -> None:
    text = CRASH + wrapped.format(line) + "\n" + BOOT + CRASH
    assert titles(list(parse(text))) == ["kernel BUG in widget_scan"] * 2


class Shout(LineReader):
    """Reads ``LOUD text``."""

    def read(self, row: Row) -> list[transport.Line] | None:
        if not row.text.startswith("LOUD "):
            return None
        return self.context.again(structs.replace(row, text=row.text[5:]))


def test_a_transport_of_another_distribution_is_read() -> None:
    loud = Transport("loud", reader=Shout, starts="L", order=1)
    text = "".join(f"LOUD {line}\n" for line in (BOOT + CRASH).splitlines())
    (crash,) = read(loud, text=text)
    assert (crash.title, crash.kernel.release, crash.time) == (
        "kernel BUG in widget_scan",
        "6.18.0",
        10.000001,
    )


def test_every_transport_is_registered() -> None:
    folder = Path(transport.__file__).parent / "transports"
    files = {
        f"kpanic.grammars.transports.{path.stem}"
        for path in folder.glob("*.py")
        if path.stem not in {"__init__", "stamps"}
    }
    assert files
    assert files <= {entry.value for entry in entry_points(group=transport.GROUP)}


def test_scan_and_reader_know_no_transport_by_name() -> None:
    folder = Path(transport.__file__).parent
    text = "".join(
        path.read_text(encoding="utf-8") for path in [folder / "lines.py", *(folder / "scan").glob("*.py")]
    )
    assert "transports import" not in text
    assert "grammars.transports" not in text
