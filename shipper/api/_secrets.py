"""Remembers the secrets of this process, so that no message repeats them."""

from __future__ import annotations

import re

__all__ = ["REASON", "hide_secrets", "remember_secret", "shown_reason"]

REASON = 2_000
"""Maximum characters of a receiver's reason; an engine quotes the document."""

HIDDEN = "[secret]"
SHORTEST = 4
"""Minimum characters of a secret that is searched for; a shorter one would match everywhere."""
LONG = 8
"""Minimum characters of a secret that is hidden inside a word too: ``pass[secret]`` would reveal a short one.
"""

_secrets: set[str] = set()
_BASE64 = r"[A-Za-z0-9+/_-]{8,}={0,2}"
_IN_URL = r"(://[^\s/:@]{0,200}:)[^\s/@]{1,200}@"  # a password


def remember_secret(secret: str) -> None:
    """Have :func:`hide_secrets` hide a secret from now on."""
    if len(secret) >= SHORTEST:
        _secrets.add(secret)


def hide_secrets(text: str) -> str:
    """Return a message without secrets: plain ones, in base64 (``Authorization: Basic …``), or in a URL.

    A receiver's answer may repeat the request.
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        if len(secret) >= LONG:
            text = text.replace(secret, HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    if _secrets:
        text = re.sub(_BASE64, _hidden_if_secret, text)
    return re.sub(_IN_URL, rf"\1{HIDDEN}@", text)


def shown_reason(text: str) -> str:
    """Return a receiver's message, without secrets and with at most :data:`REASON` characters."""
    return hide_secrets(text[: 2 * REASON])[:REASON]


def _hidden_if_secret(found: re.Match[str]) -> str:
    import base64  # noqa: PLC0415 - few processes have secrets
    import binascii  # noqa: PLC0415

    word = found[0].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        decoded = base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8", "replace")
    except binascii.Error:
        return found[0]
    return HIDDEN if any(secret in decoded for secret in _secrets) else found[0]
