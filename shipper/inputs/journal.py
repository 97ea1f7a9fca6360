"""The kernel's messages in the journal: ``type: journal``, read through systemd's ``journalctl``.

The first start reads every boot; later starts continue at the saved cursor. Earlier messages of the cursor's
boot are read again, because a document holds the kernel and machine of its crash. The cursor stays before a
crash until that crash is kept; the store skips what is read twice.

:see: journalctl(1), systemd.journal-fields(7)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from kpanic.shipper.api import Crash, FilePath, Reader, Readers, Seconds, Settings, Waiter
from kpanic.shipper.inputs.journal_entries import (
    FIELDS,
    EntrySplitter,
    boot_of,
    decode_entry,
    host_of,
    log_lines,
)
from kpanic.shipper.inputs.listening_clock import ListeningClock
from kpanic.shipper.obstacles import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["JournalConfig", "JournalInput"]

CHUNK: Final = 1 << 18
"""Bytes read at a time."""
CONTEXT: Final = 5000
"""Maximum entries of a boot that are read again for its kernel and machine."""
HOSTS: Final = 4096
"""Maximum hosts that are kept apart: a journal may hold many (systemd-journal-remote)."""
SAVE: Final = 60.0
"""Seconds between two saves of the cursor while the kernel keeps printing."""
AGAIN: float = 10.0
"""Seconds until journalctl is started again."""


class JournalConfig(Settings, frozen=True, kw_only=True):
    """``type: journal``."""

    paths: list[FilePath] = msgspec.field(default_factory=list)
    """Folders of journals, or files; without any, this machine's."""
    close_quiet: Seconds = 10.0
    """Seconds of the kernel's silence after which a crash is complete."""


