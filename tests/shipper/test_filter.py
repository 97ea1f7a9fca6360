"""``kpanic filter``: its output, its confirmations, and its state."""

from __future__ import annotations

import functools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from fluent.sender import EventTime

from kpanic.shipper.api import Stored
from kpanic.shipper.inputs.syslog_messages import read_header
from kpanic.shipper.outputs.bulk_actions import bulk_actions
from tests.shipper.filters import BUG, OOPS, Filter, shipped, untimed
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


def printed(*options: str, text: bytes = OOPS) -> list[dict[str, Any]]:
    with Filter(*options) as filtering:
        filtering.write(text)
        return [json.loads(line) for line in filtering.end()]


@functools.cache
def plain() -> dict[str, Any]:
    (document,) = printed()
    return document


def test_a_document_is_what_the_service_ships(tmp_path: Path) -> None:
    document = plain()
    (other,) = shipped(tmp_path, OOPS)
    assert untimed(document) == untimed(other)
    assert document["labels"]["document_id"] == other["labels"]["document_id"]
    assert document["event"]["created"] <= document["event"]["ingested"]
    assert document["agent"]["name"] == os.uname().nodename


def test_the_document_of_a_signature_is_what_an_output_writes() -> None:
    crash, signature = printed("--signatures", "--tag", "kernel.panic")
    assert (crash.pop("tag"), signature.pop("tag")) == ("kernel.panic", "kernel.panic.signature")
    stored = Stored(1, "id", json.dumps(crash).encode())
    _, action = bulk_actions(stored, signature["event"]["ingested"], seeded=False, known=set())
    head, body = (json.loads(line) for line in action.lines.splitlines())
    assert signature.pop("labels") == {"document_id": head["create"]["_id"]}
    assert signature == body
    assert signature["kind"] == "oops"


def test_a_crash_that_comes_twice_is_printed_once() -> None:
    assert len(printed("--signatures", text=OOPS + BUG + OOPS)) == 4


def test_settings_of_the_service_are_its_settings_too() -> None:
    (document,) = printed("-E", "labels.rack=r1", "-E", "tags=[lab]", "-E", "data_stream.namespace=lab")
    assert document["labels"]["rack"] == "r1"
    assert document["tags"] == ["lab"]
    assert document["data_stream"]["namespace"] == "lab"


@pytest.mark.parametrize("kind", ["record", "event", "tagged event", "bytes"])
def test_records_in_messagepack_are_read(kind: str) -> None:
    """Fluentd's exec_filter writes records, its buffers write events; a tag may precede them.

    Ruby packs a string of no encoding as bytes.
    """
    when = EventTime(1_777_000_000.5)
    stream = b""
    for line in OOPS.splitlines():
        record = {"message": line.decode("utf-8", "replace"), "host": "web-1", "ident": "kernel", 7: b"\xff"}
        stream += msgpack.packb(
            {
                "record": record,
                "event": [when, record],
                "tagged event": ["kern", when, record],
                "bytes": {"host": {b"name": b"web-1"}, b"message": line},
            }[kind]
        )
    (document,) = printed("--input-format", "msgpack", text=stream)
    assert document["host"]["name"] == "web-1"
    assert document["kernel"]["panic"]["parse"]["status"] == "complete"


def test_invalid_messagepack_is_reported_and_earlier_documents_are_printed() -> None:
    stream = b"".join(msgpack.packb({"message": line.decode()}) for line in BUG.splitlines())
    for end in (b"\xc1", msgpack.packb("text"), b"<4>Apr 29 11:32:26 web-1 kernel: Oops\n"):
        with Filter("--input-format", "msgpack") as filtering:
            filtering.write(stream + end)
            assert filtering.document()["kernel"]["panic"]["kind"] == "bug"
            assert filtering.process.wait(60) == 1
            assert filtering.process.stderr
            assert b"standard input is not MessagePack" in filtering.process.stderr.read()


def test_documents_in_messagepack_are_events() -> None:
    with Filter("--output-format", "msgpack", "--signatures", "--tag", "kernel.panic") as filtering:
        filtering.write(OOPS)
        filtering.input.close()
        unpacker = msgpack.Unpacker()
        unpacker.feed(filtering.output.read())
        (tag, when, record), (second, _, _) = unpacker
    assert (tag, second) == ("kernel.panic", "kernel.panic.signature")
    assert (when.code, len(when.data)) == (0, 8)
    assert untimed(record) == untimed(plain())
    with Filter("--output-format", "msgpack") as filtering:
        filtering.write(OOPS)
        filtering.input.close()
        assert msgpack.unpackb(filtering.output.read())[0] == when


