"""Events after the crash, and how the kernel ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import header, listed

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Sentence

NAME: Final = "consequences"


def _panicked(report: CrashReport) -> bool:
    return bool(report.facts_of("panic"))


FOLLOWED: Final = Claim("It was followed by {titles}.", "consequence", derived=("titles",))
ALONE: Final = Absence(
    "No other report follows in the lines that were read.", lambda report: not report.followed_by
)
ERRORS: Final = Claim(
    "After the crash the log has {count} about {parts}.", "hardware error", derived=("count", "parts")
)
PANIC: Final = Claim("The kernel panicked.", "panic")
SYSRQ: Final = Claim("A crash through SysRq always ends the kernel.", "trigger", "header")
DIED: Final = Absence(
    "The kernel did not survive it; no line that was read says how it ended.",
    lambda report: report.fatal and report.cause != "sysrq" and not _panicked(report),
)
SURVIVED: Final = frozenset({"atomic-sleep", "bad-page", "lock-misuse"})
"""Causes of a BUG that the kernel only prints, without killing the task."""


def _kills(report: CrashReport) -> bool:
    """Tell whether the kernel kills the task or itself."""
    return report.kind in {"oops", "bug"} and report.cause not in SURVIVED


OPEN: Final = Absence(
    "The lines that were read contain no panic: without one the kernel kills the task and continues "
    "in an undefined state.",
    lambda report: not report.fatal and _kills(report) and not _panicked(report),
)
ALIVE: Final = Absence(
    "No line that was read says that the kernel died.",
    lambda report: not report.fatal and not _kills(report) and not _panicked(report),
)
REBOOT: Final = Claim('It ended with "Rebooting in {time}".', "reboot")


def _errors(report: CrashReport) -> Sentence | None:
    """Return the hardware errors between the header and the last line."""
    errors = report.facts_of("hardware error")
    count = "a hardware error" if len(errors) == 1 else f"{len(errors)} hardware errors"
    parts = listed(dict.fromkeys(fact.value["what"] for fact in errors))
    return ERRORS.say(report, count=count, parts=parts)


def read(report: CrashReport) -> Step:
    """List the later reports, and say how the kernel ended."""
    panic = lines_of(report.facts_of("panic"))
    reboot = next(iter(report.facts_of("reboot")), None)
    return Step(
        NAME,
        step_sentences(
            FOLLOWED.say(report, lines_of(report.followed_by), titles=listed(report.consequences)),
            ALONE.say(report),
            _errors(report),
            PANIC.say(report, panic) if panic != header(report) else None,
            SYSRQ.say(report) if report.cause == "sysrq" and not panic else None,
            DIED.say(report),
            OPEN.say(report),
            ALIVE.say(report),
            REBOOT.say(report, reboot.lines, time=reboot.value.strip()) if reboot else None,
        ),
    )
