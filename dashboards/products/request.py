"""A product's HTTP interface, as requests that ``setup`` sends and ``export`` prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Request", "ndjson"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a product's HTTP interface."""

    method: str
    path: str
    body: Json


def ndjson(requests: list[Request]) -> str:
    """Return requests as text, one JSON object a line."""
    rows = ({"method": one.method, "path": one.path, "body": one.body} for one in requests)
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
