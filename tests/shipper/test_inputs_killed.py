"""Inputs whose service is killed at random times, while logs grow and are rotated: each crash arrives once.

``--rounds 20`` is the long form.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.engines import parts
from tests.shipper.processes import KPANIC
from tests.shipper.test_journal import WRITER, Machine
from tests.waiting import lines_of, stays, until

pytestmark = pytest.mark.process
ROOT = Path(__file__).parent.parent.parent
PANIC = (ROOT / "tests" / "logs" / "lab" / "6.1.0-56-amd64-x86_64-panic.log").read_bytes()
RUN = [*KPANIC, "run", "-c"]
CRASHES = 8
"""Number of crashes in each round."""


def crash(number: int) -> bytes:
    """Return a boot with a crash at a distinct second."""
    return PANIC.replace(b"\r\n", b"\n").replace(b"[    2.", b"[%5d." % (2 + number))


class Log:
    """A log file that is written and rotated."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self._path = path
        self._chance = chance

    def write(self, text: bytes) -> None:
        lines = text.splitlines(keepends=True)
        turn = self._chance.randrange(2 * len(lines))  # inside a crash, every second time
        for number, line in enumerate(lines):
            if number == turn:
                self._rotate()
            with self._path.open("ab") as out:
                out.write(line)
            if number % 40 == 0:
                stays(self._path.exists, 0.02)

    def _rotate(self) -> None:
        """Rotate like logrotate, without compression, which would have to wait for the reader."""
        for number in range(500, 0, -1):
            old = self._path.with_name(f"{self._path.name}.{number}")
            if old.exists():
                old.rename(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.rename(self._path.with_name(f"{self._path.name}.1"))


@pytest.mark.parametrize("kind", ["file", "journal"])
def test_killed_at_random_moments_each_crash_arrives_once(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    chance = random.Random(5)  # noqa: S311
    config = tmp_path / "kpanic.yml"
    source = tmp_path / "source"
    source.mkdir()
    paths = f"{source}/messages*" if kind == "file" else str(source)
    config.write_text(
        f"path.data: {tmp_path}/data\noutput.file.path: {tmp_path}/out\n"
        f"inputs:\n  - {{type: {kind}, paths: ['{paths}'], close_quiet: 1}}\n"
    )
    if kind == "journal" and not WRITER.exists():
        parts.missing("systemd-journal-remote", "apt-get install systemd-journal-remote")
    writer = Machine(source) if kind == "journal" else Log(source / "messages", chance)
    crashes = CRASHES * request.config.getoption("--rounds")

    def write() -> None:
        for number in range(crashes):
            writer.write(crash(number))
            stays(source.exists, chance.uniform(0, 0.3))

    with (tmp_path / "errors").open("ab") as errors:
        writing = threading.Thread(target=write)
        writing.start()
        kills = 0
        while writing.is_alive() or kills < crashes:
            with subprocess.Popen([*RUN, str(config)], stderr=errors, cwd=ROOT) as process:
                stays(lambda: process.poll() is None, chance.uniform(0.3, 2.5))
                process.kill()
            kills += 1
        writing.join()
        with subprocess.Popen([*RUN, str(config)], stderr=errors, cwd=ROOT) as process:
            until(lambda: len(times(tmp_path / "out")) >= crashes, 300)
            stays(lambda: len(times(tmp_path / "out")) == crashes, 2)
            process.terminate()
            assert process.wait(60) == 0
    assert times(tmp_path / "out") == {2 + number: 1 for number in range(crashes)}
    if kind == "journal":
        shutil.rmtree(source)


def times(out: Path) -> Counter[int]:
    """Count the arrived crashes by their second."""
    return Counter(int(json.loads(line)["kernel"]["panic"]["uptime"]) for line in lines_of(out))
