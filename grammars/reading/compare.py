"""Compares two crashes: common properties, differences, and whether both have the same fault."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from kpanic.grammars import machines
from kpanic.grammars.reading.path import enter, functions_of
from kpanic.grammars.suspect import base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import CrashReport

__all__ = ["Comparison", "Point", "compare"]

FRAMES: Final = 40
"""Maximum frames of each backtrace that are compared."""

Answer = Literal["yes", "likely", "no", "unknown"]


class Point(NamedTuple):
    """A property of both crashes; the value is empty for a crash that lacks it."""

    name: str
    left: str
    right: str

    @property
    def same(self) -> bool:
        """Tell whether both are equal."""
        return self.left == self.right


class Comparison(NamedTuple):
    """The result of comparing two crashes."""

    same_fault: Answer
    why: str
    points: tuple[Point, ...]
    """Properties that at least one of the crashes has."""
    trace: tuple[str, ...]
    """The functions of both backtraces, innermost first: ``  f`` is in both, ``- f`` and ``+ f`` in one."""


def compare(left: CrashReport, right: CrashReport) -> Comparison:
    """Compare two crashes."""
    points = tuple(
        point
        for name, one, other in zip(_NAMES, _known(left), _known(right), strict=True)
        if (point := Point(name, one, other)).left or point.right
    )
    frames = [_frames(report) for report in (left, right)]
    same_fault, why = _judge(left, right, frames)
    return Comparison(same_fault, why, points, tuple(_difference(*frames)))


def _judge(left: CrashReport, right: CrashReport, frames: list[list[str]]) -> tuple[Answer, str]:
    """Return whether both crashes have the same fault, and why."""
    for report, which in ((left, "first"), (right, "second")):
        if report.status != "complete":
            return (
                "unknown",
                f"the {which} is not understood: {report.doubt or 'no form of the grammar matches'}",
            )
    one, other = left.signature, right.signature
    if one is not None and other is not None and one.id == other.id:
        if "weak" in {one.quality, other.quality}:
            return "likely", "the signatures are equal, but weak"
        return "yes", "the signatures are equal: the same title, and the same functions on the way to it"
    function = left.blame.function
    if left.title == right.title:
        shared = sum(one == other for one, other in zip(*frames, strict=False))
        if function and shared:
            return "likely", f"title and function are the same; the traces differ after {shared} frame(s)"
        return "likely", "the title is the same; the traces differ"
    if function and function == right.blame.function:
        if left.cause == right.cause:
            return "likely", f"the cause is the same, and {function} is the suspect function of both"
        return "no", f"{function} is the suspect function of both, but the causes differ"
    if left.cause == right.cause:
        return "no", "the cause is of the same kind, but at different places"
    return "no", "cause and place differ"


_NAMES: Final = (
    *("title", "cause", "detail", "signature", "function", "where", "entered through", "fault address"),
    *("task", "fatal", "kernel", "build", "boot image", "machine", "BIOS", "taint", "modules", "followed by"),
)


def _known(report: CrashReport) -> Iterable[str]:
    """Yield the values of a crash, in the order of ``_NAMES``."""
    ip, kernel, hardware, taint = report.ip, report.kernel, report.hardware, report.taint
    entered = enter(functions_of(report))
    yield report.title
    yield report.cause
    yield report.cause_detail
    yield report.signature.id if report.signature else ""
    yield report.blame.function
    where = "" if ip is None else ip.symbol or (f"0x{ip.address:x}" if ip.address is not None else "")
    if ip is not None and ip.symbol and ip.offset is not None and ip.size is not None:
        where += f"+0x{ip.offset:x}/0x{ip.size:x}" + (f" [{ip.module}]" if ip.module else "")
    yield where
    yield entered.words if entered else ""
    yield (
        ""
        if report.fault_address is None
        else machines.find(kernel.architecture).locate(report.fault_address).words
    )
    yield report.process.name
    yield "yes" if report.fatal else "no"
    yield kernel.release
    yield kernel.build
    yield kernel.boot_image
    yield f"{hardware.vendor} {hardware.product}".strip() if hardware else ""
    yield f"{hardware.bios_version} {hardware.bios_date}".strip() if hardware else ""
    yield " ".join(taint.flags) if taint else ""
    yield " ".join(sorted(report.modules))
    yield ", ".join(report.consequences)


def _frames(report: CrashReport) -> list[str]:
    return [base(frame.symbol) for frame in report.call_trace if frame.reliable and frame.symbol][:FRAMES]


def _difference(left: list[str], right: list[str]) -> Iterable[str]:
    for tag, one, end, other, stop in difflib.SequenceMatcher(
        None, left, right, autojunk=False
    ).get_opcodes():
        if tag == "equal":
            yield from (f"  {name}" for name in left[one:end])
        else:
            yield from (f"- {name}" for name in left[one:end])
            yield from (f"+ {name}" for name in right[other:stop])
