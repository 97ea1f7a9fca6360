"""The machine, and its hardware errors before the crash."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from kpanic.grammars.boot import KEPT
from kpanic.grammars.fact import lines_of
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import listed

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Sentence

NAME: Final = "hardware"
_YEAR: Final = 365.2425
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DATE: Final = regex(r"(\d\d)/(\d\d)/(\d{4})$")
_BUILT: Final = regex(r"\b((?:19|20)\d\d)\b(?!\.)")

MACHINE: Final = Claim("The machine is {machine}{bios}.", "machine", "hardware", "owner", derived=("bios",))
NO_MACHINE: Final = Absence(
    "No line that was read names the machine.", lambda report: report.hardware is None
)
COMPLAINED: Final = Claim(
    "Before the crash the log has {count} about {parts}.", "hardware error", derived=("count", "parts")
)
SILENT: Final = Absence(
    "No known hardware error message is between line {start}, the start of the boot, and line {crash}, "
    "the crash.",
    lambda report: not report.hardware_errors and bool(report.facts_of("banner")),
)
UNSEEN: Final = Absence(
    "The lines that were read contain no known hardware error message, but they begin after the start "
    "of the boot.",
    lambda report: not report.hardware_errors and not report.facts_of("banner"),
)


def read(report: CrashReport) -> Step:
    """Name the machine and its hardware errors."""
    return Step(NAME, step_sentences(NO_MACHINE.say(report), _machine(report), *_complaints(report)))


def _machine(report: CrashReport) -> Sentence | None:
    hardware = report.hardware
    if hardware is None:
        return None
    bios = f", BIOS {hardware.bios_version}" if hardware.bios_version else ""
    if bios and hardware.bios_date:
        bios += f" of {hardware.bios_date}{_age(report, hardware.bios_date)}"
    said = [fact for fact in report.facts if fact.kind in MACHINE.kinds]
    lines = [line for fact in said for line in fact.lines if hardware.name in line.text]
    machine = hardware.name.partition(", BIOS ")[0].partition(" BIOS ")[0]
    return MACHINE.say(report, lines[:1], machine=machine, bios=bios)


def _complaints(report: CrashReport) -> tuple[Sentence | None, ...]:
    complaints = report.hardware_errors
    count = "a hardware error" if len(complaints) == 1 else f"{len(complaints)} hardware errors"
    parts = listed(dict.fromkeys(fact.value["what"] for fact in complaints))
    start = lines_of(report.facts_of("banner"))[:1]
    return (
        COMPLAINED.say(
            report,
            lines_of(complaints),
            count=f"at least {count}" if len(complaints) >= KEPT else count,
            parts=parts,
        ),
        SILENT.say(
            report,
            (*start, *report.lines[:1]),
            start=start[0].number if start else None,
            crash=report.lines[0].number if report.lines else None,
        ),
        UNSEEN.say(report),
    )


def _age(report: CrashReport, written: str) -> str:
    """Return the BIOS's age at the crash by the log's clock, or its minimum by the kernel's build date."""
    found = _DATE.search(written)
    if found is None:
        return ""
    try:
        then = date(int(found[3]), int(found[1]), int(found[2])).toordinal()
    except ValueError:
        return ""
    epoch = report.boot_epoch if report.boot_epoch is not None else report.epoch
    years, least = 0, ""
    if epoch is not None:
        years = int((epoch / 86400 + _EPOCH - then) / _YEAR)
    elif built := _BUILT.findall(report.kernel.build):
        years, least = int((date(int(built[-1]), 1, 1).toordinal() - then) / _YEAR), "at least "
    if years < 1:
        return ""
    return f", {least}{years} years old" if years > 1 else f", {least}a year old"
