"""Questions to a dump, and its answers, which the process that opens it writes as JSON, one a line."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

__all__ = ["LONGEST", "NO_DEBUG_INFORMATION", "Answer", "Asked", "Finding", "sentence"]

LONGEST: Final = 400
"""Maximum characters of a line of evidence; names in a damaged dump may be of any length."""
NO_DEBUG_INFORMATION: Final = "the kernel's debug information is not here"
"""Why the other questions are skipped."""

_Text = Annotated[str, Meta(max_length=4000)]


class Asked(Struct, frozen=True):
    """A request to open a dump.

    :ivar path: absolute path of the dump.
    :ivar cause: of the crash, a slug of the table of causes.
    :ivar address: the faulting address, if the report names one.
    :ivar entries: addresses in the kernel's message about a damaged list.
    :ivar debug_information: files and folders to look for debug information in, before the usual ones.
    :ivar modules: required modules; if the debug information of one of them or of the kernel is missing, its
        build ID is the only answer. With None, everything is answered as far as possible.
    :ivar seconds: maximum seconds of each question.
    :ivar cut_off: whether it is a flattened dump that was cut off.
    """

    path: str
    cause: str
    address: int | None = None
    entries: tuple[int, ...] = ()
    debug_information: tuple[str, ...] = ()
    modules: tuple[str, ...] | None = None
    seconds: float = 20.0
    cut_off: bool = False


def sentence(words: str) -> str:
    """Return the words of a verdict as a sentence."""
    return f"{words[0].upper()}{words[1:]}."


class Finding(Struct, frozen=True):
    """A sentence, and the lines of the dump that prove it."""

    text: _Text
    lines: Annotated[tuple[_Text, ...], Meta(max_length=400)] = ()


class Answer(Struct, frozen=True):
    """The answer to one question.

    :ivar question: its name, in the form of the reading's steps.
    :ivar skipped: why it could not be asked or answered; empty if it was answered.
    :ivar verdict: a sentence without its full stop that only a dump can tell; empty if there is none.
    :ivar source: ``path:line`` of the trapping instruction.
    :ivar pointer: the bad pointer, ``account->owner``.
    :ivar object: the object that was used, with its slab cache.
    :ivar lock: the lock that is waited for.
    :ivar holder: the task that holds it.
    :ivar located: the debug information of whatever is loaded is here.
    :ivar missing: build IDs whose debug information is not here.
    """

    question: _Text
    findings: Annotated[tuple[Finding, ...], Meta(max_length=200)] = ()
    skipped: _Text = ""
    verdict: _Text = ""
    source: _Text = ""
    pointer: _Text = ""
    object: _Text = ""
    lock: _Text = ""
    holder: _Text = ""
    located: bool = False
    missing: Annotated[tuple[_Text, ...], Meta(max_length=100)] = ()
