"""Signatures on the screen."""

from __future__ import annotations

import sys
from typing import Any

from kpanic.shipper import tables
from kpanic.shipper.tables import Column
from kpanic.shipper.terminal import counted, escape_controls, visible

__all__ = ["print_details", "print_json", "print_table"]


def print_json(content: object) -> None:
    """Print an object as indented JSON."""
    import msgspec  # noqa: PLC0415

    sys.stdout.buffer.write(escape_controls(msgspec.json.format(msgspec.json.encode(content))) + b"\n")


def _triage_words(triage: dict[str, Any]) -> str:
    words = [triage.get("status", ""), triage.get("ticket", ""), triage.get("owner", "")]
    return ", ".join(filter(None, words))


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print summaries as a table."""
    columns = (
        Column("signature"),
        Column("title", 28),
        Column("cause", order=4),
        Column("incidents", order=1, right=True),
        Column("hosts", order=2, right=True),
        Column("first", order=6),
        Column("last", order=3),
        Column("quality", order=7),
        Column("triage", order=5),
    )
    days = (
        {"first": row["first"][:10], "last": row["last"][:10], "triage": _triage_words(row["triage"])}
        for row in rows
    )
    tables.print_table(columns, [tuple((row | day).values()) for row, day in zip(rows, days, strict=True)])


def print_details(found: dict[str, Any]) -> None:
    """Print all about one signature."""
    on = counted(found["hosts"], "host")
    lines = [
        f"signature  {found['id']} ({found['quality']})",
        f"title      {found['title']}",
        f"cause      {found['cause']}",
        f"incidents  {found['incidents']} on {on}, {found['first']} to {found['last']}",
    ]
    for label, groups in (("hosts", found["by_host"]), ("kernels", found["by_kernel"])):
        shown = [f"{name} ({count})" for name, count in list(groups.items())[:20]]
        more = f", and {len(groups) - 20} more" if len(groups) > 20 else ""  # noqa: PLR2004
        lines.append(f"{label:<11}{', '.join(shown)}{more}")
    triage = found["triage"]
    if triage:
        lines.append(f"triage     {_triage_words(triage)}")
        if triage.get("fixed_in"):
            lines.append(f"fixed in   {', '.join(triage['fixed_in'])}")
        if triage.get("note"):
            lines.append(f"note       {triage['note']}")
    for engine, said in found["alerts"].items():
        pages = "" if said.get("pages", True) else "; did not page"
        host = f" by {said['host']}" if said.get("host") else ""
        lines.append(f"{engine:<10} first reported {said['reported']}{host}{pages}")
    lines += ["", *found["reading"], "", "trace", *(f"  {frame}" for frame in found["trace"])]
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
