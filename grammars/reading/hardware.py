"""Which machine it was, and whether it complained before the crash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grammars.data.complaints import HARDWARE
from grammars.model import Step
from grammars.reading.marks import listed, outside

if TYPE_CHECKING:
    from grammars.model import CrashReport, Line
    from grammars.reading.marks import Marks

_YEAR: Final = 365.25 * 86400
_EPOCH: Final = 1970
_DATE: Final = re.compile(r"(\d{4})$")
SHOWN: Final = 6
"""Complaints given as proof."""


def part(line: Line) -> str:
    """Say what a complaint is about."""
    return next((complaint.part for complaint in HARDWARE if complaint.literal in line.text), "the hardware")


def read(report: CrashReport, _marks: Marks) -> Step:
    """Name the machine and what it complained about."""
    hardware, complaints = report.hardware, report.hardware_errors
    if hardware is None:
        machine = "The text does not name the machine"
    else:
        machine = f"The machine is {hardware.vendor} {hardware.product}".rstrip()
        if hardware.bios_version:
            machine += f", BIOS {hardware.bios_version}"
            if hardware.bios_date:
                machine += f" of {hardware.bios_date}{_age(report)}"
    if not complaints:
        found = "no hardware complaint stands in the text before the crash."
    else:
        parts = listed(dict.fromkeys(map(part, complaints)))
        lines = "a hardware complaint" if len(complaints) == 1 else f"{len(complaints)} hardware complaints"
        found = f"{lines} stood before the crash, about {parts}."
    proof = outside(report, "DMI: ", "Machine model: ") or tuple(
        line for line in report.lines[:40] if line.text.startswith("Hardware name: ")
    )
    return Step("hardware", f"{machine}; {found}", (*proof[:1], *complaints[:SHOWN]))


def _age(report: CrashReport) -> str:
    """Say how old the BIOS was at the crash, if the log knows the date."""
    year = _DATE.search(report.hardware.bios_date) if report.hardware else None
    if year is None or report.boot_epoch is None:
        return ""
    age = round(report.boot_epoch / _YEAR + _EPOCH - int(year[1]))
    return f", {age} years old" if age > 1 else ""
