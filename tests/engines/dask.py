"""A real Dask scheduler with workers, which are restarted as by a service manager."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Dask:
    """A scheduler with workers, each a process.

    :ivar address: as ``kpanic ship --on`` takes it.
    """

    def __init__(self, folder: Path, workers: int, environment: Mapping[str, str] = os.environ) -> None:
        port = parts.free_port(21300)
        self.address = f"dask://127.0.0.1:{port}"
        self._folder = folder
        self._environment = {**environment, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1000"}
        self._commands = [
            ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
            *[
                ["worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-nanny", "--no-dashboard"],
            ]
            * workers,
        ]
        self._stopping = threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._keepers: list[threading.Thread] = []

    def start(self) -> None:
        """Start all processes."""
        self._processes = [self._started(number) for number in range(len(self._commands))]
        self._keepers = [
            threading.Thread(target=self._keep, args=(number,)) for number in range(len(self._commands))
        ]
        for keeper in self._keepers:
            keeper.start()
        try:
            until(lambda: "Registered to" in self._said(1), 180)
        except AssertionError as error:
            self.stop()
            raise RuntimeError(f"no worker was registered:\n{self._said(1)[-3000:]}") from error

    def kill(self, number: int) -> bool:
        """Kill the scheduler (number 0) or a worker, which is restarted; return True."""
        self._processes[number].kill()
        return True

    def stop(self) -> None:
        """Stop all processes."""
        self._stopping.set()
        for process in self._processes:
            process.kill()
        for keeper in self._keepers:
            keeper.join()

    def _keep(self, number: int) -> None:
        while not self._stopping.is_set():
            self._processes[number].wait()
            if not self._stopping.is_set():
                self._processes[number] = self._started(number)
        self._processes[number].kill()
        self._processes[number].wait()

    def _started(self, number: int) -> subprocess.Popen[bytes]:
        local = ["--local-directory", str(self._folder)] if number else []
        with (self._folder / f"{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *self._commands[number], *local],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
            )

    def _said(self, number: int) -> str:
        return (self._folder / f"{number}.log").read_text(encoding="utf-8")