def test_documents_in_syslog_are_messages_of_our_own_and_no_kernel_reads_them() -> None:
    lines = [
        json.dumps({"message": line.decode("utf-8", "replace"), "host": "web-1"})
        for line in OOPS.splitlines()
    ]
    text = "\n".join(lines).encode()
    (other,) = printed(text=text)
    with Filter("--output-format", "syslog", "--tag", "panic") as filtering:
        filtering.write(text)
        (message,) = filtering.end()
    header, _, body = message.partition(b" - {")
    assert header.startswith(b"<8>1 20")
    assert header.endswith(b" web-1 kpanic - panic")
    assert not read_header(message).kernel
    assert untimed(json.loads(b"{" + body)) == untimed(other)


def test_a_hostile_host_and_time_make_a_message_and_an_event_all_the_same() -> None:
    lines = [line for line in OOPS.splitlines() if b"system clock" not in line]
    text = b"\n".join(b"2190-01-02T03:04:05.000000+00:00 web1 kernel: " + line for line in lines)
    with Filter("--output-format", "msgpack") as filtering:
        filtering.write(text)
        filtering.input.close()
        when, record = msgpack.unpackb(filtering.output.read())
    assert record["@timestamp"].startswith("2190-")
    assert int.from_bytes(when.data[:4], "big") == 0xFFFFFFFF
    host = "web\x1b]0;x\x07 1\u202e\x7f"
    text = b"\n".join(json.dumps({"message": line.decode(), "host": host}).encode() for line in lines)
    with Filter("--output-format", "syslog") as filtering:
        filtering.write(text)
        (message,) = filtering.end()
    assert message.partition(b" - {")[0].split()[2:] == [b"web]0;x1", b"kpanic", b"-", b"-"]


def test_the_document_comes_a_quiet_time_after_the_last_line() -> None:
    for quiet in (0.2, 2):
        with Filter("--close-quiet", str(quiet)) as filtering:
            began = time.monotonic()
            filtering.write(OOPS)
            filtering.document()
            assert time.monotonic() - began > quiet
            assert filtering.process.poll() is None, "not only at the end"


def halves(text: bytes) -> tuple[list[bytes], list[bytes]]:
    lines = text.splitlines(keepends=True)
    middle = next(number for number, line in enumerate(lines) if b"Call Trace" in line) + 2
    return lines[:middle], lines[middle:]


def confirmed(filtering: Filter, lines: list[bytes]) -> None:
    """Write a line and wait until it is confirmed, as rsyslog does."""
    for line in lines:
        filtering.write(line)
        assert filtering.line() == b"OK\n"


def test_each_line_is_confirmed_and_a_crash_survives_a_kill_in_its_middle(tmp_path: Path) -> None:
    target = tmp_path / "panics.ndjson"
    options = ("--confirm", "-o", str(target), "--state", str(tmp_path / "state"), "--close-quiet", "5")
    before, after = halves(OOPS)
    with Filter(*options) as filtering:
        assert filtering.line() == b"OK\n", "that it is there"
        confirmed(filtering, before)
        filtering.write(after[0])  # accepted, but killed before the confirmation
        assert filtering.line() == b"OK\n"
        filtering.kill()
    with Filter(*options) as filtering:
        assert filtering.line() == b"OK\n"
        confirmed(filtering, after)
        until(lambda: target.exists() and target.stat().st_size)
        filtering.kill()
    with Filter(*options) as filtering:
        assert filtering.line() == b"OK\n"
        assert filtering.end() == []
    (document,) = [json.loads(line) for line in target.read_text().splitlines()]
    assert untimed(document) == untimed(plain())


