"""Watching folders for new and growing files (inotify(7)), and whether a file is still written."""

from __future__ import annotations

import fcntl
import os
import signal
from typing import TYPE_CHECKING, Self

from kpanic.shipper.api import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from inotify_simple import INotify

    from kpanic.shipper.api import Stop

__all__ = ["Watch", "being_written"]

_BURST = 0.1
"""Seconds from an event to the look that it causes, because more events follow."""


def being_written(path: str) -> bool:
    """Tell whether a process of this machine has a file open for writing.

    The kernel then refuses a read lease (fcntl(2)). False also where no lease is available: for another
    user's file, or on a file system without leases.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # reading it says why
    try:
        # A lease signals this process when another one opens the file; SIGURG is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


class Watch:
    """Waits until something changes in some folders; a context manager.

    :param say: logs a line for the operator when the kernel refuses to watch more folders.
    :param growth: whether writing to a file counts as a change.
    """

    def __init__(self, say: Callable[[str], None], *, growth: bool = False) -> None:
        self._say = say
        self._growth = growth
        self._inotify: INotify | None = None
        self._watched: dict[int, str] = {}
        self._new = False
        self._complained = False

    def __enter__(self) -> Self:
        from inotify_simple import INotify  # noqa: PLC0415 - only watchers need it

        try:
            self._inotify = INotify()
        except OSError as error:
            self._refused(error)
        return self

    def __exit__(self, *_: object) -> None:
        if self._inotify is not None:
            self._inotify.close()

    def add(self, folder: str) -> None:
        """Watch a folder, unless it is watched already."""
        from inotify_simple import flags  # noqa: PLC0415

        if self._inotify is None:
            return
        mask = flags.CLOSE_WRITE | flags.MOVED_TO | flags.CREATE | flags.ONLYDIR
        if self._growth:
            mask |= flags.MODIFY | flags.MOVED_FROM | flags.DELETE
        try:
            watched = self._inotify.add_watch(folder, mask)
        except (FileNotFoundError, PermissionError):
            return  # gone, or the walk reports it
        except OSError as error:
            self._refused(error)
            return
        self._new = self._new or watched not in self._watched
        self._watched[watched] = folder

    def wait(self, stop: Stop, seconds: float) -> list[str] | None:
        """Return at a change, after ``seconds``, or when told to stop.

        Returns at once if a folder is newly watched: changes before that were not reported.

        :return: the files that were written to if there was no other change, else None.
        """
        if self._new:
            self._new = False
            return None
        if self._inotify is None:
            stop.wait(seconds)
            return None
        with Waiter(stop) as waiter:
            waiter.add(self._inotify, self._inotify)
            if not waiter.wait(seconds):
                return None
        stop.wait(_BURST)
        from inotify_simple import flags  # noqa: PLC0415

        grown: list[str] = []
        for event in self._inotify.read(0):
            if event.mask != flags.MODIFY or event.wd not in self._watched:
                return None
            folder = self._watched[event.wd]
            grown.append(event.name if folder == "." else os.path.join(folder, event.name))  # noqa: PTH118
        return grown

    def _refused(self, error: OSError) -> None:
        if self._complained:
            return
        self._complained = True
        self._say(
            f"the folders cannot all be watched ({error.strerror}; see fs.inotify in sysctl): "
            "changes are seen every scan_interval only"
        )
