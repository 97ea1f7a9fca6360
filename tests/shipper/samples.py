"""Documents with arbitrary contents, for tests of stores and deliveries."""

from __future__ import annotations

import json

from kpanic.shipper.packed import Packed


def packed(number: int, *, fatal: bool = True) -> Packed:
    body = json.dumps({"number": number, "text": "x" * 3000}).encode()
    return Packed(
        f"id{number}", f"incident{number // 2}", f"2026-01-01T00:{number % 60:02}:00.000Z", fatal, body
    )
