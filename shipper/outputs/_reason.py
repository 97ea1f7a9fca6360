"""Why a connection failed, in words for an operator."""

from __future__ import annotations

import ssl
from collections import deque
from http.client import HTTPException

__all__ = ["explain"]


def explain(error: BaseException) -> str:
    """Say what lies under a client's exception, in the words of TLS or of the system where there are any."""
    seen: set[int] = set()
    waiting: deque[object] = deque([error])
    best = ""
    while waiting:
        current = waiting.popleft()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, ssl.SSLCertVerificationError):
            return f"certificate not trusted: {current.verify_message}"
        if isinstance(current, ssl.SSLError):
            best = f"TLS: {current.reason or current}"
        elif isinstance(current, OSError) and not best:
            best = current.strerror or str(current)
        elif isinstance(current, HTTPException) and not best:
            best = f"what answers does not speak HTTP: {str(current)[:100]}"
        waiting += current.args
        waiting += getattr(current, "errors", ())
        waiting += (current.__cause__, current.__context__, getattr(current, "reason", None))
    return best or f"{type(error).__name__}: {error}"
