"""The kernel, its start and its uptime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import span

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Sentence

NAME: Final = "kernel and boot image"
_RESERVED: Final = regex(r"\bcrashkernel=(\S+)")
CRASH_KERNEL: Final = "elfcorehdr="
"""Parameter that kexec passes to the crash kernel: the place of the crashed kernel's memory."""

KERNEL: Final = Claim(
    "The kernel is Linux {release}{distribution}{architecture}{build}.",
    *("banner", "owner"),
    derived=("distribution", "architecture", "build"),
)
UNNAMED: Final = Absence("No line that was read names the kernel.", lambda report: not report.kernel.release)
IMAGE: Final = Claim("It was booted from the image {image}.", "command line")
NO_IMAGE: Final = Claim("Its command line names no boot image.", "command line")
NO_START: Final = Absence(
    "The start of this boot is not among the lines that were read.",
    lambda report: not report.kernel.banner and not report.kernel.command_line,
)
PREPARED: Final = Claim("It had reserved memory for kdump (crashkernel={reserved}).", "command line")
DUMPING: Final = Claim(
    "It is itself a crash kernel, started to write the dump of another crash (elfcorehdr=).", "command line"
)
UPTIME: Final = Claim("It had been up for {time}.", "header", derived=("time",))


def read(report: CrashReport) -> Step:
    """Name kernel, build and boot image."""
    return Step(
        NAME,
        step_sentences(UNNAMED.say(report), _kernel(report), *_started(report), _uptime(report)),
    )


def _kernel(report: CrashReport) -> Sentence | None:
    kernel, whose = report.kernel, report.kernel.distribution
    if not kernel.release:
        return None
    said = report.facts_of("banner") or [
        fact for fact in report.facts_of("owner") if fact.value.release == kernel.release
    ]
    return KERNEL.say(
        report,
        lines_of(said),
        release=kernel.release,
        distribution=f" ({f'{whose.name} {whose.version}'.strip()})" if whose else "",
        architecture=f" on {kernel.architecture}" if kernel.architecture else "",
        build=f", build {kernel.build}" if kernel.build else "",
    )


def _started(report: CrashReport) -> tuple[Sentence | None, ...]:
    kernel = report.kernel
    if not kernel.command_line:
        return (NO_START.say(report),) if kernel.release else ()
    reserved = _RESERVED.search(kernel.command_line)
    return (
        IMAGE.say(report, image=kernel.boot_image) if kernel.boot_image else NO_IMAGE.say(report),
        PREPARED.say(report, reserved=reserved[1]) if reserved else None,
        DUMPING.say(report) if CRASH_KERNEL in kernel.command_line else None,
    )


def _uptime(report: CrashReport) -> Sentence | None:
    return None if report.time is None else UPTIME.say(report, time=span(report.time))
