"""Opens the store for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.shipper.cli import Failure
from kpanic.shipper.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.shipper.config import Config
    from kpanic.shipper.store import Store

__all__ = ["expire", "open_store"]


def open_store(
    config: Config,
    *,
    readonly: bool = False,
    warn: Callable[[str], None] = lambda line: say(f"kpanic: {line}"),
) -> Store:
    """Open the store.

    :param warn: is called if it was damaged.
    :raises Failure: it cannot be opened.
    """
    from kpanic.shipper.store import Store, StoreError  # noqa: PLC0415

    try:
        store = Store(config.store_path(), readonly=readonly, warn=warn)
    except StoreError as error:
        raise Failure(str(error)) from None
    if store.set_aside is not None and store.salvaged is not None:
        copied, lost = store.salvaged
        warn(
            f"{store.path} was damaged and is now {store.set_aside}; of its documents {copied} are in a new"
            f" store and {lost} could not be read"
        )
    return store


def expire(store: Store, config: Config, warn: Callable[[str], None]) -> None:
    """Delete the texts that the configured retention does not keep; warn about undelivered ones."""
    import time  # noqa: PLC0415

    expired = store.expire(
        [plugin.name for plugin in config.outputs],
        before=time.time() - config.retention.seconds(),
        size=config.retention.bytes(),
    )
    if expired.undelivered:
        warn(
            f"{store.path}: retention.size {config.retention.size} is reached:"
            f" deleted the text of {counted(expired.undelivered, 'document')} NOT delivered everywhere"
        )
