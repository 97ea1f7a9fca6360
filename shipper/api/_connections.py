"""Why a connection failed, in words for an operator."""

from __future__ import annotations

from collections import deque

__all__ = ["connection_error"]


def connection_error(error: BaseException) -> str:
    """Return the cause of a client library's exception, in the words of TLS or of the system.

    Looks through causes, contexts and arguments, because HTTP clients wrap errors.
    """
    import ssl  # noqa: PLC0415 - parsing alone does not need it
    from http.client import HTTPException  # noqa: PLC0415

    seen: set[int] = set()
    waiting: deque[object] = deque([error])
    found = ""
    while waiting:
        current = waiting.popleft()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, ssl.SSLCertVerificationError):
            return f"certificate not trusted: {current.verify_message}"
        if isinstance(current, ssl.SSLError):
            found = f"TLS: {current.reason or current}"
        elif isinstance(current, OSError) and not found:
            found = current.strerror or str(current)
        elif isinstance(current, HTTPException) and not found:
            found = f"what answers does not speak HTTP: {str(current)[:100]}"
        waiting += current.args
        waiting += getattr(current, "errors", ())
        context = None if current.__suppress_context__ else current.__context__
        waiting += (current.__cause__, context, getattr(current, "reason", None))
    return found or f"{type(error).__name__}: {error}"
