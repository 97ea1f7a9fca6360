"""The shipper is killed (kill -9) at random times, and every output gets every crash once.

``--rounds 200`` is the long form: so many deaths of a backfill, and of the service.

What is counted: the documents that an undisturbed run keeps of the same folders, by ``_id``. The engines
know a document again, and so does a file. A forward receiver cannot: a batch that it acknowledged to a
shipper which died before it could note that comes again, the same in all but ``event.ingested``, in chunks
of the same names too; what stands behind the receiver makes it one by ``labels.document_id``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.store import Store, StoreError
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.forward import Receiver
    from tests.engines.search import Engine

ROOT = Path(__file__).parents[2]
LOGS = sorted((ROOT / "tests" / "logs" / "lab").iterdir())
KPANIC = [sys.executable, "-c", "from kpanic.shipper.cli import main; main()"]
SHORT = 5
DEATHS = 10
"""Kills with one store; more crashes arrive before each kill, and all are read again after it."""
CRASHES = 12
"""Number of new crashes before each kill."""


@dataclass
class Count:
    """The counts of a run."""

    deaths: int = 0
    busy: int = 0
    """Kills at which an output had not acknowledged all documents of the store."""
    expected: int = 0
    delivered: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)


class Backfill:
    """A folder of crashes, a configuration, and a shipper."""

    def __init__(self, folder: Path, command: str, outputs: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.namespace = uuid.uuid4().hex[:12]
        self.crash = folder / "crash"
        self.crash.mkdir(parents=True)
        self.config = folder / "kpanic.yml"
        self.out = folder / "out.ndjson"
        self._command = command
        self._numbers = itertools.count()
        settings = {
            "path.data": str(folder / "data"),
            "data_stream.namespace": self.namespace,
            "inputs": [{"type": "kdump", "paths": [str(self.crash)], "scan_interval": 0.1, "settle": 0}],
            "output": outputs | {"file": {"path": str(self.out)}},
        }
        self.config.write_text(json.dumps(settings))  # JSON is YAML

    def crashes(self, count: int) -> None:
        """Write crashes of more hosts, from the logs of the lab."""
        for number in itertools.islice(self._numbers, count):
            into = self.crash / f"10.0.{number // 250}.{number % 250 + 1}-2026-11-22-19:15:38"
            into.mkdir()
            shutil.copy(LOGS[number % len(LOGS)], into / "vmcore-dmesg-incomplete.txt")
            (into / "vmcore-dmesg-incomplete.txt").rename(into / "vmcore-dmesg.txt")

    @contextlib.contextmanager
    def running(self, command: str = "") -> Iterator[subprocess.Popen[str]]:
        """Start the shipper, and wait until it has opened the store."""
        command = command or self._command
        with subprocess.Popen(
            [*KPANIC, command, "-c", str(self.config)], stderr=subprocess.PIPE, cwd=ROOT, text=True
        ) as process:
            lock = self.folder / "data" / "kpanic.db.lock"
            until(
                lambda: (
                    process.poll() is not None
                    or (lock.exists() and lock.read_text().strip() == str(process.pid))
                )
            )
            try:
                yield process
            finally:
                process.kill()

    def left(self) -> int:
        """Return the number of documents that an output lacks."""
        try:
            with Store(self.folder / "data" / "kpanic.db", readonly=True) as store:
                return max((output.pending for output in store.status().outputs), default=1)
        except StoreError:
            return 1

    def finish(self) -> None:
        """Run the shipper to its end."""
        with self.running() as process:
            if self._command == "run":
                expected = self.expected()
                until(lambda: len(self._kept()) == len(expected) and not self.left(), 300)
                process.send_signal(signal.SIGTERM)
            said = process.communicate()[1]
        assert process.returncode == 0, said

    def expected(self) -> set[str]:
        """Return the documents of a shipper that is not killed."""
        apart = self.folder / "undisturbed"
        done = subprocess.run(
            [*KPANIC, "ship", "-E", f"path.data={apart}", str(self.crash)],
            capture_output=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return _ids(apart / "kpanic.db")

    def _kept(self) -> set[str]:
        return _ids(self.folder / "data" / "kpanic.db")

    def lines(self) -> list[dict[str, Any]]:
        """Return the documents in the file."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]


