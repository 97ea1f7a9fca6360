"""``kpanic run`` as under systemd: a real process, real files, datagrams and kills."""

from __future__ import annotations

import ast
import functools
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from tests.benchmarks.service import resident, spent
from tests.engines import parts
from tests.shipper import processes
from tests.shipper.test_inputs_sockets import bound
from tests.waiting import lines_of, stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.process
LOGS = Path(__file__).parent.parent / "logs"
STORY = LOGS / "story" / "127.0.0.1-2021-04-29-20:32:26"


@functools.cache
def port() -> int:
    """Return the port of netconsole."""
    return parts.free_port(26_000, socket.SOCK_DGRAM)


class Service:
    """A configuration, and processes that run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crash = folder / "crash"
        self.crash.mkdir()
        self.pstore = folder / "pstore"
        self.log = folder / "messages"
        self.out = folder / "out.ndjson"
        self.errors = folder / "errors"
        self.config = folder / "kpanic.yml"
        self.config.write_text(
            f"""
path.data: {folder}/data
inputs:
  - {{type: kdump, paths: [{self.crash}], scan_interval: 0.1, settle: 0}}
  - {{type: file, paths: ['{self.log}*'], scan_interval: 0.1, close_quiet: 1}}
  - {{type: pstore, paths: [{self.pstore}], scan_interval: 0.1}}
  - {{type: netconsole, host: '127.0.0.1:{port()}', allow: [127.0.0.2], close_quiet: 1.5}}
output.file.path: {self.out}
"""
        )

    def running(self, **environment: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return processes.service(self.config, self.errors, **environment)

    def documents(self) -> list[dict[str, dict[str, str]]]:
        return [json.loads(line) for line in lines_of(self.out)]

    def said(self) -> str:
        return "\n".join(lines_of(self.errors))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def providers(service: Service) -> list[str]:
    return sorted(document["event"]["provider"] for document in service.documents())


def test_a_crash_arrives_by_every_way_there_is(service: Service) -> None:
    with service.running() as process:
        until(lambda: "running; inputs: kdump, file, pstore, netconsole" in service.said())
        shutil.copytree(STORY, service.crash / STORY.name)
        service.log.write_bytes((LOGS / "lab" / "6.1.0-56-amd64-x86_64-panic.log").read_bytes())
        until(lambda: len(service.documents()) == 2)
        until(lambda: bound(port()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.2", 0))
            packets = (LOGS / "transports" / "netconsole-plain.txt.packets").read_text().splitlines()
            for packet in packets:
                sender.sendto(ast.literal_eval(packet), ("127.0.0.1", port()))
        until(lambda: providers(service) == ["file", "kdump", "netconsole"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    (heard,) = (document for document in service.documents() if document["event"]["provider"] == "netconsole")
    assert heard["host"]["ip"] == ["127.0.0.2"]
    assert heard["observer"]["hostname"] == socket.gethostname()


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Take apart what was printed of pstore's files: a line with name and size before each."""
    for part in path.read_bytes().replace(b"\r\n", b"\n").split(b"#### /sys/fs/pstore/")[1:]:
        head, _, text = part.partition(b"\n")
        yield head.split()[0].decode(), text


@pytest.mark.parametrize(
    "name", ["pstore-efi-files.txt", "pstore-erst-files.txt", "ramoops-pstore-files.txt"]
)
def test_records_of_pstore_are_put_together(service: Service, name: str) -> None:
    service.pstore.mkdir()
    for record, text in records(LOGS / "transports" / name):
        (service.pstore / record).write_bytes(text)
    with service.running():
        until(lambda: len(service.documents()) == 1)
        stays(lambda: len(service.documents()) == 1, 0.5)
    (document,) = service.documents()
    assert document["event"]["provider"] == "pstore"
    assert document["kernel"]["panic"]["parse"]["status"] == "complete"  # type: ignore[index]
    found = [crash.report for crash in read(str(LOGS / "transports" / name), Origin("file"))]
    assert document["kernel"]["panic"]["title"] == found[0].title


def test_after_a_quiet_time_the_boot_is_still_known(service: Service) -> None:
    text = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-panic.log").read_bytes()
    at = text.index(b"Kernel panic - not syncing")
    start = text.rindex(b"\n", 0, at) + 1
    with service.running(), service.log.open("wb", buffering=0) as log:
        log.write(text[:start])
        stays(lambda: not service.documents(), 2.5)  # close_quiet is over
        log.write(text[start:])
        until(lambda: len(service.documents()) == 1)
    (document,) = service.documents()
    assert document["kernel"]["panic"]["timestamp_source"] == "rtc"


def test_senders_that_are_not_allowed_are_ignored(service: Service) -> None:
    with service.running():
        until(lambda: "running" in service.said())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.3", 0))

            def told() -> bool:
                sender.sendto(b"[    1.0] Kernel panic - not syncing: x\n", ("127.0.0.1", port()))
                return "127.0.0.3: is not in allow" in service.said()

            until(told)
            stays(lambda: not service.documents(), 1)
    assert service.said().count("127.0.0.3") == 1


