"""A crash family: the sentences that head its reports, and the meaning of each for the crash.

A family is one file in :mod:`kpanic.grammars.families`. Another distribution registers its own under the
entry point group ``kpanic.families``::

    from kpanic.grammars import vocabulary as k
    from kpanic.grammars.family import Family

    widget = Family("widget")

    @widget.form(title="widget meltdown in {function}", kind="hardware", cause="driver", walk="only-named")
    def meltdown():
        \"\"\"widget: meltdown in widget_core+0x1/0x2\"\"\"
        return "widget: meltdown in " + k.symbol

The forms are tried in the order of the file, on the text from a header's beginning on; the first match names
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
"""How the suspect function is found.

``named``: the function that the header names, then the frames of the first trace.
``only-named``: the function that the header names, whichever it is.
``trace``: the frames of the first call trace.
``ip``: the instruction pointer, then the frames of the call trace behind it.
``interrupted``: the instruction pointer, unless the CPU was idle or in user mode.
``chain``: the functions that the report names, then the next frames, with or without a line that opens them.
``stall``: below the interrupt that noticed, down to an anchor, the frame above it.
``down``: down to an anchor, the frame above it.
``deep``: the same; without an anchor, as ``ip``.
``hung``: the frames of a blocked task, without whatever blocks.
``none``: the report has no suspect function.
"""


class ByWord(Struct, frozen=True):
    """The cause by the first of some words that a field of the header holds, in any case.

    :param field: name of the field.
    :param causes: words and causes, in the order of the search.
    :param default: the cause if the field holds none of the words.
    """

    field: str
    causes: tuple[tuple[str, str], ...]
    default: str

    def __call__(self, fields: Mapping[str, str]) -> str:
        """Return the cause."""
        what = fields.get(self.field, "").lower()
        return next((cause for word, cause in self.causes if word.lower() in what), self.default)


class Form(Struct, frozen=True, kw_only=True):
    """One wording of a family."""

    sentence: Sentence
    """From the header's beginning on; its fields are those of the title."""
    title: str
    """As syzbot would write it: ``{function}`` and the sentence's fields."""
    kind: Kind
    cause: str | Callable[[Mapping[str, str]], str]
    """A slug of the table of causes, or a function from the fields to one."""
    walk: Walk = "trace"
    skip: tuple[tuple[str, str], ...] = ()
    """More functions to pass over, ``(pattern, reason)``."""
    detail: str = ""
    """``cause_detail``, a template as the title."""
    fatal: bool = False
    corrupted: str = ""
    """Why a report that matches no better form than this one cannot be trusted."""
    function: str = ""
    """The suspect function, if only one function prints this wording."""
    traceless: bool = False
    """Whether the kernel prints no backtrace with this wording."""
    harmless: bool = False
    """Whether it heads a program's message, which is no report of the kernel's."""
    inside: str = ""
    """Text in the midst of the header that the scan looks for, because its beginning is too common."""

    @property
    def name(self) -> str:
        """The form's name within its family."""
        return self.sentence.key.partition(".")[2]

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]:
        """The texts that the scan searches for; each with the texts of which one begins the header."""
        beginnings = self.sentence.literals
        return {self.inside: beginnings} if self.inside else {one: (one,) for one in beginnings}


class Family(Struct):
    """All the wordings of one kind of crash."""

    name: str
    ignore: str = ""
    """A regular expression for lines that hold a beginning and are no crash."""
    ignore_after: str = ""
    """A regular expression for the line before: a beginning after such a line is no crash."""
    last: bool = False
    """Only where no other family understands the line."""
    before: int = 8
    """Lines worth reading before a header."""
    after: int = 800
    """Lines worth reading after it."""
    inner: bool = False
    """Whether its header stands at a report's end, so that it begins nothing in an open report."""
    scanned: bool = True
    """The scan looks for its beginnings; else they count only above a line that ends a report."""
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
