"""``kpanic filter`` and ``type: stdin`` with the input of other collectors."""

from __future__ import annotations

import array
import fcntl
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic.shipper.inputs.piped_lines import PipedLines
from kpanic.shipper.inputs.stdin import StdinInput
from tests.shipper.feed import running
from tests.shipper.rsyslog import rsyslog
from tests.waiting import stays, until

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport

pytestmark = pytest.mark.process
LOGS = Path(__file__).parent.parent / "logs"
OOPS, BUG = (
    (LOGS / "lab" / f"6.1.0-56-amd64-x86_64-{name}.log").read_bytes().replace(b"\r\n", b"\n")
    for name in ("null_read", "bug")
)
FILTER = [sys.executable, "-c", "from kpanic.shipper.cli import main; main()", "filter"]
ROOT = LOGS.parent.parent


def started(*options: str, **streams: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([*FILTER, *options], cwd=ROOT, **given)


def filtered(text: bytes) -> list[dict[str, Any]]:
    done = subprocess.run(FILTER, input=text, capture_output=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line) for line in done.stdout.splitlines()]


def titles(documents: list[dict[str, Any]]) -> list[str]:
    return sorted(document["kernel"]["panic"]["title"] for document in documents)


JOURNAL = {"words": "MESSAGE", "_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "1"}


def test_lines_go_in_and_documents_come_out() -> None:
    parsed = subprocess.run(
        [*FILTER[:-1], "parse", "-"], input=OOPS, capture_output=True, check=True, cwd=ROOT
    ).stdout
    assert titles(filtered(OOPS)) == titles([json.loads(line) for line in parsed.splitlines()]) != []
    assert filtered(b"") == filtered(b"nothing\nto see") == []
    assert titles(filtered(OOPS.rstrip(b"\n"))) == titles(filtered(OOPS))


def test_a_document_comes_out_as_soon_as_the_host_is_quiet_and_not_only_at_the_end() -> None:
    with started("--close-quiet", "1") as process:
        assert process.stdin
        assert process.stdout
        try:
            for text in (OOPS, BUG):
                process.stdin.write(text)
                process.stdin.flush()
                ready, _, _ = select.select([process.stdout], [], [], 60)
                assert ready
                assert (
                    json.loads(process.stdout.readline())["kernel"]["panic"]["parse"]["status"] == "complete"
                )
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_what_is_open_comes_out(number: signal.Signals) -> None:
    with started("--close-quiet", "600") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(OOPS)
        process.stdin.flush()
        until(lambda: not _unread(process.stdin))
        stays(lambda: process.poll() is None, 0.5)
        process.send_signal(number)
        assert process.wait(60) == 0
        assert titles([json.loads(process.stdout.read())])


def _unread(pipe: Any) -> int:  # noqa: ANN401
    """Return the number of unread bytes in a pipe."""
    left = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    return left[0]


def test_a_reader_that_closes_the_pipe_ends_it_silently() -> None:
    with started("--close-quiet", "0.2") as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(OOPS)
        process.stdin.flush()
        assert process.wait(60) == 1  # something could not be delivered
        assert process.stderr.read() == b""


def records(console: bytes, **fields: Any) -> list[bytes]:  # noqa: ANN401
    """Return lines as collectors forward them; ``words`` is the name of their field."""
    words = fields.pop("words")
    return [
        json.dumps({**fields, words: line.decode("utf-8", "replace")}).encode()
        for line in console.splitlines()
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"words": "message", "host": "web-1"}, {"words": "message", "host": "web-2"}),
        (  # Fluentd's in_syslog
            {"words": "message", "host": "web-1", "ident": "kernel"},
            {"words": "message", "host": "web-2", "ident": "kernel"},
        ),
        (  # Filebeat, Logstash with ECS
            {"words": "message", "host": {"name": "web-1"}, "@timestamp": "2026-11-22T19:31:14Z"},
            {"words": "message", "host": {"hostname": "web-2"}},
        ),
        ({"words": "log", "hostname": "web-1"}, {"words": "log", "hostname": "web-2"}),
        ({"words": "msg", "host.name": "web-1"}, {"words": "msg", "host.name": "web-2"}),  # rsyslog
        ({"words": "MESSAGE", "_HOSTNAME": "web-1"}, {"words": "MESSAGE", "_HOSTNAME": "web-2"}),
        ({**JOURNAL, "_HOSTNAME": "web-1"}, {**JOURNAL, "_HOSTNAME": "web-2"}),
    ],
)
def test_records_of_collectors_are_read_and_their_hosts_kept_apart(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = (_bare(OOPS), _bare(BUG)) if "_TRANSPORT" in one else (OOPS, BUG)
    both = zip(records(first, **one), records(second, **other), strict=False)
    mixed = [line for lines in both for line in lines]
    documents = filtered(b"\n".join(mixed))
    assert sorted(document["host"]["name"] for document in documents) == ["web-1", "web-2"]
    assert {document["kernel"]["panic"]["parse"]["status"] for document in documents} == {"complete"}


def _bare(console: bytes) -> bytes:
    return b"\n".join(line.partition(b"] ")[2] for line in console.splitlines() if line.startswith(b"["))


def test_records_of_other_programs_and_records_without_words_are_passed_over() -> None:
    lines = records(OOPS, words="message", host="web-1", ident="sshd")
    lines += [b"{}", b"[]", b"{", b'{"message": 7}', b"\xff{\xff", b'{"message": "' + b"x" * 3_000_000]
    assert filtered(b"\n".join(lines)) == []


class Gathered:
    def __init__(self) -> None:
        self.titles: list[tuple[str, str]] = []

    def take(self, complete: list[tuple[str, CrashReport]]) -> None:
        self.titles += [(host, report.title) for host, report in complete]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(OOPS)), max_size=6).map(sorted), st.booleans())
