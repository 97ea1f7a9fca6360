"""Obstacles to a start: files that cannot be read, folders that cannot be written, ports in use."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from kpanic.shipper.files import open_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Tried", "unbindable", "unreadable", "unwritable"]

_REFUSED: Final = {errno.EACCES, errno.EPERM}


@runtime_checkable
class Tried(Protocol):
    """An input or output that can check what its start needs."""

    def obstacles(self) -> Iterable[str]:
        """Yield a line for each obstacle to a start as this user now; leaves nothing behind."""


def unreadable(paths: Iterable[str], need: str = "CAP_DAC_READ_SEARCH") -> Iterator[str]:
    """Yield a line for each file or folder that cannot be read; a missing one may appear later.

    :param need: the capability that would suffice.
    """
    for path in paths:
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - as the user wrote it
                os.scandir(path).close()
            else:
                open_named(path).close()
        except FileNotFoundError:
            continue
        except OSError as error:
            lacks = f"; it needs {need} or the group that may" if error.errno in _REFUSED else ""
            yield f"{path}: cannot be read by this user: {error.strerror}{lacks}"


def unwritable(path: str | Path) -> Iterator[str]:
    """Yield a line if a file cannot be written, or its folder can neither be written nor made."""
    path = Path(path)
    there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
    wanted = os.W_OK | (os.X_OK if there.is_dir() else 0)
    if not os.access(there, wanted, effective_ids=True):
        what = "cannot be written" if there == path else f"cannot be made: {there} cannot be written"
        yield f"{path}: {what} by this user"
    elif there != path and not there.is_dir():
        yield f"{path}: cannot be made: {there} is not a folder"


def unbindable(kind: socket.SocketKind, text: str, address: tuple[str, int]) -> Iterator[str]:
    """Yield a line if an address cannot be used to listen.

    :param text: the address as it was configured.
    """
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            lacks = "; it needs CAP_NET_BIND_SERVICE" if error.errno in _REFUSED else ""
            yield f"{text}: cannot listen: {error.strerror}{lacks}"
