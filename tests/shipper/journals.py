"""Makes journals like those of journald, with systemd-journal-remote."""

from __future__ import annotations

import re
import subprocess
import uuid
from pathlib import Path

from tests.engines import parts

WRITER = Path("/lib/systemd/systemd-journal-remote")
START = 1_795_000_000_000_000
"""Microseconds since 1970."""
_LINE = re.compile(rb"\[ *(\d+)\.(\d{6})\](?:\[[^\]]*\])? ?(.*)")


class Machine:
    """A machine's journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "system.journal"
        self._boots = 0

    @classmethod
    def made(cls, folder: Path) -> Machine:
        """Make the folder of an empty journal; skip the test if systemd-journal-remote is missing."""
        if not WRITER.exists():
            parts.missing("systemd-journal-remote", "apt-get install systemd-journal-remote")
        folder.mkdir()
        return cls(folder)

    def write(self, console: bytes, *, host: str = "web-1", boot: str = "", extra: str = "") -> str:
        """Write the messages of a boot; return its ID."""
        boot = boot or uuid.uuid4().hex
        self._boots += 1
        at = START + self._boots * 3_600_000_000
        entries = [extra] if extra else []
        for line in console.splitlines():
            if found := _LINE.match(line.rstrip(b"\r")):
                since = int(found[1] + found[2])
                text = re.sub(r"[\x00-\x1f\x7f]", "?", found[3].decode("utf-8", "replace"))
                entries.append(
                    f"__REALTIME_TIMESTAMP={at + since}\n__MONOTONIC_TIMESTAMP={since}\n_BOOT_ID={boot}\n"
                    f"_SOURCE_MONOTONIC_TIMESTAMP={since}\n_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\n"
                    f"PRIORITY=4\n_HOSTNAME={host}\nMESSAGE={text}\n"
                )
        subprocess.run(
            [WRITER, f"--output={self.path}", "-"],
            input="\n".join(entries).encode(),
            check=True,
            capture_output=True,
        )
        return boot