def test_printed_documents_are_not_printed_again_after_a_restart(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"), "--signatures", "--close-quiet", "1")
    for text in (OOPS, OOPS + BUG):
        with Filter(*options) as filtering:
            filtering.write(text)
            first, second = filtering.document(), filtering.document()
            assert first["kernel"]["panic"]["title"] == second["title"]
            assert filtering.end() == []
    assert printed(*options, text=b"") == []


@pytest.mark.parametrize("end", ["end of input", "SIGTERM"])
def test_a_crash_that_is_open_at_the_end_is_left_to_the_next_filter(tmp_path: Path, end: str) -> None:
    """The pipe is closed if the product is killed or restarted."""
    options = ("--state", str(tmp_path / "state"), "--close-quiet", "1")
    journal = tmp_path / "state" / "journal"
    before, after = halves(OOPS)
    with Filter(*options, "--close-quiet", "600") as filtering:
        filtering.write(b"".join(before))
        until(lambda: journal.exists() and before[-1] in journal.read_bytes())
        if end == "SIGTERM":
            filtering.process.terminate()
        assert filtering.end() == []
        assert filtering.process.stderr
        said = filtering.process.stderr.read().decode()
        assert said == f"kpanic: a crash is open; it is kept in {tmp_path}/state for the next filter\n"
    with Filter(*options) as filtering:
        filtering.write(b"".join(after))
        document = filtering.document()
    assert untimed(document) == untimed(plain())


def test_a_crash_that_was_complete_and_not_printed_is_printed_after_a_restart(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "state"))
    journal = tmp_path / "state" / "journal"
    with Filter(*options, "--close-quiet", "600") as filtering:
        filtering.write(OOPS)
        until(lambda: journal.exists() and journal.stat().st_size > len(OOPS))
        filtering.kill()
    journal.write_bytes(journal.read_bytes() + b"\x92\xcb\x40")  # the power failed
    with Filter(*options, "--close-quiet", "1") as filtering:
        document = filtering.document()
    assert untimed(document) == untimed(plain())


def test_two_filters_do_not_share_a_folder(tmp_path: Path) -> None:
    with Filter("--state", str(tmp_path)) as first, Filter("--state", str(tmp_path)) as second:
        until(lambda: first.process.poll() or second.process.poll())
        ended = second if second.process.poll() else first
        assert ended.process.returncode == 1
        assert ended.process.stderr
        assert b"another kpanic filter uses it" in ended.process.stderr.read()


@pytest.mark.parametrize("planted", ["journal", "journal.old"])
def test_a_folder_that_others_may_write_to_is_refused_and_nothing_in_it_is_opened(
    tmp_path: Path, planted: str
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.mkfifo(folder / planted)
    folder.chmod(0o777)
    with Filter("--state", str(folder)) as filtering:
        assert filtering.process.wait(60) == 1
        assert filtering.process.stderr
        assert b"others may write to it" in filtering.process.stderr.read()


def test_a_state_that_cannot_be_kept_confirms_nothing(tmp_path: Path) -> None:
    target = tmp_path / "panics.ndjson"
    options = ("--confirm", "-o", str(target), "--state", str(tmp_path / "state"))
    with Filter(*options, largest_file=5000) as filtering:
        assert filtering.line() == b"OK\n"
        filtering.write(b"x" * 200 + b"\n")
        assert filtering.line() == b"OK\n"
        filtering.write(b"x" * 6000 + b"\n")
        assert b"File too large" in filtering.line()
        filtering.write(b"x" * 100 + b"\n")
        assert filtering.line() == b"OK\n"


def test_the_journal_does_not_grow_without_end(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path), "--close-quiet", "1")
    before, after = halves(OOPS)
    noise = b"".join(b"<6>[ %5d.0] eth0: link becomes ready\n" % number for number in range(40_000))
    with Filter(*options, "--close-quiet", "600") as filtering:
        for _ in range(5):
            filtering.write(noise)
        filtering.write(b"".join(before))
        until(lambda: (tmp_path / "journal").read_bytes().endswith(before[-1]))
        filtering.kill()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 6_000_000
    with Filter(*options) as filtering:
        filtering.write(b"".join(after))
        document = filtering.document()
    assert document["kernel"]["panic"]["parse"]["status"] == "complete"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--confirm",), "needs --output"),
        (("--confirm", "-o", "x", "--input-format", "msgpack"), "--input-format lines"),
        (("-o", "x", "--output-format", "syslog"), "JSON lines"),
        (("--state", "/dev/null/x"), "Not a directory"),
        (("-E", "lables.a=b"), "labels"),
    ],
)
def test_impossible_requests_are_reported(options: tuple[str, ...], word: str) -> None:
    with Filter(*options) as filtering:
        assert filtering.process.wait(60) > 0
        assert filtering.process.stderr
        assert word in filtering.process.stderr.read().decode()
