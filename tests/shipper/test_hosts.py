"""The host of a crash: named by the operator, by a path, or this machine."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kpanic.shipper.crashed_host import HostRule, HostRules, is_own
from kpanic.shipper.inputs.file import FileConfig, FileInput
from kpanic.shipper.inputs.kdump import KdumpConfig, KdumpInput
from kpanic.shipper.inputs.pstore import PstoreInput
from kpanic.shipper.inputs.sender_names import DnsConfig, SenderNames
from tests.engines import parts
from tests.shipper.feed import running
from tests.shipper.processes import KPANIC
from tests.shipper.test_cli import Run
from tests.shipper.test_inputs_sockets import bound
from tests.waiting import lines_of, until

LOGS = Path(__file__).parent.parent / "logs"
DMESG = LOGS / "story" / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "path", "host"),
    [
        ("/var/log/consoles/{host}.log", "/var/log/consoles/web1.example.com.log", "web1.example.com"),
        ("/var/log/consoles/{host}.log*", "/var/log/consoles/web1.log.2.gz", "web1"),
        ("/var/log/consoles/{host}/*.log", "/var/log/consoles/web1/tty.log", "web1"),
        ("/var/log/consoles/{host}/*.log", "/var/log/consoles/web1/more/tty.log", ""),
        ("/srv/crash/{host}", "/srv/crash/web1/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", "web1"),
        ("/srv/crash/{host}/*", "/srv/crash/web1/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", "web1"),
        ("/srv/**/{host}/console", "/srv/a/b/web1/console", "web1"),
        ("/srv/**/{host}/console", "/srv/web1/console", "web1"),
        ("/srv/rack[0-9]/con-{host}", "/srv/rack7/con-web1", "web1"),
        ("/srv/rack[!0-9]/con-{host}", "/srv/rack7/con-web1", ""),
        ("/srv/rack?/con-{host}", "/srv/rack7/con-web1", "web1"),
        ("/srv/a+b/{host}", "/srv/a+b/web1", "web1"),
        ("/srv/{host}", "/srvx/web1", ""),
    ],
)
def test_a_path_names_the_host(pattern: str, path: str, host: str) -> None:
    assert HostRules([HostRule(pattern)]).of(path) == host


def test_a_relative_pattern_is_of_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert HostRules([HostRule("consoles/{host}")]).of("./consoles/../consoles/web1/tty") == "web1"


@pytest.mark.parametrize("pattern", ["/a/*.log", "/a/{host}/{host}", "/a/{host}*.log", "/a/*{host}"])
def test_a_pattern_that_names_no_host_for_sure_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="host"):
        HostRules([HostRule(pattern)])


def test_hostile_paths_take_linear_time() -> None:
    rules = HostRules([HostRule("/srv/**/*a*a*a*a/{host}-*-*-x")])
    began = time.process_time()
    assert not rules.of("/srv/" + "a" * 200 + "/" + "b-" * 100)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/var/crash/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", True),
        ("/var/crash/202104292032/dmesg.202104292032", True),
        ("/var/crash/web1/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", False),
        ("/srv/crash/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt", False),
        ("/sys/fs/pstore/dmesg-efi-1", True),
        ("/var/lib/systemd/pstore/17/001/dmesg-efi-1", True),
        ("/home/me/dmesg-efi-1", False),
    ],
)
def test_only_where_this_machine_alone_writes_a_crash_is_its_own(path: str, own: bool) -> None:  # noqa: FBT001
    assert is_own(path) is own


def test_an_input_takes_the_host_of_its_paths_or_the_configured_one() -> None:
    with pytest.raises(ValueError, match=r"^host: excludes \{host\} in paths"):
        FileConfig(paths=["/a/{host}.log"], host="web1")
    with pytest.raises(ValueError, match=r"^paths\[1\]: put a character between"):
        FileConfig(paths=["/a/{host}.log", "/a/{host}*"])


def _consoles(folder: Path, number: int = 3) -> None:
    for index in range(number):
        console = folder / f"web{index}" / "tty.log"
        console.parent.mkdir(parents=True)
        console.write_bytes(DMESG.read_bytes())


def test_consoles_of_many_hosts_are_each_their_hosts(tmp_path: Path) -> None:
    _consoles(tmp_path)
    paths = [f"{tmp_path}/{{host}}/*.log"]
    with running(FileInput, paths=paths, close_quiet=0.1, scan_interval=0.1) as feed:
        until(lambda: len(feed.crashes) == 3)
    assert sorted(crash.origin.host_stated for crash in feed.crashes.values()) == ["web0", "web1", "web2"]


def test_crash_folders_of_many_hosts_are_each_their_hosts(tmp_path: Path) -> None:
    for host in ("web1", "web2"):
        folder = tmp_path / host / DMESG.parent.name
        folder.mkdir(parents=True)
        (folder / DMESG.name).write_bytes(DMESG.read_bytes())
    paths = [f"{tmp_path}/{{host}}"]
    assert KdumpInput(KdumpConfig(paths=paths)).paths == [f"{tmp_path}/web1", f"{tmp_path}/web2"]
    with running(KdumpInput, paths=paths, settle=0, scan_interval=0.1) as feed:
        until(lambda: len(feed.crashes) == 2)
    assert sorted(crash.origin.host_stated for crash in feed.crashes.values()) == ["web1", "web2"]


def test_a_host_that_appears_later_is_seen_at_once(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/{{host}}"]
    with running(KdumpInput, paths=paths, settle=0, scan_interval=3600) as feed:
        until(lambda: feed.said)
        folder = tmp_path / "web1" / DMESG.parent.name
        folder.mkdir(parents=True)
        (folder / DMESG.name).write_bytes(DMESG.read_bytes())
        until(lambda: len(feed.crashes) == 1)
    assert f"{tmp_path}/{{host}}: does not exist yet" in feed.said[0]


def test_records_of_many_hosts_are_each_their_hosts(tmp_path: Path) -> None:
    for host in ("web1", "web2"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "dmesg-efi-1").write_bytes(b"Panic#1 Part1\n" + DMESG.read_bytes())
    with running(PstoreInput, paths=[f"{tmp_path}/{{host}}"], scan_interval=0.1) as feed:
        until(lambda: len(feed.crashes) == 2)
    assert sorted(crash.origin.host_stated for crash in feed.crashes.values()) == ["web1", "web2"]


def names(out: str) -> list[str | None]:
    return [json.loads(line)["host"].get("name") for line in out.splitlines()]


def test_parse_takes_the_host_from_an_option_or_the_path(kpanic: Run) -> None:
    _consoles(kpanic.folder, 2)
    files = [f"web{number}/tty.log" for number in range(2)]
    assert names(kpanic("parse", *files)[0]) == [None, None]
    assert names(kpanic("parse", "--host", "db1", *files)[0]) == ["db1", "db1"]
    assert names(kpanic("parse", "--host-from-path", "{host}/*.log", *files)[0]) == ["web0", "web1"]
    assert names(kpanic("parse", "--host", "db1", "-", text=DMESG.read_bytes())[0]) == ["db1"]


def test_ship_takes_the_host_from_the_configured_inputs_as_the_service_does(kpanic: Run) -> None:
    _consoles(kpanic.folder, 2)
    inputs = f"inputs=[{{type: file, paths: ['{kpanic.folder}/{{host}}/*.log']}}]"
    kpanic("ship", "-E", inputs)
    kpanic("ship", "-E", "output.stdout.enabled=true", "-E", inputs)
    out, err = kpanic("ship", "-E", inputs)
    assert "nothing new" in err
    out, _ = kpanic("report", "--format", "json", "-o", "-")
    assert sorted(host["key"] for host in json.loads(out)["hosts"]) == ["web0", "web1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "a", "--host-from-path", "b/{host}"], "exclude each other"),
        (["--host-from-path", "b"], "expected {host} once"),
    ],
)
def test_options_that_name_no_host_for_sure_are_refused(kpanic: Run, options: list[str], said: str) -> None:
    assert said in kpanic("parse", *options, DMESG, code=2)[1]


def test_a_sender_has_the_name_that_its_address_has() -> None:
    names = SenderNames(
        DnsConfig(timeout=60), 8, "collector.example.com", {"10.0.0.7": "web1.example.com."}.__getitem__
    )
    names.ask("10.0.0.7")
    assert names.of("10.0.0.7") == "web1.example.com"
    assert not names.of("10.0.0.8")


@pytest.mark.parametrize("name", ["10.0.0.9", "a b", "<script>", "", "x" * 300])
def test_the_owner_of_an_address_cannot_choose_its_name(name: str) -> None:
    names = SenderNames(DnsConfig(timeout=60), 8, "here.example.com", lambda _: name)
    names.ask("10.0.0.7")
    assert not names.of("10.0.0.7")


def test_a_silent_name_server_delays_no_sender() -> None:
    silent = threading.Event()

    def never(_: str) -> str:
        silent.wait()
        return "late"

    names = SenderNames(DnsConfig(timeout=0.2), 8, "here.example.com", never)
    began = time.monotonic()
    for number in range(50):
        names.ask(f"10.0.0.{number}")
    assert not any(names.of(f"10.0.0.{number}") for number in range(50))
    assert time.monotonic() - began < 50 * 0.2
    silent.set()


def test_names_are_remembered_in_bounded_memory_and_asked_once() -> None:
    asked: list[str] = []
    names = SenderNames(DnsConfig(timeout=60), 2, "here.x", lambda one: asked.append(one) or f"h{one[-1]}.x")
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"):
        names.ask(address)
        until(lambda address=address: names.of(address))  # type: ignore[misc]
    assert sorted(asked) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert not names.of("10.0.0.1")
    assert names.of("10.0.0.3") == "h3.x"


def test_without_names_nobody_is_asked() -> None:
    asked: list[str] = []
    names = SenderNames(DnsConfig(enabled=False), 8, "here.x", lambda one: asked.append(one) or "web1")
    names.ask("10.0.0.7")
    assert not names.of("10.0.0.7")
    assert asked == []


def test_a_short_name_is_one_where_this_machine_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "collector.example.com")
    names = SenderNames(DnsConfig(timeout=60), 8, "collector", lambda _: "web1.example.com")
    names.ask("10.0.0.7")
    assert names.of("10.0.0.7") == "web1"


@pytest.mark.root
def test_netconsole_s_sender_has_its_name_from_the_resolver_and_its_address_beside(tmp_path: Path) -> None:
    hosts, out, config, errors = (tmp_path / name for name in ("hosts", "out", "kpanic.yml", "errors"))
    hosts.write_text("127.0.0.1 localhost\n127.0.0.2 web1.example.com\n")
    ports = [parts.free_port(28_000, socket.SOCK_DGRAM) for _ in range(2)]
    config.write_text(
        f"""
