"""Downloads debug information from debuginfod servers, if that is requested.

The process that opens a dump has no network. It names the build IDs whose debug information is missing. This
module, which sees nothing else of the dump, downloads them into a folder that drgn searches by build ID.

:see: debuginfod(8), "WEBAPI": ``/buildid/BUILDID/debuginfo``
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Debuginfod", "servers_of"]

SECONDS: Final = 900.0
"""Maximum seconds of a download."""
SILENCE: Final = 30.0
"""Maximum seconds between two pieces of an answer."""
LARGEST: Final = 4 << 30
"""Maximum bytes of a file; a distribution's vmlinux has half a gigabyte to one."""
UNUSED: Final = 30 * 86_400
"""Seconds after which an unread file is removed."""
PIECE: Final = 1 << 20
_BUILD_ID: Final = re.compile(r"[0-9a-f]{8,128}\Z")


def servers_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the servers in DEBUGINFOD_URLS, which may hold other words too."""
    words = environment.get("DEBUGINFOD_URLS", "").split()
    return tuple(word for word in words if word.startswith(("https://", "http://")))


class _NotFoundError(Exception):
    """A server does not have the requested file."""


class Debuginfod:
    """Servers, and the folder that keeps downloaded files.

    :param servers: URLs, asked in this order.
    :param folder: by default ``kpanic/debuginfo`` in the user's cache.
    :param say: receives a line for each download.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        folder: Path | None = None,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._servers = [server.rstrip("/") for server in servers]
        self._folder = folder
        self._say = say
        self._cleaned = False

    @property
    def folder(self) -> Path:
        """The folder, which holds ``.build-id/xx/yyyy.debug``."""
        if self._folder is None:
            self._folder = _cache() / "kpanic" / "debuginfo"
        return self._folder

    def fetch(self, build_id: str, stop: Callable[[], bool] = bool) -> str:
        """Download the debug information of a build ID; return why it is unavailable, empty if it is here.

        :param build_id: hexadecimal digits in lower case.
        :param stop: tells whether to end early.
        """
        if not _BUILD_ID.match(build_id):
            return f"{build_id[:40]!r} is no build ID"
        place = self.folder / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        self._clean()
        reasons = []
        for server in self._servers:
            url = f"{server}/buildid/{build_id}/debuginfo"
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._say(f"asking {url}")
                _download(url, place, stop)
            except (_NotFoundError, OSError, http.client.HTTPException, ValueError) as error:
                reasons.append(f"{server}: {_words(error)}")
            else:
                return ""
        return "; ".join(reasons)

    def _clean(self) -> None:
        """Remove files that were not read for long, once."""
        if self._cleaned:
            return
        self._cleaned = True
        old = time.time() - UNUSED
        for path in self.folder.glob(".build-id/*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                if max(status.st_atime, status.st_mtime) < old:
                    path.unlink()


def _cache() -> Path:
    """Return the folder of this user's caches, or the system's for a user without a home."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path("/var/cache")


def _download(url: str, place: Path, stop: Callable[[], bool]) -> None:
    """Download a file, whole or not at all.

    :raises _NotFoundError: there is no such file, or it exceeds the limits.
    :raises OSError: the connection or the disk fails.
    """
    deadline = time.monotonic() + SECONDS
    request = urllib.request.Request(url, headers={"User-Agent": "kpanic"})  # noqa: S310 - servers_of
    with (
        urllib.request.urlopen(request, timeout=SILENCE) as answer,  # noqa: S310
        tempfile.NamedTemporaryFile(dir=place.parent) as file,
    ):
        expected = answer.length
        if (expected or 0) > min(LARGEST, shutil.disk_usage(place.parent).free):
            raise _NotFoundError(f"its {expected} bytes are more than there is room for")
        left = LARGEST
        while piece := answer.read1(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise _NotFoundError(f"it is larger than {LARGEST} bytes")
            if time.monotonic() > deadline:
                raise _NotFoundError(f"it did not end within {SECONDS:.0f} s")
            if stop():
                raise _NotFoundError("it was stopped")
            file.write(piece)
        file.flush()
        if expected is not None and LARGEST - left != expected:
            raise _NotFoundError(f"it ended after {LARGEST - left} of {expected} bytes")
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(file.name, place)


def _words(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(reason).split())[:300] or type(error).__name__
