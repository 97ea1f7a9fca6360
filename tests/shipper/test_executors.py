"""Files parsed by local processes and by workers of a Dask scheduler, some of which are killed meanwhile."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from kpanic.shipper import parsing
from kpanic.shipper.contract import crash_text
from kpanic.shipper.executors import dask as executor_dask
from kpanic.shipper.inputs import log_file
from kpanic.shipper.inputs.sources import Source
from kpanic.shipper.origin import Origin
from tests.engines.dask import Dask
from tests.shipper.processes import KPANIC
from tests.shipper.test_cli import Run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOGS = 200
MANY = 2000
"""Number of crashes of the last log."""
CRASHES = LOGS - 1 + MANY
SHORT = 3
"""Number of kills of a short test."""
LATER = 1 << 20
"""Bytes of output between two kills: a file that costs three processes is given up."""


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs of one crash each, a few of them compressed, and one of many crashes."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(LOGS - 1):
        packed = number % 10 == 0
        text = crash_text(number)
        (folder / f"{number:03}.log").write_bytes(gzip.compress(text) if packed else text)
    (folder / "many.log").write_bytes(b"".join(map(crash_text, range(1000, 1000 + MANY))))
    return folder


@pytest.fixture
def shelf(tmp_path: Path, deaths: int) -> Path:
    """Logs of fifty crashes each; a process reads two of them before the next process is killed."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for number in range(20 + 10 * deaths):
        crashes = map(crash_text, range(50 * number, 50 * number + 50))
        (folder / f"{number:03}.log").write_bytes(b"".join(crashes))
    return folder


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    folder = tmp_path / "dask"
    folder.mkdir()
    made = Dask(folder, 2)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def deaths(request: pytest.FixtureRequest) -> int:
    """The number of processes that are killed."""
    rounds: int = request.config.getoption("--rounds")
    return SHORT if rounds == 1 else rounds


def documents(found: Iterator[parsing.Parsed]) -> list[dict[str, Any]]:
    read = [json.loads(document.body) for parsed in found for document in parsed.documents]
    for document in read:
        del document["event"]["created"]
    return read


def shipped(kpanic: Run) -> list[str]:
    lines = (kpanic.folder / "out.ndjson").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["labels"]["document_id"] for line in lines]


def ship(kpanic: Run, *arguments: object) -> subprocess.Popen[bytes]:
    return started(kpanic, "-E", f"output.file.path={kpanic.folder / 'out.ndjson'}", *arguments)


def started(kpanic: Run, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*KPANIC, "ship", *map(str, arguments)],
        cwd=kpanic.folder,
        env=kpanic.environment,
        stderr=subprocess.PIPE,
    )


def disturbed(process: subprocess.Popen[bytes], kill: Callable[[], bool], deaths: int) -> str:
    """Kill processes of a command at random times; return its output."""
    chance = random.Random()  # noqa: S311
    killed = 0
    until(kill)
    while killed < deaths - 1:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 0.3))
        if process.poll() is not None:
            break
        killed += kill()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err.decode()


def kill_one(command: int) -> bool:
    """Kill one of the processes of a command; return False if it has none."""
    try:
        (nursery,) = psutil.Process(command).children()
        random.choice(nursery.children()).kill()  # noqa: S311
    except (psutil.NoSuchProcess, ValueError, IndexError):
        return False
    return True


# --- processes -------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_task_whose_process_is_killed_runs_again_without_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"
    path = tmp_path / "console.log"
    path.write_bytes(b"".join(map(crash_text, range(500))))

    def read(path: str, base: Origin) -> Iterator[Source]:
        def crashes() -> Iterator[Any]:
            for number, crash in enumerate(log_file.read(path, base)):
                if number == 300 and not killed.exists():
                    killed.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield crash

        yield Source(path, crashes())

    monkeypatch.setattr(parsing, "sources", read)
    found = list(parsing.parse_files([str(path)] * 3, Origin("file"), on=2))
    assert killed.exists()
    assert [parsed.fault for parsed in found if parsed.complete] == ["", "", ""]
    pids = [json.loads(one.body)["process"]["pid"] for parsed in found for one in parsed.documents]
    assert pids == [*range(1000, 1500)] * 3


def test_standard_input_is_read_among_files_that_processes_read(kpanic: Run, logs: Path) -> None:
    out, _ = kpanic("parse", "--jobs", "2", logs / "001.log", "-", logs / "002.log", text=crash_text(7000))
    assert [json.loads(line)["process"]["pid"] for line in out.splitlines()] == [1001, 8000, 1002]


