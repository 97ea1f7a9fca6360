"""A real forward receiver."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.engines import parts

SCRIPT = Path(__file__).with_name("forward.mjs")


class Receiver:
    """FluentServer of ``@fluent-org/logger``; what it received stays readable when it was killed."""

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
        deadline = time.monotonic() + 20
        while self._lines().count("ready") < ready:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the forward receiver did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it without a word to its clients."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def entries(self, count: int = 0) -> list[dict[str, Any]]:
        """What arrived; waits for ``count`` of them, as without acknowledgement they may be on their way."""
        deadline = time.monotonic() + 10
        while len(found := [line for line in self._lines() if line.startswith("{")]) < count:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return [json.loads(line) for line in found]

    def close(self) -> None:
        """End it, and forget what it received."""
        self.kill()
        self._output.close()

    def _lines(self) -> list[str]:
        # The child writes through the same open file, whose offset must stay its own.
        data = Path(f"/proc/self/fd/{self._output.fileno()}").read_bytes()
        return data.decode().split("\n")[:-1]
