"""What journald keeps of the kernel: ``type: journal``, read through systemd's own ``journalctl``.

The first start reads every boot there is; later ones go on at the cursor that was kept. What the boot of the
cursor had said before is read again, because a crash is told with its kernel and its machine. The cursor
stays before a crash until that is kept; what is then read twice, the store's ledger knows.

:see: journalctl(1), systemd.journal-fields(7)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from kpanic.shipper.api import Crash, FilePath, Reader, Readers, Settings, Waiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["JournalConfig", "JournalInput"]

CHUNK = 1 << 18
"""Bytes read at a time."""
CONTEXT = 5000
"""Entries of a boot read again for what it said of itself."""
HOSTS = 4096
"""Hosts kept apart at once: a journal may be of many (systemd-journal-remote)."""
SAVE = 60.0
"""Seconds between two notes of the cursor while the kernel keeps talking."""
AGAIN = 10.0
"""Seconds until journalctl is started again."""
FIELDS = "MESSAGE,_TRANSPORT,_HOSTNAME,_SOURCE_MONOTONIC_TIMESTAMP,_SOURCE_REALTIME_TIMESTAMP"

_BOOT = re.compile(r"(?:^|;)b=([0-9a-f]{32})(?:;|$)", re.ASCII)
_HOST = re.compile(r"[^\s:]{1,255}")
_MISSED = "Missed "


class JournalConfig(Settings, frozen=True, kw_only=True):
    """``type: journal``."""

    paths: list[FilePath] = msgspec.field(default_factory=list)
    """Folders of journals, or files; without any, this machine's."""
    close_quiet: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """Seconds of the kernel's silence after which a crash counts as complete."""


class JournalInput:
    """The kernel's entries of one journal or of several."""

    Config = JournalConfig
    name = "journal"

    def __init__(self, config: JournalConfig) -> None:
        self.paths: list[str] = []
        self._config = config

    def run(self, feed: Feed) -> None:
        """Follow."""
        program = shutil.which("journalctl")
        if program is None:
            feed.say("journalctl is not installed; the journal is not read")
            return
        with Waiter(feed.stop) as waiter:
            journals = [
                _Journal(program, path, self._config.close_quiet, feed, waiter)
                for path in self._config.paths or [""]
            ]
            while not feed.stop.is_set():
                waits = [one.wait for one in journals]
                for act in waiter.wait(min((wait for wait in waits if wait is not None), default=None)):
                    act()
                for one in journals:
                    one.settle()
            for one in journals:
                one.close()


