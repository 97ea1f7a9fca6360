"""The contract of plugins: the built-in inputs and outputs keep it, and broken ones are detected."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import os
import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.shipper.api import DeliveryStatus, Outcome, Settings, Stored, Unavailable
from kpanic.shipper.contract import ContractError, check_input, check_output
from kpanic.shipper.inputs import stdin
from kpanic.shipper.inputs.file import FileInput
from kpanic.shipper.inputs.journal import JournalInput
from kpanic.shipper.inputs.kdump import KdumpInput
from kpanic.shipper.inputs.kmsg import KmsgInput
from kpanic.shipper.inputs.netconsole import NetconsoleInput
from kpanic.shipper.inputs.pstore import PstoreInput
from kpanic.shipper.inputs.stdin import StdinInput
from kpanic.shipper.inputs.syslog import SyslogInput
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.file import FileOutput
from kpanic.shipper.outputs.fluentd import FluentdOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.outputs.stdout import StdoutOutput
from kpanic.shipper.setup import setup_index_management
from tests.shipper.journals import Machine
from tests.shipper.test_inputs_sockets import port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.engines.forward import Receiver
    from tests.engines.proxy import HttpProxy
    from tests.engines.search import Engine

pytestmark = pytest.mark.timed
QUIET = 1.0


def made(kind: Any, **config: object) -> Callable[[], Any]:  # noqa: ANN401
    return lambda: kind(msgspec.convert(config, kind.Config))


# ---------------------------------------------------------------- inputs


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "messages"

    def write(text: bytes) -> None:
        with path.open("ab") as file:
            file.write(text)

    check_input(made(FileInput, paths=[str(path)], close_quiet=QUIET, scan_interval=0.2), write, lasting=True)


def test_kdump(tmp_path: Path) -> None:
    crashes = tmp_path / "crash"
    crashes.mkdir()
    seconds = iter(range(60))

    def write(text: bytes) -> None:
        appear(crashes / f"127.0.0.1-2026-04-29-20:32:{next(seconds):02}", "vmcore-dmesg.txt", text)

    check_input(made(KdumpInput, paths=[str(crashes)], settle=0, scan_interval=0.2), write, lasting=True)


def appear(folder: Path, name: str, text: bytes) -> None:
    """Make a folder with one file atomically: reading an empty folder first would change the positions."""
    beside = folder.parent.parent / "made"
    beside.mkdir()
    (beside / name).write_bytes(text)
    beside.rename(folder)


def test_pstore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpanic.shipper.inputs.pstore.SETTLE", 0.5)
    records = tmp_path / "pstore"
    records.mkdir()
    numbers = iter(range(100))

    def write(text: bytes) -> None:
        number = next(numbers)
        appear(records / str(number), f"dmesg-efi-{number}", text)

    check_input(made(PstoreInput, paths=[str(records)], scan_interval=0.2), write, lasting=True)


@pytest.mark.journal
def test_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpanic.shipper.inputs.journal.AGAIN", 0.5)
    machine = Machine.made(tmp_path / "journal")
    check_input(
        made(JournalInput, paths=[str(machine.folder)], close_quiet=QUIET),
        lambda text: void(machine.write(text)),
        lasting=True,
    )


def void(_: object) -> None:
    """Ignore a result."""


def test_kmsg(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)  # a reader too, so that the pipe does not end
    sequence = iter(range(1_000_000))

    def write(text: bytes) -> None:
        for line in text.splitlines():
            found = re.match(rb"\[ *(\d+)\.(\d+)\] (.*)", line)
            clock, words = (found[1] + found[2], found[3]) if found else (b"1", line[:900])
            os.write(descriptor, b"6,%d,%s,-;%s\n" % (next(sequence), clock, words))

    try:
        check_input(made(KmsgInput, path=str(path), close_quiet=QUIET), write, lasting=False)
    finally:
        os.close(descriptor)


def test_netconsole() -> None:
    to = port()

    def write(text: bytes) -> None:
        until(lambda: listening("udp", to))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for at in range(0, len(text), 1000):
                sender.sendto(text[at : at + 1000], ("127.0.0.1", to))

    check_input(made(NetconsoleInput, host=f"127.0.0.1:{to}", close_quiet=QUIET), write, lasting=False)


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_syslog(protocol: str) -> None:
    to = port(socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    config = {"protocol": {protocol: {"host": f"127.0.0.1:{to}"}}, "close_quiet": QUIET}

    def write(text: bytes) -> None:
        until(lambda: listening(protocol, to))
        messages = [b"<4>Apr 29 11:32:26 web-1 kernel: " + line[:1000] for line in text.splitlines()]
        if protocol == "tcp":
            with socket.create_connection(("127.0.0.1", to)) as sender:
                sender.sendall(b"\n".join(messages) + b"\n")
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for message in messages:
                sender.sendto(message, ("127.0.0.1", to))

    check_input(made(SyslogInput, **config), write, lasting=False)


def listening(protocol: str, to: int) -> bool:
    """Tell whether a process listens on a port, without binding it."""
    state = "07" if protocol == "udp" else "0A"
    with open(f"/proc/net/{protocol}") as table:  # noqa: PTH123
        return any(re.search(rf":{to:04X} 0{{8}}:0000 {state} ", line) for line in table)


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        monkeypatch.setattr(stdin.sys, "stdin", stream)
        check_input(
            made(StdinInput, close_quiet=QUIET), lambda text: void(write_all(writing, text)), lasting=False
        )
    os.close(writing)


def write_all(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


# ---------------------------------------------------------------- outputs


def test_output_file(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "panics.ndjson"

    @contextmanager
    def outage() -> Iterator[None]:
        folder.rename(tmp_path / "away")
        folder.touch()  # a missing folder is made
        yield
        folder.unlink()
        (tmp_path / "away").rename(folder)

    check_output(
        made(FileOutput, path=str(path)),
        lambda: [json.loads(line) for line in path.read_bytes().splitlines()],
        outage=outage,
    )


def test_output_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, buffer: Any) -> None:  # noqa: ANN401
            self.buffer = buffer

    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", Stream(written))
    check_output(made(StdoutOutput), lambda: [json.loads(line) for line in written.getvalue().splitlines()])


def test_output_fluentd(receiver: Callable[..., Receiver]) -> None:
    security = {"serverHostname": "collector", "sharedKey": "the key", "authorize": True}
    there = receiver(security=security | {"userDict": {"kpanic": "pass word"}})

    @contextmanager
    def outage() -> Iterator[None]:
        there.kill()
        yield
        there.start()

    check_output(
        made(
            FluentdOutput,
            hosts=[there.host],
            shared_key="the key",
            username="kpanic",
            password="pass word",  # noqa: S106
            ack_timeout=30,
            timeout=30,
        ),
        lambda: [entry["record"] for entry in there.entries()],
        outage=outage,
        unacceptable=Stored(999, "too-large", b'{"number":%d}' % (1 << 70)),
        secrets=["the key", "pass word"],
    )


def test_output_search(engine: Engine, proxy: HttpProxy) -> None:
    kind = {"opensearch": OpenSearchOutput, "elasticsearch": ElasticsearchOutput}[engine.product]
    make = made(kind, hosts=[proxy.url], timeout=60)
    list(setup_index_management(make()))
    stream = "logs-kernel.panic-default"

    @contextmanager
    def outage() -> Iterator[None]:
        proxy.down = True
        yield
        proxy.down = False

    check_output(
        make,
        lambda: [{**hit["_source"], "_id": hit["_id"]} for hit in engine.found(stream)],
        outage=outage,
        unacceptable=Stored(999, "no-date", b'{"@timestamp":"not a date"}'),
    )


# ---------------------------------------------------------------- plugins that break it


class Broken:
    """An output in memory; each test breaks one of its promises."""

    Config = Settings
    name = "broken"

    def __init__(self, config: object = None) -> None:
        del config
        self.there: dict[str, dict[str, Any]] = {}
        self.up = True

    def __call__(self) -> Broken:
        return self

    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        if not self.up:
            raise Unavailable("broken: down; start it")
        for stored in batch:
            document = json.loads(stored.body)
            self.there[stored.id] = {
                **document,
                "_id": stored.id,
                "event": {**document["event"], "ingested": "x"},
            }
        return [Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in batch]

    def check(self) -> str:
        if not self.up:
            raise Unavailable("broken: down; start it")
        return "up"

    def close(self) -> None:
        pass

    def documents(self) -> Iterable[Mapping[str, Any]]:
        return list(self.there.values())

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.up = False
        yield
        self.up = True


def test_an_output_that_keeps_the_contract_passes() -> None:
    output = Broken()
    check_output(output, output.documents, outage=output.outage)


class Forgets(Broken):
    def documents(self) -> Iterable[Mapping[str, Any]]:
        return list(self.there.values())[1:]


class SaysTooLittle(Broken):
    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        return list(super().send(batch))[1:]


class Alters(Broken):
    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        return super().send([dataclasses.replace(one, body=one.body.replace(b"<", b"")) for one in batch])


class Blind(Broken):
    def check(self) -> str:
        return "fine, I believe"


class Loose(Broken):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise ContractError("close() may be called twice")
        self.closed = True


class Chatty(Broken):
    def check(self) -> str:
        super().check()
        return "reached with hunter2"


class TakesAll(Broken):
    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        list(super().send([one for one in batch if one.id != "bad"]))
        return [Outcome(one.id, DeliveryStatus.DELIVERED) for one in batch]


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Forgets, "what was acknowledged is at the receiver: 1 are missing"),
        (SaysTooLittle, r"one outcome a document: 24 for 25"),
        (Alters, "a document arrives as it was stored"),
        (Blind, r"check\(\) raises Unavailable"),
        (Loose, "twice"),
        (Chatty, "shows no secret"),
        (TakesAll, "never takes is rejected; it was delivered"),
    ],
)
def test_an_output_that_breaks_a_promise_is_named(
    kind: type[Broken], promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpanic.shipper.contract.PATIENCE", 1.0)
    output = kind()
    with pytest.raises(ContractError, match=promise):
        check_output(
            output,
            output.documents,
            outage=output.outage,
            unacceptable=Stored(1, "bad", b"{}"),
            secrets=["hunter2"],
        )


class Deaf(FileInput):
    """An input that ignores ``stop``."""

    def run(self, feed: Any) -> None:  # noqa: ANN401
        feed.stop.wait()
        feed.keep((), {"a": "b"})
        __import__("threading").Event().wait(1.0)


class Hasty(FileInput):
    """An input that keeps a position before the crash that belongs to it."""

    def run(self, feed: Any) -> None:  # noqa: ANN401
        super().run(_Hasty(feed))


_CALLS = itertools.count()


class _Hasty:
    def __init__(self, feed: Any) -> None:  # noqa: ANN401
        self._feed = feed

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._feed, name)

    def keep(self, crashes: Iterable[Any], positions: Mapping[str, str | None] | None = None) -> None:
        self._feed.keep((), {"calls": str(next(_CALLS)), **(positions or {})})
        self._feed.keep(crashes)


@pytest.mark.parametrize(
    ("kind", "promise"), [(Deaf, r"run\(\) ends within"), (Hasty, "positions move with the crashes")]
)
def test_an_input_that_breaks_a_promise_is_named(
    kind: type[FileInput], promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpanic.shipper.contract.ENDS_WITHIN", 0.5)
    path = tmp_path / "messages"

    def write(text: bytes) -> None:
        with path.open("ab") as file:
            file.write(text)

    with pytest.raises(ContractError, match=promise):
        check_input(made(kind, paths=[str(path)], close_quiet=QUIET, scan_interval=0.2), write, lasting=True)
