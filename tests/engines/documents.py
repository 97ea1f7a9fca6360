"""Made-up documents for the tests of outputs, each of another crash."""

from __future__ import annotations

import json
from typing import Any

from kpanic.shipper.api import Stored


def document(number: int, namespace: str, **panic: object) -> dict[str, Any]:
    """A crash document of about 8 KB."""
    signature = f"v1-{namespace}{number % 3}"
    return {
        "@timestamp": "2021-04-29T11:32:26.123Z",
        "data_stream": {"type": "logs", "dataset": "kernel.panic", "namespace": namespace},
        "event": {
            "id": f"v1-{namespace}-{number:06}",
            "created": "2021-04-29T11:40:00.000Z",
            "provider": "kdump",
            "dataset": "kernel.panic",
            "original": "[  752.345678] SysRq : Trigger a crash\n" * 150,
        },
        "host": {"name": f"node{number % 7}", "os": {"kernel": "3.10.0-1160.el7.x86_64", "type": "linux"}},
        "process": {"pid": 1234, "name": "bash"},
        "labels": {"rack": "r1"},
        "kernel": {
            "panic": {
                "title": "sysrq_handle_crash",
                "kind": "panic",
                "cause": "sysrq",
                "function": "sysrq_handle_crash",
                "fatal": True,
                "signature": {"id": signature, "version": 1, "quality": "strong"},
                "rip": {"symbol": "sysrq_handle_crash", "offset": 22, "size": 32},
                "call_trace": [f"write_sysrq_trigger+0x{frame:x}/0x80" for frame in range(40)],
                **panic,
            }
        },
    }


def stored(number: int, namespace: str, **panic: object) -> Stored:
    """Return a crash document as the store keeps it."""
    made = document(number, namespace, **panic)
    return Stored(number, f"{made['event']['id']}-kdump", json.dumps(made).encode())


def batch(count: int, namespace: str) -> list[Stored]:
    """Return several crash documents."""
    return [stored(number, namespace) for number in range(count)]
