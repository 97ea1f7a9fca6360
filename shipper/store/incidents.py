"""Finds the incident of a document if its text alone does not identify it.

Every transport that carries printk's time states the same ``event.id`` for the same crash. A text without it
(``dmesg -T``, ``journalctl``, plain syslog) states an incident of its own. It joins the incident of the same
host that printed the same (:class:`kpanic.shipper.identity.Sighting`) at about the same time. So does a text
with printk's time that comes after one without. A provider reports a crash once: six boots that died alike
stay six incidents, each with one document of either kind. Two machines that died alike in the same
microsecond of their boots stay two incidents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.shipper.identity import apart

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from kpanic.shipper.identity import Sighting
    from kpanic.shipper.packed import Packed

__all__ = ["count", "count_all", "first", "joined", "note"]

CLOSE: Final = 120.0
"""Maximum seconds between two stamps of one crash: a clock may be set, a core be written, a relay be late."""
LABELS: Final = 8
"""Maximum parts of a host's name that another name of the same host may lack."""
ALIKE: Final = 64
"""Maximum documents with the same stated incident that are searched for the host's own."""


def joined(connection: sqlite3.Connection, document: Packed) -> Packed:
    """Return a document with its incident as the store knows it."""
    incident = _known(connection, document)
    if incident is None or incident == document.incident:
        return document
    before, after = (f'"id":"{name}"'.encode() for name in (document.incident, incident))
    return document._replace(incident=incident, body=document.body.replace(before, after, 1))


def note(connection: sqlite3.Connection, seq: int, document: Packed) -> None:
    """Record how a document's crash was seen."""
    seen = document.sighting
    if seen is not None:
        connection.execute(
            "INSERT INTO sightings VALUES (?, ?, ?, ?, ?, ?, ?)",
            (seq, document.incident, seen.host, seen.printed, seen.provider, seen.at, seen.timed),
        )


def first(connection: sqlite3.Connection, incident: str) -> int | None:
    """Return the ``seq`` of an incident's first document; None if there is none."""
    row = connection.execute("SELECT min(seq) FROM documents WHERE incident = ?", (incident,)).fetchone()
    return None if row is None else row[0]


def count(connection: sqlite3.Connection, first: int, *, fatal: bool) -> None:
    """Count an incident by its first document; it is fatal if one of its documents is."""
    connection.execute(
        "INSERT INTO incidents VALUES (?, ?)"
        " ON CONFLICT (first) DO UPDATE SET fatal = max(fatal, excluded.fatal)",
        (first, fatal),
    )


def count_all(connection: sqlite3.Connection) -> None:
    """Recount the incidents of all documents."""
    connection.execute("DELETE FROM incidents")
    connection.execute("INSERT INTO incidents SELECT min(seq), max(fatal) FROM documents GROUP BY incident")


def _known(connection: sqlite3.Connection, document: Packed) -> str | None:
    seen = document.sighting
    if seen is None:
        return None
    alike = connection.execute(
        "SELECT incident, host, provider FROM sightings JOIN documents USING (seq) WHERE stated = ? LIMIT ?",
        (document.incident, ALIKE),
    ).fetchall()
    if incident := _of(seen, alike):
        return incident
    names = _shorter(seen.host)
    places = ", ".join(f"?{number}" for number in range(7, 7 + len(names)))
    row = connection.execute(
        f"""
        WITH close AS (
            SELECT seq, at FROM sightings WHERE printed = ?1 AND host IN ({places})
            AND at BETWEEN ?3 - ?4 AND ?3 + ?4
            UNION ALL
            SELECT seq, at FROM sightings WHERE printed = ?1 AND host > ?2 || '.' AND host < ?2 || '/'
            AND at BETWEEN ?3 - ?4 AND ?3 + ?4
        )
        SELECT incident FROM close JOIN documents USING (seq) WHERE NOT EXISTS (
            SELECT 1 FROM documents AS other JOIN sightings AS theirs USING (seq)
            WHERE other.incident = documents.incident
            AND (theirs.provider = ?5 OR (theirs.timed AND ?6))
        )
        ORDER BY abs(at - ?3), seq LIMIT 1
        """,  # noqa: S608 - no word of others
        (seen.printed, seen.host, seen.at, CLOSE, seen.provider, seen.timed, *names),
    ).fetchone()
    if row is not None:
        return str(row[0])
    return apart(document.incident, seen.host) if alike else None


def _shorter(host: str) -> list[str]:
    """Return a name, and the shorter names without parts of its domain."""
    parts = host.split(".")[:LABELS]
    return [host, *(".".join(parts[:count]) for count in range(1, len(parts)))]


def _of(seen: Sighting, alike: Sequence[tuple[str, str, str]]) -> str | None:
    """Return a crash's incident among documents with its stated one, its host's own first; None if new.

    :param alike: incident, host and provider of each document with the same stated incident.
    """
    taken = {
        incident
        for incident, host, provider in alike
        if provider == seen.provider and not _is_host(host, seen.host)
    }
    free = [(incident, host) for incident, host, _ in alike if incident not in taken]
    own = (incident for incident, host in free if _is_host(host, seen.host))
    return next(own, free[0][0] if free else None)


def _is_host(one: str, other: str) -> bool:
    """Tell whether two names belong to one host, with or without its domain."""
    return one == other or one.startswith(other + ".") or other.startswith(one + ".")