def test_processes_end_with_a_command_that_is_killed(kpanic: Run, logs: Path) -> None:
    process = ship(kpanic, "--on", "local:2", logs)
    children: list[psutil.Process] = []

    def serve() -> bool:
        children[:] = psutil.Process(process.pid).children(recursive=True)
        return len(children) >= 3

    until(serve)
    process.kill()
    process.communicate()
    until(lambda: not any(map(lives, children)))


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # its new parent may reap it later
    except psutil.NoSuchProcess:
        return False


@pytest.mark.process
@pytest.mark.parametrize("where", ["local:2", "dask"])
def test_processes_that_are_killed_at_random_lose_nothing(
    kpanic: Run, shelf: Path, deaths: int, where: str, request: pytest.FixtureRequest
) -> None:
    dask: Dask | None = request.getfixturevalue("dask") if where == "dask" else None
    process = ship(kpanic, "--on", dask.address if dask else where, shelf)
    out = kpanic.folder / "out.ndjson"
    killed = [0]  # bytes of the output at each kill

    def kill() -> bool:
        size = out.stat().st_size if out.exists() else 0
        if size < killed[-1] + LATER:
            return False
        if done := dask.kill(random.choice([1, 2])) if dask else kill_one(process.pid):  # noqa: S311
            killed.append(size)
        return done

    said = disturbed(process, kill, deaths)
    files = len(list(shelf.iterdir()))
    assert len(killed) == 1 + deaths
    assert f"{files} files, {50 * files} crashes: {50 * files} new" in said
    assert "Traceback" not in said
    found = shipped(kpanic)
    assert len(found) == len(set(found)) == 50 * files


# --- Dask ------------------------------------------------------------------------------------------


@pytest.mark.process
def test_workers_of_a_scheduler_give_the_same_documents_in_the_same_order(dask: Dask, logs: Path) -> None:
    paths = sorted(map(str, logs.iterdir()))
    there = documents(parsing.parse_files(paths, Origin("file"), on=dask.address))
    assert there == documents(parsing.parse_files(paths, Origin("file")))
    assert len(there) == CRASHES


@pytest.mark.process
@pytest.mark.parametrize("dies", [False, True])
def test_results_of_a_task_are_fetched_in_batches(dask: Dask, dies: bool) -> None:  # noqa: FBT001
    tasks: executor_dask.Dask[int] = executor_dask.Dask(iter, dask.address)
    runs = [tasks.submit(range(count)) for count in (50, 3 * executor_dask.SOME, 0, 1)]
    found: list[list[int]] = []

    def taken(run: Any) -> bool:  # noqa: ANN401 - a task of this executor
        if (sent := run.take()) is not None:
            found[-1].append(sent)
        elif not run.ended:
            if dies and len(found[-1]) == 2 * executor_dask.SOME:
                dask.kill(1)
                dask.kill(2)
            tasks.wait(run)
            assert len(run.sent) <= executor_dask.SOME
        return run.ended

    for run in runs:
        found.append([])
        until(partial(taken, run), 300, every=0)
    tasks.close()
    assert found == [[*range(50)], [*range(3 * executor_dask.SOME)], [], [0]]


@pytest.mark.process
def test_a_scheduler_that_is_killed_loses_nothing(kpanic: Run, dask: Dask, logs: Path) -> None:
    process = ship(kpanic, "--on", dask.address, logs)
    said = disturbed(process, lambda: (kpanic.folder / "out.ndjson").exists() and dask.kill(0), 1)
    assert f"{LOGS} files, {CRASHES} crashes: {CRASHES} new" in said
    assert "the scheduler is gone" in said
    assert "Traceback" not in said
    found = shipped(kpanic)
    assert len(found) == len(set(found)) == CRASHES


@pytest.mark.process
def test_files_that_workers_cannot_open_are_refused(kpanic: Run) -> None:
    _, err = kpanic("ship", "--on", "dask://127.0.0.1:1", "console.log", code=2)
    assert err == "kpanic: console.log: workers are in another folder: give its absolute path\n"
    _, err = kpanic("ship", "--on", "dask://127.0.0.1:1", "https://web/log?key=secret", code=2)
    assert "the password or query of a URL is not sent to workers" in err
    assert "secret" not in err
    _, err = kpanic("ship", "--on", "dask://127.0.0.1:1", kpanic.folder, code=1)
    assert err == "kpanic: no Dask scheduler answers at dask://127.0.0.1:1\n"


@pytest.mark.process
@pytest.mark.parametrize("where", ["remote", "local:0", "local:many", "dask://host", "dask://host:port"])
def test_an_invalid_place_is_refused(kpanic: Run, where: str) -> None:
    _, err = kpanic("ship", "--on", where, "/var/crash", code=2)
    assert f"{where!r} is not local, local:N with N up to 256, or dask://HOST:PORT" in err
