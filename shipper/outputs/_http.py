"""Asking over HTTP: connections that trust as told, and who we say we are."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

from shipper import __version__
from shipper.outputs._settings import context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from urllib3 import PoolManager, Retry

    from shipper.outputs._settings import TLS

__all__ = ["authorization", "pool"]


def pool(tls: TLS, urls: Iterable[str], retries: Retry | None = None) -> PoolManager:
    """Make what keeps connections to ``urls``.

    :raises ValueError: a file of the settings cannot be used; its name is in the text.
    """
    import urllib3  # noqa: PLC0415 - slow to import, and most commands send nothing

    # What it would log comes as an exception too, and ours is one line.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {}
    if any(url.startswith("https:") for url in urls):
        options["ssl_context"] = context(tls)
        if tls.verification_mode != "full":
            options["assert_hostname"] = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return urllib3.PoolManager(retries=retries, **options)


def authorization(username: str, password: str, api_key: str = "") -> dict[str, str]:
    """Return the headers that say who we are.

    :param api_key: ``id:key``, or the key encoded; excludes a user.
    :raises ValueError: the key can be none.
    """
    headers = {"user-agent": f"kpanic/{__version__}"}
    if username:
        headers["authorization"] = f"Basic {_base64(f'{username}:{password}')}"
    if api_key:
        key = _base64(api_key) if ":" in api_key else api_key
        if not (key.isascii() and key.isprintable()):  # shown in an error of HTTP's otherwise
            raise ValueError("api_key: is neither id:key nor an encoded key")
        headers["authorization"] = f"ApiKey {key}"
    return headers


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
