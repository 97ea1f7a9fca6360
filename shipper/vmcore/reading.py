"""Turns the answers of a dump into steps of the reading and a new verdict."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import structs

from kpanic.grammars.data.distributions import symbols
from kpanic.grammars.fact import lines_of
from kpanic.grammars.model import Analysis, CrashReport, Line, Sentence, Step, Vmcore
from kpanic.grammars.reading import verdict
from kpanic.shipper.vmcore import process
from kpanic.shipper.vmcore.answers import LONGEST, NO_DEBUG_INFORMATION, Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kpanic.shipper.vmcore.debuginfod import Debuginfod

__all__ = ["opened"]

ROUNDS: Final = 2
"""Downloads: of the kernel's debug information, then of its modules'."""
_WORD: Final = re.compile(r"[\w.]{3,}")
_ADDRESS: Final = re.compile(r"\b[0-9a-f]{16}\b")
PREFIX: Final = "vmcore: "
"""Prefix of the steps' names, because the reading of the text has steps of the same names."""
_FIELDS: Final = ("source", "pointer", "object", "lock", "holder")


def opened(  # noqa: PLR0913 - they are independent
    report: CrashReport,
    path: str,
    *,
    debug_information: Sequence[str] = (),
    debuginfod: Debuginfod | None = None,
    seconds: float = process.SECONDS,
    background: bool = False,
    stop: Callable[[], bool] = bool,
) -> CrashReport:
    """Return a report with the answers of its dump.

    :param path: the dump.
    :param debug_information: files and folders to look for the kernel's debug information in.
    :param debuginfod: downloads missing debug information; by default nothing is downloaded.
    :param seconds: maximum seconds of all questions, without downloads.
    :param background: at low priority.
    :param stop: tells whether to end early.
    """
    if report.analysis is None:
        return report
    asked = Asked(
        path=os.path.abspath(path),  # noqa: PTH100 - links stay links
        cause=report.cause,
        address=report.fault_address,
        entries=_entries(report),
        debug_information=tuple(str(Path(place).absolute()) for place in debug_information),
        seconds=max(1.0, seconds / 3),
    )

    began = time.monotonic()
    with process.put_together(asked.path, seconds / 2, background=background, stop=stop) as whole:
        left = seconds - (time.monotonic() - began)

        def answers(asked: Asked) -> list[Answer]:
            return list(process.questioned(asked, whole, seconds=left, background=background, stop=stop))

        found = answers(asked) if debuginfod is None else _fetched(asked, report, debuginfod, answers, stop)
    return _read(report, report.analysis, found)


def _entries(report: CrashReport) -> tuple[int, ...]:
    """Return the addresses in the kernel's message about a damaged list.

    :see: lib/list_debug.c (Linux 6.1), which writes them as they are
    """
    if report.cause != "list-corruption":
        return ()
    said = " ".join(line.text for line in lines_of(report.facts_of("header")))
    return tuple(int(digits, 16) for digits in _ADDRESS.findall(said))


def _fetched(
    asked: Asked,
    report: CrashReport,
    debuginfod: Debuginfod,
    answers: Callable[[Asked], list[Answer]],
    stop: Callable[[], bool],
) -> list[Answer]:
    """Return the answers with the debug information of the kernel and of the trace's modules.

    The kernel's debug information names the modules, so that theirs is requested one round later.
    """
    names = {frame.module for frame in report.call_trace} | {report.ip.module if report.ip else ""}
    asked = structs.replace(
        asked,
        debug_information=(*asked.debug_information, str(debuginfod.folder)),
        modules=tuple(sorted(names - {""})),
    )
    reasons: dict[str, str] = {}
    for _ in range(ROUNDS):
        found = answers(asked)
        wanted = [one for answer in found for one in answer.missing]
        if not wanted or stop():
            return found
        news = [one for one in wanted if one not in reasons]
        reasons |= {one: debuginfod.fetch(one, stop) for one in news}
        if all(reasons[one] for one in wanted):
            break
    failed = "; ".join(dict.fromkeys(filter(None, reasons.values())))
    found = answers(structs.replace(asked, modules=None))
    return [*found, Answer("debuginfod", skipped=failed[:LONGEST])] if failed else found


