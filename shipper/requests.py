"""Requests to the running service: by signal, or by a thread that finds the store damaged."""

from __future__ import annotations

import select
import signal
import socket

__all__ = ["Requests"]


class Requests:
    """Requests of signals and other threads to the service.

    :ivar stop: SIGTERM or SIGINT came.
    :ivar reload: SIGHUP came.
    :ivar damaged: the store is damaged and is to be set aside.
    """

    def __init__(self) -> None:
        self.stop = self.reload = self.damaged = False
        # a pipe: the code that a signal interrupts may hold the lock of an Event
        self._heard, self._waker = socket.socketpair()
        for end in (self._heard, self._waker):
            end.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True

    def damage(self) -> None:
        """Ask for the store to be set aside."""
        self.damaged = True
        self._waker.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait so many seconds, or until a request comes."""
        if select.select([self._heard], [], [], seconds)[0]:
            self._heard.recv(4096)
