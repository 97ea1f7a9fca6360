"""A crash family: the headers of its reports, and the meaning of each for the crash.

A family is one file in :mod:`kpanic.grammars.families`. Another distribution registers its own under the
entry point group ``kpanic.families``::

    from kpanic.grammars import vocabulary as k
    from kpanic.grammars.family import Family

    widget = Family("widget")

    @widget.form(title="widget meltdown in {function}", kind="hardware", cause="driver", walk="only-named")
    def meltdown():
        \"\"\"widget: meltdown in widget_core+0x1/0x2\"\"\"
        return "widget: meltdown in " + k.symbol

The forms are tried in the order of the file, on the text from a header's beginning on. The first match names
the crash. The scan searches for the beginnings of their expressions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from kpanic.grammars.sentence import Sentence, Unsought

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyparsing import ParserElement

    from kpanic.grammars.model import Kind

__all__ = ["ByWord", "Family", "Form", "Walk"]

Walk = Literal[
    "named", "chain", "trace", "ip", "interrupted", "stall", "down", "deep", "hung", "only-named", "none"
]
"""The way to find the suspect function.

``named``: the function that the header names, then the frames of the first trace.
``only-named``: the function that the header names, whichever it is.
``trace``: the frames of the first call trace.
``ip``: the instruction pointer, then the frames of the call trace behind it.
``interrupted``: the instruction pointer, unless the CPU was idle or in user mode.
``chain``: the functions that the report names, then the next frames, with or without a line that opens them.
``stall``: from below the interrupt that detected the stall down to an anchor; the frame above it.
``down``: down to an anchor; the frame above it.
``deep``: the same; without an anchor, as ``ip``.
``hung``: the frames of a blocked task, without those that block.
``none``: the report has no suspect function.
"""


class ByWord(Struct, frozen=True):
    """The cause by the first of some words in a field of the header, ignoring case.

    :param field: name of the field.
    :param causes: words and causes, in the order of the search.
    :param default: the cause if the field contains none of the words.
    """

    field: str
    causes: tuple[tuple[str, str], ...]
    default: str

    def __call__(self, fields: Mapping[str, str]) -> str:
        """Return the cause."""
        what = fields.get(self.field, "").lower()
        return next((cause for word, cause in self.causes if word.lower() in what), self.default)


class Form(Struct, frozen=True, kw_only=True):
    """One form of a family's header."""

    sentence: Sentence
    """The sentence from the header's beginning on; the title may use its fields."""
    title: str
    """The title as syzbot writes it, with ``{function}`` and the sentence's fields."""
    kind: Kind
    cause: str | Callable[[Mapping[str, str]], str]
    """A slug of the table of causes, or a function from the fields to one."""
    walk: Walk = "trace"
    skip: tuple[tuple[str, str], ...] = ()
    """Further functions to skip, ``(pattern, reason)``."""
    detail: str = ""
    """``cause_detail``, a template like the title."""
    fatal: bool = False
    corrupted: str = ""
    """Why a report with this form cannot be trusted; empty if it can."""
    function: str = ""
    """The suspect function, if only one function prints this wording."""
    traceless: bool = False
    """Whether the kernel prints no backtrace with this wording."""
    harmless: bool = False
    """Whether it is the header of a program's message, not of a report of the kernel."""
    inside: str = ""
    """Text inside the header that the scan searches for, if the header's beginning is too common."""

    @property
    def name(self) -> str:
        """The form's name within its family."""
        return self.sentence.key.partition(".")[2]

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:
        """The literals of the scan, each with the possible beginnings of the header."""
        beginnings = self.sentence.literals
        return {self.inside: beginnings} if self.inside else {one: (one,) for one in beginnings}


class Family(Struct):
    """The forms of one kind of crash."""

    name: str
    ignore: str = ""
    """A regular expression for lines that contain a beginning but are no crash."""
    ignore_after: str = ""
    """A regular expression for the line before: a beginning after such a line is no crash."""
    last: bool = False
    """Whether the family is used only if no other family matches the line."""
    before: int = 8
    """Number of lines to read before a header."""
    after: int = 800
    """Number of lines to read after a header."""
    inner: bool = False
    """Whether its header is at the end of a report, so that it does not begin one if a report is open."""
    scanned: bool = True
    """Whether the scan searches for its headers; otherwise they count only above a report's last line."""
    forms: list[Form] = field(default_factory=list)

    def form(  # noqa: PLR0913 - the fields of a Form
        self,
        *,
        title: str,
        kind: Kind,
        cause: str | Callable[[Mapping[str, str]], str],
        walk: Walk = "trace",
        skip: tuple[tuple[str, str], ...] = (),
        detail: str = "",
        fatal: bool = False,
        corrupted: str = "",
        function: str = "",
        traceless: bool = False,
        harmless: bool = False,
        inside: str = "",
    ) -> Callable[[Callable[[], ParserElement]], Callable[[], ParserElement]]:
        """Add the decorated function's expression as the next form; the fields are those of :class:`Form`."""

        def add(build: Callable[[], ParserElement]) -> Callable[[], ParserElement]:
            sentence = Sentence if self.scanned else Unsought
            self.forms.append(
                Form(
                    sentence=sentence(f"{self.name}.{build.__name__}", build),
                    title=title,
                    kind=kind,
                    cause=cause,
                    walk=walk,
                    skip=skip,
                    detail=detail,
                    fatal=fatal,
                    corrupted=corrupted,
                    function=function,
                    traceless=traceless,
                    harmless=harmless,
                    inside=inside,
                )
            )
            return build

        return add