def _ids(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with Store(path, readonly=True) as store:
        return {document["_id"] for document in store.documents()}


def disturbed(fills: Iterator[Backfill], deaths: int, chance: random.Random, count: Count) -> list[Backfill]:
    """Kill the shipper repeatedly, then let it end. Every second kill waits for pending documents."""
    done: list[Backfill] = []
    span = 1.5
    while count.deaths < deaths:
        fill = next(fills)
        done.append(fill)
        for number in range(min(DEATHS, deaths - count.deaths)):
            fill.crashes(CRASHES)
            with fill.running() as process:
                if number % 2:
                    until(lambda: process.poll() is not None or fill.left())  # noqa: B023 - called here
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0, span / 10 if number % 2 else span))
                if process.poll() is not None:  # it ended before the kill
                    span *= 0.8
                    continue
                process.kill()
            count.deaths += 1
            busy = fill.left() > 0
            count.busy += busy
            span = min(1.1 * span, 5) if busy else 0.9 * span
        fill.finish()
    return done


def compare(fill: Backfill, engines: list[Engine], entries: list[dict[str, Any]], count: Count) -> None:
    """Count the documents that each output has."""
    expected = fill.expected()
    assert len(expected) > CRASHES / 2
    count.expected += len(expected)
    names = {"file": [line["labels"]["document_id"] for line in fill.lines()]}
    for engine in engines:
        names[engine.product] = [hit["_id"] for hit in engine.found(f"logs-kernel.panic-{fill.namespace}")]
    names["fluentd"] = [entry["record"]["labels"]["document_id"] for entry in entries]
    for output, found in names.items():
        assert set(found) == expected, output
        count.delivered[output] += len(expected)
        count.twice[output] += len(found) - len(expected)
    first: dict[str, Any] = {}
    for entry in entries:
        del entry["record"]["event"]["ingested"]
        name = entry["record"]["labels"]["document_id"]
        assert first.setdefault(name, entry) == entry, "what comes again can be known again"


@pytest.fixture
def fills(
    opensearch: Engine, elasticsearch: Engine, tmp_path: Path, there: Receiver, request: pytest.FixtureRequest
) -> Iterator[Backfill]:
    """A function that makes backfills to all receivers."""
    command: str = request.getfixturevalue("command")
    outputs = {
        "opensearch": {"hosts": [opensearch.url]},
        "elasticsearch": {"hosts": [elasticsearch.url]},
        "fluentd": {"hosts": [there.host]},
    }
    return (Backfill(tmp_path / str(number), command, outputs) for number in itertools.count())


@pytest.fixture
def there(receiver: Callable[..., Receiver]) -> Receiver:
    """A forward receiver that is not killed."""
    return receiver()


@pytest.fixture
def deaths(request: pytest.FixtureRequest) -> int:
    """The number of kills of the shipper."""
    rounds: int = request.config.getoption("--rounds")
    return SHORT if rounds == 1 else rounds


@pytest.mark.parametrize("command", ["ship", "run"])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_arrives_twice(
    fills: Iterator[Backfill],
    there: Receiver,
    deaths: int,
    command: str,
    request: pytest.FixtureRequest,
) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311
    count = Count()
    done = disturbed(fills, deaths, random.Random(seed), count)  # noqa: S311
    forwarded: dict[str, list[dict[str, Any]]] = {}
    for entry in there.entries():
        forwarded.setdefault(entry["record"]["data_stream"]["namespace"], []).append(entry)
    engines = [request.getfixturevalue(name) for name in ("opensearch", "elasticsearch")]
    for fill in done:
        compare(fill, engines, forwarded[fill.namespace], count)
    if deaths > SHORT:
        with request.getfixturevalue("capsys").disabled():
            print(f"\n{command}: {count}")  # noqa: T201
    assert not any(count.twice[name] for name in ("opensearch", "elasticsearch", "file")), f"{count}, {seed}"
    assert count.busy, "it died while there was something to do"
