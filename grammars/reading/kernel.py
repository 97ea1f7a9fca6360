"""Which kernel it was, how it was started, how long it had been up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.marks import span

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport
    from kpanic.grammars.reading.marks import Marks

NAME: Final = "kernel and boot image"
_RESERVED: Final = re.compile(r"\bcrashkernel=(\S+)")


def read(report: CrashReport, marks: Marks) -> Step:
    """Name kernel, build and boot image."""
    kernel = report.kernel
    up = f" At the crash it had been up for {span(report.time)}." if report.time is not None else ""
    if not kernel.release:
        return Step(NAME, f"The text does not say which kernel this was.{up}", report.lines[:1] if up else ())
    said = f"Linux {kernel.release}"
    whose = kernel.distribution
    if whose is not None:
        said += f" ({whose.name} {whose.version})" if whose.version else f" ({whose.name})"
    said += f" on {kernel.architecture}" if kernel.architecture else ""
    said += f", build {kernel.build}." if kernel.build else "."
    if kernel.boot_image:
        said += f" The machine had been started into it from the boot image {kernel.boot_image}."
    elif kernel.command_line:
        said += " The command line names no boot image."
    elif not kernel.banner:
        said += " The text does not reach back to its start."
    if found := _RESERVED.search(kernel.command_line):
        said += f" It was prepared for kdump (crashkernel={found[1]})."
    proof = lines_of(report.facts, "banner", "command line") or marks.holding(kernel.release)
    return Step(NAME, said + up, (*proof, *(report.lines[:1] if up else ())))
