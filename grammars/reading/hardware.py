"""Which machine it was, and whether it complained before the crash."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final

from kpanic.grammars.boot import KEPT
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import listed, once

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "hardware"
_YEAR: Final = 365.2425
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DATE: Final = re.compile(r"(\d\d)/(\d\d)/(\d{4})$")
_BUILT: Final = re.compile(r"\b((?:19|20)\d\d)\b(?!\.)")


def read(report: CrashReport, _marks: Marks) -> Step:
    """Name the machine and what it complained about."""
    hardware, complaints = report.hardware, report.hardware_errors
    start = lines_of(report.facts, "banner")
    if hardware is None:
        machine = "The text does not name the machine"
    else:
        machine = f"The machine is {hardware.vendor} {hardware.product}".rstrip()
        if hardware.bios_version:
            machine += f", its BIOS {hardware.bios_version}"
            if hardware.bios_date:
                machine += f" of {hardware.bios_date}{_age(report, hardware.bios_date)}"
    if complaints:
        parts = listed(dict.fromkeys(fact.value["what"] for fact in complaints))
        lines = "a hardware complaint" if len(complaints) == 1 else f"{len(complaints)} hardware complaints"
        lines = f"at least {lines}" if len(complaints) >= KEPT else lines
        found = f"{lines} stood before the crash, about {parts}."
    elif start and start[0].number < report.lines[0].number:
        lines = f"line {start[0].number}, its start, and line {report.lines[0].number}, the crash"
        found = f"no hardware complaint stands in the text between {lines}."
    else:
        found = "no hardware complaint stands in the text, which does not reach back to its start."
    proof = lines_of(report.facts, "machine", "hardware")
    return Step(
        NAME, f"{machine}; {found}", once(proof[:1], lines_of(complaints), () if complaints else start[:1])
    )


def _age(report: CrashReport, written: str) -> str:
    """Say how old the BIOS was at the crash: by the log's clock, or at least by when the kernel was built."""
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