class _Journal:
    """One journalctl."""

    def __init__(self, program: str, path: str, quiet: float, feed: Feed, waiter: Waiter) -> None:
        self._command = [program, "--all", "--no-pager", "--output=json", f"--output-fields={FIELDS}"]
        if path:
            kind = "directory" if os.path.isdir(path) else "file"  # noqa: PTH112 - as the user wrote it
            self._command.append(f"--{kind}={path}")
        self._path = path
        self._feed = feed
        self._waiter = waiter
        self._readers = Readers(
            lambda _host: Reader(lambda fault: feed.say(f"{path or 'journal'}: {fault}"), quiet),
            self._take,
            HOSTS,
        )
        self._child: subprocess.Popen[bytes] | None = None
        self._held = b""
        self._told = ""
        self._again = 0.0
        self._saved = time.monotonic()
        self._read_to = self._kept = feed.positions().get(path, "")

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` is worth a call."""
        if self._child is None:
            return max(0.0, self._again - time.monotonic())
        return self._readers.wait

    def settle(self) -> None:
        """Start what is to run; give what is complete; note how far all this is."""
        if self._child is None and time.monotonic() >= self._again:
            self._start()
        self._readers.settle()
        idle = self._readers.wait is None or time.monotonic() - self._saved > SAVE
        if idle and self._read_to != self._kept and not self._readers.open and not self._feed.stop.is_set():
            self._feed.keep((), {self._path: self._read_to})
            self._kept, self._saved = self._read_to, time.monotonic()

    def close(self) -> None:
        """End; what the kernel has just said is taken as it is: a journal in memory may be gone next time."""
        self._end()
        self._readers.flush()

    def _take(self, complete: list[tuple[str, CrashReport]]) -> None:
        origin = replace(self._feed.origin, provider="journal", path=self._path)
        self._feed.keep([Crash(report, origin) for _, report in complete])

    def _start(self) -> None:
        if self._kept:
            self._recall(self._kept)
        # to follow means this boot only, unless journals are merged
        follow = ["--follow", "--no-tail", "--merge", "_TRANSPORT=kernel", "+", "_TRANSPORT=driver"]
        if self._kept:  # not --after-cursor, which passes over one more where the entry is gone
            follow.insert(0, f"--cursor={self._kept}")
        self._child = child = self._run(follow)
        for stream, act in ((child.stdout, self._entries), (child.stderr, self._complaints)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._waiter.add(stream, act)

    def _run(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - journalctl and what was configured
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )

    def _recall(self, cursor: str) -> None:
        """Read again what the boot of the cursor said before it."""
        boot = _BOOT.search(cursor)
        if boot is None:
            return
        with self._run([f"_BOOT_ID={boot[1]}", "_TRANSPORT=kernel"]) as child:
            for _, line in zip(range(CONTEXT), child.stdout or (), strict=False):
                entry = _decoded(line)
                if entry.get("__CURSOR") == cursor or self._feed.stop.is_set():
                    break
                self._read(entry)
            else:
                self._readers.flush()  # what follows is of another time
            child.kill()

    def _entries(self) -> None:
        chunk = self._more(self._child.stdout if self._child else None)
        if chunk is None:
            return
        *lines, self._held = (self._held + chunk).split(b"\n")
        for line in lines:
            entry = _decoded(line)
            self._read(entry)
            cursor = entry.get("__CURSOR")
            if isinstance(cursor, str):
                self._read_to, self._told = cursor, ""
        if not chunk:
            self._end()

    def _complaints(self) -> None:
        """Tell what journalctl says; the same only once."""
        stream = self._child.stderr if self._child else None
        chunk = self._more(stream)
        for line in (chunk or b"").decode("utf-8", "replace").splitlines():
            if line.strip() and line != self._told:
                self._told = line
                self._feed.say(f"{self._path or 'journal'}: journalctl: {line}")
                if "Failed to seek to cursor" in line:
                    self._read_to = self._kept = ""
        if chunk == b"" and stream is not None:
            self._waiter.remove(stream)
            stream.close()

    @staticmethod
    def _more(stream: Any) -> bytes | None:  # noqa: ANN401 - a pipe or nothing
        """Return what there is; empty at the end, None for not now."""
        if stream is None or stream.closed:
            return None
        try:
            return os.read(stream.fileno(), CHUNK)
        except BlockingIOError:
            return None

    def _end(self) -> None:
        """End journalctl; it is started again later."""
        child, self._child = self._child, None
        self._held = b""
        self._again = time.monotonic() + AGAIN
        if child is None:
            return
        self._child = child
        self._complaints()
        self._child = None
        child.kill()
        for stream in (child.stdout, child.stderr):
            if stream is not None and not stream.closed:
                self._waiter.remove(stream)
                stream.close()
        child.wait()

    def _read(self, entry: dict[str, Any]) -> None:
        host = entry.get("_HOSTNAME")
        host = host if isinstance(host, str) and _HOST.fullmatch(host) else ""
        if chunk := b"".join(_lines(entry, host)):
            self._readers.feed(host, chunk)


def _decoded(line: bytes) -> dict[str, Any]:
    """Return an entry; nothing of what is none."""
    try:
        entry = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _lines(entry: dict[str, Any], host: str) -> Iterator[bytes]:
    """Yield an entry as syslog daemons write it, with the kernel's own time, line by line."""
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are no UTF-8
        message = bytes(byte for byte in message if isinstance(byte, int) and 0 <= byte <= 0xFF).decode(  # noqa: PLR2004
            "utf-8", "replace"
        )
    if not isinstance(message, str):
        return
    real = _microseconds(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry.get("__REALTIME_TIMESTAMP"))
    stamp = datetime.fromtimestamp((real or 0) / 1e6, UTC).isoformat(timespec="microseconds")
    who = f"{stamp} {host} " if host else f"{stamp} "
    if entry.get("_TRANSPORT") == "driver":
        if message.startswith(_MISSED):
            yield f"{who}systemd-journald[1]: {message}\n".encode("utf-8", "replace")
        return
    since = _microseconds(entry.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    when = "" if since is None else f"[{since / 1e6:12.6f}] "
    for line in message.rstrip("\n").split("\n"):
        yield f"{who}kernel: {when}{line}\n".encode("utf-8", "replace")


def _microseconds(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 16 else None  # noqa: PLR2004