def test_a_file_is_followed_through_growth_rotation_and_truncation(service: Service) -> None:
    def crash(number: int) -> bytes:
        text = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-panic.log").read_bytes()
        return text.replace(b"[    2.", b"[    %d." % (2 + number))

    def arrived(number: int) -> None:
        until(lambda: len(service.documents()) == number)

    with service.running():
        text = crash(0)
        with service.log.open("wb", buffering=0) as log:
            log.write(text[: len(text) // 2])
            stays(lambda: not service.documents(), 0.3)
            log.write(text[len(text) // 2 :])
            arrived(1)
            service.log.rename(service.folder / "old")  # no longer in the pattern
            log.write(crash(1))
            stays(lambda: len(service.documents()) < 3, 0.3)
            service.log.write_bytes(crash(2))
        arrived(3)
        with service.log.open("r+b", buffering=0) as log:
            log.truncate(0)
            stays(lambda: len(service.documents()) == 3, 0.3)
            log.write(crash(3))
        arrived(4)
    assert len({document["event"]["id"] for document in service.documents()}) == 4


def test_a_second_crash_of_the_host_is_not_skipped_and_a_copied_or_touched_one_not_sent_twice(
    service: Service,
) -> None:
    shutil.copytree(STORY, service.crash / STORY.name)
    with service.running():
        until(lambda: len(service.documents()) == 1)
        again = service.crash / "127.0.0.1-2021-04-30-01:02:03"
        again.mkdir()
        text = (STORY / "vmcore-dmesg.txt").read_bytes()
        (again / "vmcore-dmesg-incomplete.txt").write_bytes(text.replace(b"790.37", b"812.99"))
        (again / "vmcore-dmesg-incomplete.txt").rename(again / "vmcore-dmesg.txt")
        until(lambda: len(service.documents()) == 2)
        (service.crash / STORY.name / "vmcore-dmesg.txt").touch()
        shutil.copytree(STORY, service.crash / "127.0.0.1-2022-01-01-00:00:00")
        stays(lambda: len(service.documents()) == 2, 1.5)


def test_a_hangup_reads_the_configuration_again(service: Service) -> None:
    with service.running() as process:
        until(lambda: "running" in service.said())
        service.config.write_text(service.config.read_text() + "tags: [later]\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: service.said().count("running") == 2)
        shutil.copytree(STORY, service.crash / STORY.name)
        until(lambda: len(service.documents()) == 1)
    assert service.documents()[0]["tags"] == ["later"]


def test_a_wrong_configuration_is_reported_and_the_previous_one_stays_in_effect(service: Service) -> None:
    with service.running() as process:
        until(lambda: "running" in service.said())
        right = service.config.read_text()
        service.config.write_text(right + "retention.agee: 1d\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: "the previous one stays in effect" in service.said())
        assert "kpanic.yml:9: retention.agee: there is no such key; the nearest is age" in service.said()
        service.config.write_text(re.sub("path.data: .*", "path.data: /proc/none", right))
        process.send_signal(signal.SIGHUP)
        until(lambda: service.said().count("the previous one stays in effect") == 2)
        assert "/proc/none: cannot be made" in service.said()
        shutil.copytree(STORY, service.crash / STORY.name)
        until(lambda: len(service.documents()) == 1)
        service.config.write_text(right.replace("/data", "/other"))
        process.send_signal(signal.SIGHUP)
        until((service.folder / "other" / "kpanic.db").exists)
        until(lambda: service.said().count("running") == 2)
        process.terminate()
        assert process.wait(60) == 0
    levels = {line["log.level"] for line in map(json.loads, service.said().splitlines())}
    assert levels >= {"info", "error"}


def test_an_output_that_hangs_holds_up_neither_a_reload_nor_a_stop(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hangs = f"output.opensearch.hosts: ['http://127.0.0.1:{deaf.getsockname()[1]}']\n"
        service.config.write_text(service.config.read_text() + hangs + "shutdown_timeout: 1\n")
        shutil.copytree(STORY, service.crash / STORY.name)
        with service.running() as process:
            until(lambda: len(service.documents()) == 1)
            process.send_signal(signal.SIGHUP)
            until(lambda: service.said().count("running") == 2)
            assert "a thread did not end in time" in service.said()
            process.terminate()
            started = time.monotonic()
            assert process.wait(60) == 1
            assert time.monotonic() - started < 30  # a request may take 90 s
    assert len(service.documents()) == 1


def test_a_store_that_is_damaged_meanwhile_is_set_aside_and_a_new_one_started(service: Service) -> None:
    for number in range(30):
        folder = service.crash / f"10.0.0.{number}-2026-11-22-19:15:38"
        shutil.copytree(STORY, folder)
    database = service.folder / "data" / "kpanic.db"
    with service.running() as process:
        until(lambda: len(service.documents()) == 30)
        process.terminate()
        process.wait(60)
    with service.running() as process:
        until(lambda: service.said().count("running") == 2)
        with database.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * (database.stat().st_size - 8192))
        shutil.copytree(STORY, service.crash / "10.0.1.1-2026-11-22-19:15:38")
        until(lambda: service.said().count("running") == 3)
        assert "are in a new store" in service.said()
        until(lambda: len(service.documents()) == 31)
        process.terminate()
        assert process.wait(60) == 0
    assert list(database.parent.glob("kpanic.db.damaged-*"))


def test_metrics_are_served_on_loopback_where_wanted(service: Service) -> None:
    metrics = parts.free_port(25_066)
    service.config.write_text(
        service.config.read_text()
        + f"http: {{enabled: true, port: {metrics}}}\noutput.fluentd.hosts: ['127.0.0.1:9']\n"
    )
    shutil.copytree(STORY, service.crash / STORY.name)

    def asked() -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
            text = answer.read().decode()
        return {
            name + str(sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            for name in [sample.name]
        }

    with service.running() as process:
        until(lambda: len(service.documents()) == 1)
        until(lambda: asked()["kpanic_output_trouble[('output', 'fluentd')]"] == 1)
        until(lambda: asked()["kpanic_output_documents_total[('output', 'file'), ('status', 'delivered')]"])
        found = asked()
        taken = parts.free_port(25_066)
        with socket.create_server(("127.0.0.1", taken)):
            service.config.write_text(service.config.read_text().replace(str(metrics), str(taken)))
            process.send_signal(signal.SIGHUP)
            until(lambda: service.said().count("running") == 2)
        assert f"http://127.0.0.1:{taken}/metrics: cannot be served: Address already in use" in service.said()
    assert found["kpanic_input_crashes_total[('input', 'kdump')]"] == 1
    assert found["kpanic_input_crashes_total[('input', 'netconsole')]"] == 0
    assert found["kpanic_input_dropped_messages_total[('input', 'netconsole'), ('reason', 'rate')]"] == 0
    assert found["kpanic_output_documents_total[('output', 'file'), ('status', 'delivered')]"] == 1
    assert found["kpanic_output_documents_total[('output', 'fluentd'), ('status', 'delivered')]"] == 0
    assert found["kpanic_output_pending[('output', 'file')]"] == 0
    assert found["kpanic_output_pending[('output', 'fluentd')]"] == 1
    assert found["kpanic_output_trouble[('output', 'file')]"] == 0
    assert found["kpanic_output_last_delivery_timestamp_seconds[('output', 'file')]"] > time.time() - 600
    assert found["kpanic_output_dead[('output', 'file')]"] == 0
    assert found["kpanic_store_bytes[]"] > 8192
    assert any(name.startswith("kpanic_build_info[('pythonversion'") for name in found)
    assert found["process_resident_memory_bytes[]"] > 1e6


def test_it_costs_next_to_nothing_while_nothing_crashes(service: Service) -> None:
    service.config.write_text(
        f"""
path.data: {service.folder}/data
inputs:
  - {{type: kdump, paths: [{service.crash}]}}
  - {{type: file, paths: ['{service.log}*']}}
  - {{type: pstore, paths: [{service.pstore}]}}
  - {{type: netconsole, host: '127.0.0.1:{port()}', allow: [127.0.0.2]}}
output:
  opensearch.hosts: http://127.0.0.1:9
  elasticsearch.hosts: http://127.0.0.1:9
  fluentd.hosts: 127.0.0.1:9
  file.path: {service.out}
"""
    )
    with service.running() as process:
        until(lambda: "running" in service.said())
        until(lambda: service.said().count("everything is kept") >= 2)
        stays(lambda: process.poll() is None, 1)

        def cost() -> float:
            began = spent(process.pid)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            return (spent(process.pid) - began) / 5

        assert any(cost() <= 0.002 for _ in range(5))  # other processes slow some measurements, but not all
        assert resident(process.pid) <= 60
        process.terminate()
        assert process.wait(60) == 0


def test_systemd_is_notified_of_ready_alive_and_stopping(service: Service) -> None:
    path = service.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(60)
        with service.running(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000") as process:
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            process.terminate()
            process.wait(60)
            systemd.settimeout(0)
            rest = []
            while not rest or rest[-1] != b"STOPPING=1":
                rest.append(systemd.recv(100))


def test_its_own_log_is_json_without_a_terminal(service: Service) -> None:
    (service.crash / "127.0.0.1-2022-01-01-00:00:00").mkdir()
    (service.crash / "127.0.0.1-2022-01-01-00:00:00" / "vmcore-dmesg.txt").touch()
    with service.running():
        until(lambda: "is empty" in service.said())
        stays(lambda: service.said().count("is empty") == 1, 1)
    lines = [json.loads(line) for line in service.said().splitlines()]
    assert all(line["service.type"] == "kpanic" for line in lines)
    assert sum("is empty" in line["message"] for line in lines) == 1
