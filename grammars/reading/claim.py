"""The sentences of the reading, each of which needs a proof.

A :class:`Claim` is a statement that lines of the report prove. An :class:`Absence` states that the lines that
were read do not mention something; its condition must hold. Both are constants of the steps' modules, so that
:data:`SENTENCES` contains all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.fact import once
from kpanic.grammars.model import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kpanic.grammars.model import CrashReport, Line

__all__ = ["SENTENCES", "Absence", "Claim", "step_sentences"]


class Claim:
    """A sentence that lines prove.

    :param words: a template; the values of its fields are in the lines.
    :param kinds: kinds of the facts whose lines prove it.
    :param derived: fields that are computed from the lines, which do not contain them literally.
    """

    def __init__(self, words: str, *kinds: str, derived: tuple[str, ...] = ()) -> None:
        self.words, self.kinds, self.derived = words, kinds, derived
        SENTENCES.append(self)

    def say(
        self, report: CrashReport, lines: Iterable[Line] | None = None, **fields: object
    ) -> Sentence | None:
        """Return the sentence; None if no line proves it.

        :param lines: the lines that prove it; by default those of all facts of its kinds.
        """
        if lines is None:
            evidence = once(*[fact.lines for kind in self.kinds for fact in report.facts_of(kind)])
        else:
            evidence = once(lines)
        if not evidence:
            return None
        return Sentence(self.words.format_map(fields) if fields else self.words, evidence)


class Absence:
    """A sentence about something that the lines that were read do not mention.

    :param words: a template.
    :param holds: its condition.
    """

    def __init__(self, words: str, holds: Callable[[CrashReport], bool]) -> None:
        self.words, self.holds = words, holds
        SENTENCES.append(self)

    def say(self, report: CrashReport, lines: Iterable[Line] = (), **fields: object) -> Sentence | None:
        """Return the sentence; None if its condition does not hold.

        :param lines: the first and the last line that were read, if the template names them.
        """
        if not self.holds(report):
            return None
        return Sentence(self.words.format_map(fields) if fields else self.words, once(lines))


SENTENCES: Final[list[Claim | Absence]] = []
"""All claims and absences, in the order of their definition."""


def step_sentences(*said: Sentence | None) -> tuple[Sentence, ...]:
    """Return the sentences that are not None."""
    return tuple([sentence for sentence in said if sentence is not None])