def test_the_chunks_of_a_pipe_change_nothing(cuts: list[int], in_json: bool) -> None:  # noqa: FBT001
    text = b"\n".join(records(OOPS, words="message", host="web-1")) if in_json else OOPS
    whole, pieces = Gathered(), Gathered()
    for gathered, places in ((whole, [0, len(text)]), (pieces, [0, *cuts, len(text)])):
        lines = PipedLines(10.0, pytest.fail, gathered.take)
        for start, end in itertools.pairwise(places):
            lines.feed(text[start:end])
        lines.flush()
    assert pieces.titles == whole.titles != []


def test_standard_input_is_an_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", stream)
        with running(StdinInput, close_quiet=1.0) as feed:
            pipe.write(OOPS)
            until(lambda: len(feed.crashes) == 1)
            pipe.write(BUG)
            pipe.close()
            until(lambda: len(feed.crashes) == 2)
    assert feed.said == []


def test_a_file_and_nothing_at_all_can_be_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_bytes(OOPS)
    for path, number in ((str(tmp_path / "log"), 1), (os.devnull, 0)):
        with open(path, encoding="utf-8") as stream:  # noqa: PTH123
            monkeypatch.setattr(sys, "stdin", stream)
            with running(StdinInput, close_quiet=600) as feed:
                if number:
                    until(lambda feed=feed: feed.crashes)
        assert (len(feed.crashes), feed.said) == (number, [])
    monkeypatch.setattr(sys, "stdin", None)
    with running(StdinInput) as feed:
        until(lambda: feed.said)
    assert len(feed.said) == 1


def test_rsyslog_starts_it_and_keeps_what_it_prints(tmp_path: Path) -> None:
    """As in docs/pipelines.md: omprog, with the documents in a file."""
    program = tmp_path / "kpanic"
    main = "from kpanic.shipper.cli import main; main()"
    program.write_text(f"#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -c '{main}' \"$@\"\n")
    program.chmod(0o755)
    out = tmp_path / "panics.ndjson"
    run = f"{program} filter --close-quiet 4"
    action = f'type="omprog" binary="{run}" output="{out}" template="RSYSLOG_FileFormat"'
    with rsyslog(tmp_path, action) as log:
        with log.open("ab") as stream:
            stream.write(OOPS)
        until(lambda: out.exists() and out.read_bytes())
    (document,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert document["kernel"]["panic"]["parse"]["status"] == "complete"
    assert document["host"]["name"] == "web-1"
