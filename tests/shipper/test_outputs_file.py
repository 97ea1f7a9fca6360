"""Documents as lines, in a file and on standard output."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kpanic.shipper.api import ALREADY_THERE, DeliveryStatus, Stored, Unavailable
from kpanic.shipper.outputs.file import FileConfig, FileOutput
from tests.engines.documents import batch, stored


def incidents(path: Path) -> list[str]:
    return [json.loads(line)["event"]["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "panics.ndjson"


def test_each_document_is_a_line_stamped_when_it_was_sent(path: Path) -> None:
    output = FileOutput(FileConfig(path=str(path)))
    outcomes = output.send(batch(3, "a"))
    output.close()
    assert [outcome.status for outcome in outcomes] == [DeliveryStatus.DELIVERED] * 3
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["event"].pop("ingested") > "2026"
    assert lines[0]["labels"].pop("document_id") == stored(0, "a").id
    assert lines[0] == json.loads(stored(0, "a").body)
    assert len(lines) == 3
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_document_of_each_new_signature_is_written_once(path: Path) -> None:
    for count in (4, 9):
        output = FileOutput(FileConfig(path=str(path), signatures=True))
        output.send(batch(count, "a"))
        output.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    signatures = [line for line in lines if "data_stream" not in line]
    assert [line["labels"]["document_id"] for line in signatures] == ["v1-a0", "v1-a1", "v1-a2"]
    assert len(lines) == 12


def test_a_batch_that_was_written_but_not_settled_is_not_written_again(path: Path) -> None:
    FileOutput(FileConfig(path=str(path))).send(batch(3, "a"))
    again = FileOutput(FileConfig(path=str(path)))
    assert [outcome.status for outcome in again.send(batch(5, "a"))] == [DeliveryStatus.DELIVERED] * 5
    assert incidents(path) == [f"v1-a-{number:06}" for number in range(5)]


def test_a_line_that_a_crash_left_unfinished_is_cut_off(path: Path) -> None:
    FileOutput(FileConfig(path=str(path))).send(batch(2, "a"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    FileOutput(FileConfig(path=str(path))).send(batch(2, "a"))
    assert incidents(path) == ["v1-a-000000", "v1-a-000001"]


def test_a_file_that_was_moved_away_is_created_again(path: Path) -> None:
    output = FileOutput(FileConfig(path=str(path)))
    output.send([stored(0, "a")])
    path.rename(path.with_suffix(".1"))
    output.send([stored(1, "a")])
    output.close()
    assert incidents(path.with_suffix(".1")) == ["v1-a-000000"]
    assert incidents(path) == ["v1-a-000001"]


def test_a_batch_that_was_moved_away_before_it_was_settled_is_not_written_again(path: Path) -> None:
    FileOutput(FileConfig(path=str(path))).send(batch(3, "a"))
    path.rename(path.with_name("panics.ndjson.1"))
    FileOutput(FileConfig(path=str(path))).send(batch(5, "a"))
    assert incidents(path) == ["v1-a-000003", "v1-a-000004"]


def test_a_batch_is_found_in_a_file_that_is_moved_on_while_it_is_looked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FileOutput(FileConfig(path=str(path))).send(batch(3, "a"))
    path.rename(path.with_name("panics.ndjson.1"))
    find = Path.glob

    def glob(folder: Path, pattern: str) -> list[Path]:
        monkeypatch.undo()
        found = list(find(folder, pattern))
        path.with_name("panics.ndjson.1").rename(path.with_name("panics.ndjson.2"))
        return found

    monkeypatch.setattr(Path, "glob", glob)
    output = FileOutput(FileConfig(path=str(path)))
    with pytest.raises(Unavailable, match="No such file"):
        output.send(batch(3, "a"))
    assert {one.reason for one in output.send(batch(3, "a"))} == {ALREADY_THERE}
    assert path.read_bytes() == b""


def test_writes_are_not_larger_than_reads(path: Path) -> None:
    documents = [stored(number, "a", cause_detail="x" * 1_000_000) for number in range(20)]
    outcomes = FileOutput(FileConfig(path=str(path))).send(documents)
    written = sum(outcome.status is DeliveryStatus.DELIVERED for outcome in outcomes)
    assert 8_000_000 < path.stat().st_size < 10_000_000
    again = FileOutput(FileConfig(path=str(path)))
    left = documents
    while left:
        left = [
            one
            for one, outcome in zip(left, again.send(left), strict=True)
            if outcome.status is DeliveryStatus.RETRY
        ]
    assert written < 20
    assert incidents(path) == [f"v1-a-{number:06}" for number in range(20)]


def test_the_same_crash_of_two_hosts_is_two_documents_after_a_restart_too(path: Path) -> None:
    first = stored(0, "a")
    second = Stored(1, f"{first.id}-other", first.body)
    FileOutput(FileConfig(path=str(path))).send([first])
    FileOutput(FileConfig(path=str(path))).send([first, second])
    assert incidents(path) == ["v1-a-000000"] * 2


def test_a_full_disk_leaves_no_half_batch(path: Path) -> None:
    output = FileOutput(FileConfig(path=str(path)))
    output.send(batch(2, "a"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20_000, hard))
    try:
        with pytest.raises(Unavailable, match=r"File too large$"):
            output.send(batch(9, "a"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert incidents(path) == ["v1-a-000000", "v1-a-000001"]
    output.send(batch(9, "a"))
    assert incidents(path) == [f"v1-a-{number:06}" for number in range(9)]


def test_a_path_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    output = FileOutput(FileConfig(path=str(tmp_path / "none" / "panics")))
    for action in (output.check, lambda: output.send(batch(1, "a"))):
        with pytest.raises(Unavailable, match="File exists"):
            action()


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    output = FileOutput(FileOutput.Config(path=str(tmp_path / "pipe")))
    with pytest.raises(Unavailable, match=r"pipe: is a named pipe: nothing in it is durable"):
        output.check()


@pytest.mark.process
def test_standard_output_takes_lines_and_a_closed_pipe_is_reported() -> None:
    program = """
from kpanic.shipper.api import Unavailable
from kpanic.shipper.outputs.stdout import StdoutConfig, StdoutOutput
from tests.engines.documents import batch
output = StdoutOutput(StdoutConfig())
output.send(batch(2, "a"))
input()
try:
    for _ in range(100):
        output.send(batch(100, "a"))
except Unavailable as error:
    raise SystemExit(str(error))
"""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=writer,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writer)
        with open(reader) as lines:  # noqa: PTH123 - a descriptor
            assert [json.loads(lines.readline())["event"]["id"] for _ in range(2)] == [
                "v1-a-000000",
                "v1-a-000001",
            ]
        _, said = process.communicate("go\n", timeout=120)
    assert said.splitlines()[0] == "stdout: Broken pipe"
