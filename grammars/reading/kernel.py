"""Which kernel it was, how it was started, how long it had been up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grammars.model import Step
from grammars.reading.marks import outside

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from grammars.reading.marks import Marks

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(seconds: float) -> str:
    """Put a time into words, in its two largest units."""
    left, words = int(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(words[:2]) or "less than a second"


def read(report: CrashReport, marks: Marks) -> Step:
    """Name kernel, build and boot image."""
    kernel = report.kernel
    if not kernel.release:
        return Step("kernel", "The text does not say which kernel this was.")
    said = [f"Linux {kernel.release}"]
    if kernel.architecture:
        said.append(f" on {kernel.architecture}")
    if kernel.build:
        said.append(f", build {kernel.build}")
    if kernel.boot_image:
        said.append(f"; the boot image was {kernel.boot_image}")
    elif kernel.command_line:
        said.append("; the command line names no boot image")
    if report.time is not None:
        said.append(f"; it had been up for {span(report.time)}")
    proof = outside(report, "Linux version ", "ommand line: ")
    return Step("kernel", "".join(said) + ".", proof or marks.get("owner"))
