"""Names a crash: title, status and suspect function, from a report's header and the facts of its body."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import trust
from kpanic.grammars.model import Blame
from kpanic.grammars.suspect import Walker
from kpanic.grammars.title import plain, stamped

if TYPE_CHECKING:
    from kpanic.grammars.body import Body
    from kpanic.grammars.family import Family
    from kpanic.grammars.incident import Head
    from kpanic.grammars.model import Status
    from kpanic.grammars.registry import Reading, Registry
    from kpanic.grammars.report_lines import ReportText

__all__ = ["Named", "name"]

HEADER: Final = 8192
"""Maximum characters after a header that its form may examine."""


class Named(Struct):
    """A named report."""

    title: str
    status: Status
    doubt: str
    """Why the status is ``corrupted``."""
    reading: Reading | None
    """The form of the header and its fields; None if no form of its families matches."""
    family: Family
    blame: Blame
    place: str = ""
    """The function of the instruction pointer or of the header, for the title if no frame can be the suspect
    function."""


def name(
    registry: Registry, head: Head, report: ReportText, facts: Body, *, brief: bool = False
) -> Named | None:
    """Name the crash whose header is the first line of a report; None if the line is no header.

    :param brief: whether only the title is needed.
    """
    first = report.lines[0].text
    end = len(report.text)
    for family, at in head.hits:
        if registry.ignores(family, first):
            continue
        reading = registry.read(family, report.text[at : min(at + HEADER, end)])
        if reading is not None:
            if reading.form.harmless:
                return None
            return _name(reading, family, report, facts, at, brief=brief)
    known = [
        (family, at) for family, at in head.hits if not registry.ignores(family, first) and not family.last
    ]
    if not known:
        return None
    family, at = known[0]
    return Named(plain(first[at:]), "corrupted", "the header has an unknown form", None, family, Blame())


def _name(  # noqa: PLR0913 - all are parts of the name
    reading: Reading, family: Family, report: ReportText, facts: Body, at: int, *, brief: bool
) -> Named:
    form, fields = reading.form, dict(reading.fields)
    prefix = report.lines[0].text[:at]
    fields.setdefault("prefix", "BUG" if "BUG: " in prefix else "WARNING")
    fields.setdefault("word", report.lines[0].text[at:].partition(":")[0])
    walker = Walker(facts, form.skip)
    named = "{function}" in form.title
    if "second" in fields:
        fields["pair"] = " / ".join(sorted((fields["function"], fields["second"])))
    blame = walker.find(
        "none" if brief and not named else form.walk,
        fields.get("function", form.function),
        [fields["holding"]] if "holding" in fields else (),
    )
    words = defaultdict(str, fields)  # a field of the template may be missing
    wording = form.title
    doubt = form.corrupted
    place = walker.place() or fields.get("function", "") if named and not blame.function else ""
    if named and not blame.function:
        if not place:
            wording = wording.replace(" in {function}", "")
        if not doubt and not trust.symbolless(facts):
            doubt = "no function is left to name"
    title = plain(wording.format_map(words | {"function": blame.function or place}))
    if not doubt and not form.traceless and not brief:
        doubt = trust.broken(report, facts)
        if not doubt and form.walk == "named" and walker.breaks_off():
            doubt = "the call trace breaks off"
    if not doubt and stamped(form.title.format_map(words | {"function": ""})):
        doubt = "the time stamp of another line is in the title"
    status: Status = "corrupted" if doubt else "partial" if form.cause == "unknown" else "complete"
    return Named(title, status, doubt, reading, family, blame, place)
