"""Consoles of kernels that were crashed on purpose, with known answers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from kpanic.grammars import CrashReport, parse
from kpanic.grammars.fact import lines_of

LOGS = Path(__file__).parent.parent / "logs" / "lab"
ANSWERS = tomllib.loads((Path(__file__).parent / "lab.toml").read_text())
CONSOLES = sorted(LOGS.glob("*.log"))


class Answer(NamedTuple):
    fatal: bool
    cause: str
    function: str
    title: str
    release: str
    machine: str


def kind_of(console: Path) -> tuple[str, str]:
    """Return the kernel and the kind of crash from a console's name."""
    return next(
        (name, console.stem.removeprefix(f"{name}-"))
        for name in sorted(ANSWERS["kernels"], key=len, reverse=True)
        if console.stem.startswith(f"{name}-")
    )


def answer(console: Path) -> Answer | None:
    """Return the reading of a console; None without a crash."""
    kernel, kind = kind_of(console)
    expected = ANSWERS["consoles"].get(console.stem, ANSWERS["kinds"][kind])
    return Answer(*expected, *ANSWERS["kernels"][kernel].values()) if expected else None


def read(console: Path) -> list[CrashReport]:
    return list(parse(console.read_bytes()))


def test_every_console_has_an_answer_and_every_answer_a_console() -> None:
    assert {kind_of(console)[1] for console in CONSOLES} == set(ANSWERS["kinds"])


@pytest.mark.parametrize("console", CONSOLES, ids=lambda console: console.stem)
def test_console(console: Path) -> None:
    reports = read(console)
    expected = answer(console)
    if expected is None:
        assert reports == []
        return
    assert len(reports) == 1, [report.title for report in reports]
    (report,) = reports
    got = Answer(
        report.fatal,
        report.cause,
        report.blame.function,
        report.title,
        report.kernel.release,
        report.kernel.architecture,
    )
    assert got == expected
    assert report.status == "complete"
    assert report.signature is not None


@pytest.mark.parametrize("kind", ["oom-kill", "oom-deadlock"])
def test_a_crash_due_to_a_kill_is_part_of_it_even_line_by_line(kind: str) -> None:
    console = LOGS / f"7.3.4+deb13-amd64-x86_64-{kind}.log"
    lines = console.read_bytes().splitlines(keepends=True)
    assert [report.title for report in parse(lines)] == [report.title for report in read(console)]


@pytest.mark.parametrize(
    "log",
    [
        *(console for console in CONSOLES if answer(console)),
        *sorted((LOGS.parent / "transports").iterdir()),
        *(LOGS.parent / "story").glob("**/*.txt"),
    ],
    ids=lambda path: path.stem,
)
def test_each_proving_line_is_in_the_log(log: Path) -> None:
    """Each line that proves a sentence is in the file, word for word."""
    lines = log.read_bytes().decode(errors="replace").split("\n")
    for report in read(log):
        assert report.analysis
        proofs = [line for step in report.analysis.steps for line in step.evidence]
        assert proofs
        for line in (*lines_of(report.facts), *proofs):
            assert line.raw == lines[line.number - 1].rstrip("\r")
