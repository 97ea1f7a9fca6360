"""The part of ECS 9.4.0 that documents use (elastic/ecs, generated/csv/fields.csv)."""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

FIELDS = {
    row["field"]: (row["type"], row["normalize"] == "array")
    for row in csv.DictReader(
        (Path(__file__).parent.parent / "ecs_fields.csv").read_text("utf-8").splitlines()
    )
}
ALLOWED = {
    "event.kind": {"event"},
    "event.category": {"host"},
    "event.type": {"end", "info"},
    "event.outcome": {"failure"},
    "host.os.type": {"linux"},
}
"""The values of ECS that documents use; allowed values are part of the specification."""


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in ("labels", "kernel.panic.registers"):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def faults(document: Mapping[str, Any]) -> list[str]:
    """Return violations of ECS: unknown fields, wrong types, a list in place of one value."""
    found = []
    for name, value in leaves(document):
        if name == "_id" or name.startswith("kernel.panic."):
            continue
        if name not in FIELDS:
            found.append(f"{name}: ECS has no such field")
            continue
        kind, many = FIELDS[name]
        if isinstance(value, list) != many:
            found.append(f"{name}: {'one value' if many else 'a list'}")
        for one in value if isinstance(value, list) else [value]:
            if not _fits(one, kind):
                found.append(f"{name}: {one!r} is no {kind}")
            if name in ALLOWED and one not in ALLOWED[name]:
                found.append(f"{name}: {one!r} is not allowed")
    return found


def _fits(value: object, kind: str) -> bool:
    if kind == "long":
        return type(value) is int and -(2**63) <= value < 2**63
    if kind == "object":
        return isinstance(value, dict)
    if not isinstance(value, str) or not value:
        return False
    if kind == "date":
        return value.endswith("Z") and datetime.fromisoformat(value).tzinfo is not None
    if kind == "ip":
        return bool(ipaddress.ip_address(value))
    return kind != "keyword" or len(value) <= 1024 or "\n" in value
