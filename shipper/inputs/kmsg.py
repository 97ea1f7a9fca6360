"""The running kernel's own log, ``/dev/kmsg``: ``type: kmsg``.

Every opening begins at the oldest record in the ring buffer, so that a start reads earlier messages, the boot
included. The store skips crashes that it has. Records that the kernel overwrote before they were read, by
this run or the last one of the same boot, are reported. Records of user space (``echo … > /dev/kmsg``) are
read too, because systemd names the host in one.

:see: Documentation/ABI/testing/dev-kmsg, kernel/printk/printk.c (devkmsg_read)
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kpanic.shipper.api import Crash, Reader, Seconds, Settings, Waiter
from kpanic.shipper.inputs.listening_clock import ListeningClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Feed

__all__ = ["KmsgConfig", "KmsgInput"]

RECORD = 16_384
"""Bytes that hold any record: the kernel cuts a line at 1 KB, and its properties are few."""
BURST = 4096
"""Maximum records read before other work has its turn."""
SAVE = 60.0
"""Seconds between two saves of the sequence number while the kernel keeps printing."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_SEQUENCE = re.compile(rb"\d{1,9},(\d{1,18}),")


class KmsgConfig(Settings, frozen=True, kw_only=True):
    """``type: kmsg``."""

    path: str = "/dev/kmsg"
    """The device, or a pipe that carries such records."""
    close_quiet: Seconds = 10.0
    """Seconds of the kernel's silence after which a crash is complete."""


class KmsgInput:
    """The ring buffer of this machine."""

    Config = KmsgConfig
    name = "kmsg"

    def __init__(self, config: KmsgConfig) -> None:
        self.paths: list[str] = []
        self._config = config

    def obstacles(self) -> Iterator[str]:
        """Yield the obstacles to a start; see :class:`kpanic.shipper.obstacles.Tried`."""
        path = self._config.path
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            yield f"{path}: cannot be read by this user: {error.strerror}; CAP_SYSLOG may be needed"

    def run(self, feed: Feed) -> None:
        """Follow the log until ``feed.stop`` is set; see :meth:`kpanic.shipper.api.Input.run`."""
        path = self._config.path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            feed.say(f"{path}: may not be read; CAP_SYSLOG is needed where kernel.dmesg_restrict is 1")
            return
        except OSError as error:
            feed.say(f"{path}: cannot be opened: {error.strerror}; the kernel's log is not read")
            return
        try:
            mode = os.fstat(descriptor).st_mode
            if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
                feed.say(f"{path}: is not a device; a file is read with type: file")
                return
            with Waiter(feed.stop) as waiter:
                waiter.add(descriptor, descriptor)
                _Run(path, self._config.close_quiet, descriptor, feed).run(waiter)
        finally:
            os.close(descriptor)


class _Run:
    """A run."""

    def __init__(self, path: str, quiet: float, descriptor: int, feed: Feed) -> None:
        self._path = path
        self._descriptor = descriptor
        self._feed = feed
        self._clock = ListeningClock()
        self._reader = Reader(lambda fault: feed.say(f"{path}: {fault}"), quiet, self._clock)
        self._ended = False
        self._lost = 0
        boot = BOOT_ID.read_text("ascii").strip()
        before, _, sequence = feed.positions().get(path, "").partition(" ")
        self._boot = boot
        self._expected = int(sequence) + 1 if before == boot and sequence.isdigit() else None
        self._kept = self._expected
        self._saved = time.monotonic()

    def run(self, waiter: Waiter) -> None:
        """Read until the end; open reports are kept as they are, as the next boot has another log."""
        while not self._feed.stop.is_set():
            if self._clock.wait(waiter, self._reader.wait):
                self._keep(self._reader.feed(self._records()))
            self._keep(self._reader.settle())
            if self._lost:
                self._feed.say(f"{self._path}: {self._lost} records were overwritten before they were read")
                self._lost = 0
            self._note()
            if self._ended:  # a pipe without a writer
                waiter.remove(self._descriptor)
                self._ended = False
        self._keep(self._reader.feed(self._records()))
        self._keep(self._reader.flush())

    def _records(self) -> bytes:
        """Return the available records, each of one line or more."""
        found: list[bytes] = []
        while len(found) < BURST:
            try:
                record = os.read(self._descriptor, RECORD)
            except BlockingIOError:
                break
            except BrokenPipeError:  # overwritten since the last read; the next continues at the oldest
                continue
            except OSError as error:
                self._feed.say(f"{self._path}: {error.strerror}")
                self._ended = True
                break
            if not record:
                self._ended = True
                break
            found.append(record)
            self._count(record)
        return b"".join(found)

    def _count(self, record: bytes) -> None:
        """Count missing records; those after the last run's position may be read again, or be gone."""
        for match in map(_SEQUENCE.match, record.split(b"\n")):
            if match is None:
                continue
            sequence = int(match[1])
            if self._expected is not None and sequence < self._expected:
                continue
            if self._expected is not None:
                self._lost += sequence - self._expected
            self._expected = sequence + 1

    def _note(self) -> None:
        """Keep the sequence number that was reached."""
        idle = self._reader.wait is None or time.monotonic() - self._saved > SAVE
        if idle and self._expected != self._kept and not self._feed.stop.is_set():
            self._feed.keep((), {self._path: f"{self._boot} {(self._expected or 1) - 1}"})
            self._kept, self._saved = self._expected, time.monotonic()

    def _keep(self, reports: list[CrashReport]) -> None:
        if reports:
            origin = replace(self._feed.origin, provider="kmsg", own=True)
            self._feed.keep([Crash(report, origin) for report in reports])
