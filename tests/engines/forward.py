"""A real forward receiver."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.engines import parts
from tests.waiting import until

SCRIPT = Path(__file__).with_name("forward.mjs")


class Receiver:
    """FluentServer of ``@fluent-org/logger``; received entries remain readable after a kill."""

    def __init__(self, port: int, *, security: object = None, tls: dict[str, str] | None = None) -> None:
        if not shutil.which("node") or not shutil.which("npm"):
            parts.missing("the forward receiver", "node and npm are not installed")
        try:
            self._folder = parts.node_module("@fluent-org/logger", "1.0.10")
        except (OSError, subprocess.SubprocessError) as error:
            parts.missing("the forward receiver", error)
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self._options = json.dumps({"port": port, "security": security, "tls": tls})
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        ready = self._lines().count("ready") + 1
        self._process = subprocess.Popen(
            ["node", SCRIPT, self._options], cwd=self._folder, stdout=self._output, stdin=subprocess.DEVNULL
        )
        process = self._process
        until(lambda: process.poll() is not None or self._lines().count("ready") == ready)
        if process.poll() is not None:
            raise RuntimeError("the forward receiver did not start")

    def kill(self) -> None:
        """Kill it, without closing its connections properly."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def entries(self, count: int = 0) -> list[dict[str, Any]]:
        """Return the received entries; wait for ``count``, since some may still be in flight."""

        def arrived() -> list[str]:
            return [line for line in self._lines() if line.startswith("{")]

        with contextlib.suppress(AssertionError):  # the caller reports what is missing
            until(lambda: len(arrived()) >= count)
        return [json.loads(line) for line in arrived()]

    def close(self) -> None:
        """Stop it, and forget the received entries."""
        self.kill()
        self._output.close()

    def _lines(self) -> list[str]:
        # The child writes through the same open file, whose offset must not change.
        data = Path(f"/proc/self/fd/{self._output.fileno()}").read_bytes()
        return data[: data.rfind(b"\n") + 1].decode().split("\n")[:-1]  # a write may be incomplete
