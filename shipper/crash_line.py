"""One line about a crash for the log of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.shipper.signature_document import outline
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kpanic.shipper.signature_document import Outline

__all__ = ["crash_lines"]

LINES: Final = 20
"""Maximum lines at once; further documents are counted."""


def crash_lines(verb: str, bodies: Sequence[bytes]) -> Iterator[str]:
    """Yield a line for each document; crashes from before the store was made are counted in one.

    :param verb: what happened to the documents: ``kept``, ``delivered to opensearch``.
    """
    crashes = [outline(body) for body in bodies]
    yield from _lines(verb, [one for one in crashes if not one.kernel.panic.backfill])
    if history := sum(one.kernel.panic.backfill for one in crashes):
        yield f"{verb}: {counted(history, 'crash')} from before this store was made"


def _lines(verb: str, crashes: Sequence[Outline]) -> Iterable[str]:
    for one in crashes[:LINES]:
        moment = (one.timestamp or "")[:19].replace("T", " ")
        kernel = f", kernel {one.host.os.kernel}" if one.host.os.kernel else ""
        yield (
            f"{verb}: {one.host.name or 'host unknown'}, {moment} UTC: {one.kernel.panic.title}"
            f" ({one.event.provider}{kernel})"
        )
    if len(crashes) > LINES:
        yield f"{verb}: {len(crashes) - LINES} more"