def _read(report: CrashReport, analysis: Analysis, answers: Sequence[Answer]) -> CrashReport:
    steps = [_step(answer) for answer in answers]
    said = list(dict.fromkeys(answer.verdict for answer in answers if answer.verdict))
    own, last = analysis.steps[:-1], analysis.steps[-1]
    conclusions = last.sentences
    if not said:
        more = _no_answer(report, answers)
        why = f"{analysis.why} {more}".strip()
        conclusions += (Sentence(more),)
    else:
        words = "; ".join(said)
        if analysis.vmcore_needed:
            more = why = f"The vmcore was opened, and it says: {words}."
            conclusions = tuple(one for one in conclusions if one.text != analysis.why)
        else:
            more = f"The vmcore says more: {words}."
            conclusions = tuple(structs.replace(one, text=_opened(one.text)) for one in conclusions)
            why = f"{_opened(analysis.why)} {more}".strip()
        conclusions += (Sentence(more, _evidence(answers)),)
    found = Vmcore(
        status="answered" if said else _status(answers),
        skipped=tuple(f"{one.question}: {one.skipped}" for one in answers if one.skipped),
        **{name: next((has for one in answers if (has := getattr(one, name))), "") for name in _FIELDS},
    )
    changed = structs.replace(
        analysis,
        steps=(*own, *steps, Step(last.name, conclusions)),
        vmcore_needed=analysis.vmcore_needed and not said,
        why=why,
        next=tuple(verdict.next_steps(report, needed=False, located=bool(found.source) or _located(answers)))
        if said
        else analysis.next,
        vmcore=found,
    )
    return structs.replace(report, analysis=changed)


def _opened(text: str) -> str:
    return text.replace(verdict.UNOPENED, "")


def _located(answers: Sequence[Answer]) -> bool:
    """Tell whether the debug information of whatever is loaded is here."""
    return any(answer.located for answer in answers)


def _status(answers: Sequence[Answer]) -> Literal["opened", "no-debug-info", "failed"]:
    if not _was_opened(answers):
        return "failed"
    bare = any(answer.skipped == NO_DEBUG_INFORMATION for answer in answers)
    return "no-debug-info" if bare else "opened"


def _was_opened(answers: Sequence[Answer]) -> bool:
    return any(answer.findings for answer in answers)


def _step(answer: Answer) -> Step:
    said = tuple(Sentence(one.text, _lines(one.lines)) for one in answer.findings)
    if answer.skipped:
        said += (Sentence(f"Skipped: {answer.skipped}."),)
    return Step(f"{PREFIX}{answer.question}", said)


def _lines(texts: Iterable[str]) -> tuple[Line, ...]:
    return tuple(Line(0, text) for text in texts)


def _evidence(answers: Sequence[Answer]) -> tuple[Line, ...]:
    """Return for each sentence of the new verdict the line that says most of it."""
    return _lines(filter(None, map(_proof, answers)))


def _proof(answer: Answer) -> str:
    if not answer.verdict:
        return ""
    words = set(_WORD.findall(answer.verdict))
    own = [one for one in answer.findings if answer.verdict in one.text]
    lines = [line for one in own or answer.findings for line in one.lines]
    return max(lines, key=lambda line: len(words.intersection(_WORD.findall(line))), default="")


def _no_answer(report: CrashReport, answers: Sequence[Answer]) -> str:
    """Return why the dump does not answer."""
    why = next((answer.skipped for answer in answers if answer.skipped), "")
    if not _was_opened(answers):
        return f"The vmcore could not be opened: {why or 'there was no answer'}."
    if why == NO_DEBUG_INFORMATION:
        found = symbols(report.kernel.release, report.kernel.distribution)
        how = f": {found.install.partition('  # ')[0]}" if found else ""
        return f"The vmcore was opened, but {why}{how}."
    return "The vmcore was opened, and it does not answer that."
