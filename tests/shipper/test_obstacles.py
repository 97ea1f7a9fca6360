"""Obstacles to a start of the service that ``kpanic test config`` reports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.obstacles import Tried, unbindable, unreadable, unwritable
from kpanic.shipper.outputs.file import FileConfig, FileOutput
from tests.engines import parts
from tests.shipper.processes import KPANIC
from tests.shipper.test_cli import LOGS, Run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65_534


@pytest.fixture
def private() -> Iterator[Path]:
    """Yield a folder that other users may not enter, in one that they may."""
    above = Path(tempfile.mkdtemp())
    above.chmod(0o755)
    made = above / "private"
    made.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    yield made
    made.chmod(0o700)
    shutil.rmtree(above)


@pytest.fixture
def nobody(private: Path) -> Iterator[None]:  # noqa: ARG001 - made first
    """Run the test as a user with few rights."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("nobody")
def test_a_file_without_permission_is_reported_with_advice(private: Path) -> None:
    (line,) = unreadable([str(private)])
    assert line.startswith(
        f"{private}: cannot be read by this user: Permission denied; it needs CAP_DAC_READ"
    )
    assert list(unreadable([f"{private.parent}/later"])) == []


@pytest.mark.usefixtures("nobody")
def test_a_file_that_may_not_be_written_is_reported(private: Path) -> None:
    (line,) = unwritable(private / "a" / "b")
    assert line == f"{private}/a/b: cannot be made: {private} cannot be written by this user"


def test_a_folder_that_would_be_inside_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (line,) = unwritable(tmp_path / "file" / "kpanic.db")
    assert line.endswith(f"cannot be made: {tmp_path}/file is not a folder")
    assert list(unwritable(tmp_path / "new" / "kpanic.db")) == []
    assert not (tmp_path / "new").exists()


def test_an_address_in_use_is_reported() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        where = other.getsockname()
        (line,) = unbindable(socket.SOCK_DGRAM, "127.0.0.1:x", where)
        assert line == "127.0.0.1:x: cannot listen: Address already in use"
    assert list(unbindable(socket.SOCK_DGRAM, "127.0.0.1:x", where)) == []


def test_the_file_output_makes_its_folder_when_it_writes_and_not_before(tmp_path: Path) -> None:
    output = FileOutput(FileConfig(path=str(tmp_path / "a" / "b" / "panics.ndjson")))
    assert isinstance(output, Tried)
    assert list(output.obstacles()) == []
    assert not (tmp_path / "a").exists()
    assert output.check().endswith("writable")
    assert (tmp_path / "a" / "b" / "panics.ndjson").exists()
    output.close()


@pytest.mark.process
def test_test_config_finds_what_a_start_trips_over(tmp_path: Path) -> None:
    kpanic = Run(tmp_path)
    (tmp_path / "file").write_text("")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        (tmp_path / "kpanic.yml").write_text(
            f"""
inputs: [{{type: netconsole, host: '127.0.0.1:{port}'}}, {{type: kdump}}]
output.file.path: {tmp_path}/file/panics.ndjson
"""
        )
        _, err = kpanic("test", "config", "-c", "kpanic.yml", code=1)
    assert "output.file: " in err
    assert f"{tmp_path}/file is not a folder" in err
    assert f"inputs[0]: 127.0.0.1:{port}: cannot listen: Address already in use" in err
    assert not kpanic.store.parent.exists()
    out, _ = kpanic("test", "config", "-c", "kpanic.yml", "-E", f"output.file.path={tmp_path}/new/x")
    assert ": fine; " in out


@pytest.mark.process
def test_a_running_service_is_no_obstacle_to_itself(tmp_path: Path) -> None:
    kpanic = Run(tmp_path)
    port = parts.free_port(28_000, socket.SOCK_DGRAM)
    (tmp_path / "kpanic.yml").write_text(f"inputs: [{{type: netconsole, host: '127.0.0.1:{port}'}}]\n")
    errors = tmp_path / "errors"
    with (
        errors.open("wb") as sink,
        subprocess.Popen(
            [*KPANIC, "run", "-c", str(tmp_path / "kpanic.yml")],
            stderr=sink,
            env=kpanic.environment,
            cwd=LOGS.parent.parent,
        ) as process,
    ):
        until(lambda: b"running; inputs" in errors.read_bytes())
        out, err = kpanic("test", "config", "-c", "kpanic.yml")
        process.terminate()
    assert ": fine; " in out
    assert f"process {process.pid} runs with this store" in err


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_root_checks_the_configuration_of_a_service_that_runs_as_another_user(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    os.chown(store, NOBODY, NOBODY)
    crash = tmp_path / "crash"
    crash.mkdir()
    command = [*KPANIC, "test", "config", "-E", f"path.data={store}"]
    command += ["-E", f"inputs=[{{type: kdump, paths: [{crash}]}}]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (
        done.stderr
        == f"kpanic: {store} belongs to uid {NOBODY}, who runs the service: its start is not tried\n"
    )
    assert done.returncode == 0