class JournalInput:
    """The kernel's entries of one journal or of several."""

    Config = JournalConfig
    name = "journal"

    def __init__(self, config: JournalConfig) -> None:
        self.paths: list[str] = []
        self._config = config

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        if shutil.which("journalctl") is None:
            yield "journalctl is not installed; the journal cannot be read"
        yield from unreadable(self._config.paths, "the group systemd-journal or CAP_DAC_READ_SEARCH")

    def run(self, feed: Feed) -> None:
        """Follow the journals until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""
        program = shutil.which("journalctl")
        if program is None:
            feed.say("journalctl is not installed; the journal is not read")
            return
        clock = ListeningClock()
        with Waiter(feed.stop) as waiter:
            journals = [
                _Journal(program, path, self._config.close_quiet, feed, waiter=waiter, clock=clock)
                for path in self._config.paths or [""]
            ]
            while not feed.stop.is_set():
                waits = [one.wait for one in journals]
                wait = min((wait for wait in waits if wait is not None), default=None)
                for act in clock.wait(waiter, wait):
                    act()
                for one in journals:
                    one.settle()
            for one in journals:
                one.close()


class _Journal:
    """One journal and the journalctl that follows it."""

    def __init__(  # noqa: PLR0913 - they are independent
        self, program: str, path: str, quiet: float, feed: Feed, *, waiter: Waiter, clock: ListeningClock
    ) -> None:
        self._command = [program, "--all", "--no-pager", "--output=json", f"--output-fields={FIELDS}"]
        if path:
            kind = "directory" if os.path.isdir(path) else "file"  # noqa: PTH112 - as the user wrote it
            self._command.append(f"--{kind}={path}")
        self._path = path
        self._feed = feed
        self._waiter = waiter
        self._make = lambda _host: Reader(
            lambda fault: feed.say(f"{path or 'journal'}: {fault}"), quiet, clock
        )
        self._readers: Readers[str, Reader] = Readers(self._make, self._take, HOSTS)
        self._child: subprocess.Popen[bytes] | None = None
        self._splitter = EntrySplitter()
        self._said = ""
        self._again = 0.0
        self._saved = time.monotonic()
        self._ended_at = ""
        """The cursor that was reached when journalctl ended last."""
        self._read_to = self._kept = feed.positions().get(path, "")

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do."""
        if self._child is None:
            return max(0.0, self._again - time.monotonic())
        return self._readers.wait

    def settle(self) -> None:
        """Start journalctl if it is due, keep complete crashes, and save the cursor."""
        if self._child is None and time.monotonic() >= self._again:
            self._start()
        if self._child is not None:  # otherwise the silence is not journalctl's
            self._readers.settle()
        idle = self._readers.wait is None or time.monotonic() - self._saved > SAVE
        if idle and self._read_to != self._kept and not self._readers.open and not self._feed.stop.is_set():
            self._feed.keep((), {self._path: self._read_to})
            self._kept, self._saved = self._read_to, time.monotonic()

    def close(self) -> None:
        """End; keep open reports as they are, as a journal in memory may be gone at the next start."""
        self._end()
        self._readers.flush()

    def _take(self, complete: list[tuple[str, CrashReport]]) -> None:
        origin = replace(self._feed.origin, provider="journal", path=self._path)
        self._feed.keep([Crash(report, origin) for _, report in complete])

    def _start(self) -> None:
        self._forget()
        if self._kept:
            self._recall(self._kept)
        # to follow means this boot only, unless journals are merged
        follow = ["--follow", "--no-tail", "--merge", "_TRANSPORT=kernel", "+", "_TRANSPORT=driver"]
        if self._kept:  # not --after-cursor, which skips one more entry if the cursor's entry is gone
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
        """Read the entries before the cursor of the cursor's boot again."""
        boot = boot_of(cursor)
        if not boot:
            return
        with self._run([f"_BOOT_ID={boot}", "_TRANSPORT=kernel"]) as child:
            splitter = EntrySplitter()
            left = CONTEXT
            while left > 0 and child.stdout and (chunk := os.read(child.stdout.fileno(), CHUNK)):
                for line in splitter.feed(chunk)[:left]:
                    left -= 1
                    entry = decode_entry(line)
                    if entry.get("__CURSOR") == cursor or self._feed.stop.is_set():
                        child.kill()
                        return
                    self._read(entry)
            self._readers.flush()  # the next entries are from another time
            child.kill()

    def _entries(self) -> None:
        chunk = self._more(self._child.stdout if self._child else None)
        if chunk is None:
            return
        before = self._splitter.dropped
        for line in self._splitter.feed(chunk):
            entry = decode_entry(line)
            self._read(entry)
            cursor = entry.get("__CURSOR")
            if isinstance(cursor, str):
                self._read_to, self._said = cursor, ""
        if self._splitter.dropped != before:
            self._feed.say(
                f"{self._path or 'journal'}: an entry is too long to be the kernel's; it is left out"
            )
        if not chunk:
            self._readers.settle()
            self._end()

    def _forget(self) -> None:
        """Forget the entries since the saved cursor, because they are read again.

        Open crashes are handed over if journalctl has read no further than the last time.
        """
        if self._read_to == self._ended_at:
            self._readers.flush()
        self._readers = Readers(self._make, self._take, HOSTS)
        self._ended_at, self._read_to = self._read_to, self._kept

    def _complaints(self) -> None:
        """Log journalctl's complaints, each once."""
        stream = self._child.stderr if self._child else None
        chunk = self._more(stream)
        for line in (chunk or b"").decode("utf-8", "replace").splitlines():
            if line.strip() and line != self._said:
                self._said = line
                self._feed.say(f"{self._path or 'journal'}: journalctl: {line}")
                if "Failed to seek to cursor" in line:
                    self._read_to = self._kept = ""
        if chunk == b"" and stream is not None:
            self._waiter.remove(stream)
            stream.close()

    @staticmethod
    def _more(stream: Any) -> bytes | None:  # noqa: ANN401 - a pipe or nothing
        """Return the data in a pipe; empty at its end, None if there is none now."""
        if stream is None or stream.closed:
            return None
        try:
            return os.read(stream.fileno(), CHUNK)
        except BlockingIOError:
            return None

    def _end(self) -> None:
        """End journalctl; it is started again later."""
        child, self._child = self._child, None
        self._splitter = EntrySplitter()
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
        if chunk := b"".join(log_lines(entry)):
            self._readers.feed(host_of(entry), chunk)
