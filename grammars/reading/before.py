"""Events before the crash: warnings, OOM kills, taints, missing messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.data.taints import EARLIER, OF_ITSELF, TAINTS
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Step
from kpanic.grammars.reading.claim import Absence, Claim, step_sentences
from kpanic.grammars.reading.evidence import listed, span

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport, Sentence

NAME: Final = "what came before"
SHOWN: Final = 6
"""Maximum lines about missing messages, and maximum explained taint flags."""


def _earlier_flags(report: CrashReport) -> tuple[str, ...]:
    """Return the taint flags without the one that this report set, which a panic below the header shows."""
    if report.taint is None:
        return ()
    panic, owner = lines_of(report.facts_of("panic")), lines_of(report.facts_of("owner"))
    behind = panic and owner and panic[0].number < owner[0].number
    return tuple(flag for flag in report.taint.flags if not (behind and OF_ITSELF.get(flag) == report.cause))


def _quiet(report: CrashReport) -> bool:
    """Tell whether the lines that were read report no earlier trouble except hardware errors."""
    return not (
        report.preceded_by
        or EARLIER & set(_earlier_flags(report))
        or (report.oops and (report.oops.number or 1) > 1)
    )


EARLIER_REPORTS: Final = Claim("Earlier in the same boot: {what}{ago}.", "earlier", derived=("what", "ago"))
NOTHING: Final = Absence(
    "The lines that were read contain no earlier warning, oops or OOM kill.",
    lambda report: _quiet(report) and not report.hardware_errors,
)
BESIDES: Final = Absence(
    "Besides the hardware errors, the lines that were read contain no earlier warning, oops or OOM kill.",
    lambda report: _quiet(report) and bool(report.hardware_errors),
)
TAINTED: Final = Claim("The kernel was tainted: {flags}.", "owner", derived=("flags",))
NOT_TAINTED: Final = Claim("The kernel was not tainted.", "owner")
MISSING: Final = Claim("{count} messages are missing from the report.", "lost", derived=("count",))


def read(report: CrashReport) -> Step:
    """List earlier trouble in this boot."""
    return Step(
        NAME,
        step_sentences(
            _earlier(report), NOTHING.say(report), BESIDES.say(report), _taint(report), _lost(report)
        ),
    )


def _earlier(report: CrashReport) -> Sentence | None:
    lines = lines_of(report.preceded_by)
    last = lines[-1].time if lines else None
    ago = f", {span(report.time - last)} before the crash" if last is not None and report.time else ""
    what = listed(dict.fromkeys(fact.value["what"] for fact in report.preceded_by))
    return EARLIER_REPORTS.say(report, lines, what=what, ago=ago)


def _taint(report: CrashReport) -> Sentence | None:
    said = next((fact for fact in report.facts_of("owner") if fact.value.taint is not None), None)
    if said is None:
        return None
    flags = _earlier_flags(report)
    if not flags:
        return None if said.value.taint.raw else NOT_TAINTED.say(report, said.lines)
    words = listed((f"{TAINTS.get(flag, 'unknown flag')} ({flag})" for flag in flags), SHOWN)
    return TAINTED.say(report, said.lines, flags=words)


def _lost(report: CrashReport) -> Sentence | None:
    lost = [line for line in report.lines if line.lost]
    return MISSING.say(report, lost[:SHOWN], count=report.lost) if report.lost else None