path.data: {tmp_path}/data
name: collector.example.org
inputs:
  - {{type: netconsole, host: '127.0.0.1:{ports[0]}', close_quiet: 2, dns.timeout: 30}}
  - {{type: netconsole, host: '127.0.0.1:{ports[1]}', close_quiet: 2, dns.enabled: false}}
output.file.path: {out}
"""
    )
    with_hosts = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"',
    ]
    packets = (LOGS / "transports" / "netconsole-plain.txt.packets").read_text().splitlines()
    with (
        errors.open("wb") as sink,
        subprocess.Popen(
            [*with_hosts, str(hosts), *KPANIC, "run", "-c", str(config)],
            stderr=sink,
            cwd=LOGS.parent.parent,
        ) as process,
    ):
        try:
            until(lambda: b"running; inputs" in errors.read_bytes() or process.poll() is not None)
            if b"running; inputs" not in errors.read_bytes():
                parts.missing("a file in the place of /etc/hosts", "this user may not mount one")
            for port in ports:
                until(lambda port=port: bound(port))  # type: ignore[misc]
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind(("127.0.0.2", 0))
                    for packet in packets:
                        sender.sendto(ast.literal_eval(packet), ("127.0.0.1", port))
                until(lambda port=port: len(lines_of(out)) > ports.index(port))  # type: ignore[misc]
        finally:
            process.kill()
    found = [json.loads(line)["host"] for line in lines_of(out)]
    assert [(host["name"], host["ip"]) for host in found] == [
        ("web1.example.com", ["127.0.0.2"]),
        ("127.0.0.2", ["127.0.0.2"]),
    ]
