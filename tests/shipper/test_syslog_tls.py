"""Syslog over TLS (RFC 5425), with real rsyslog and syslog-ng as senders."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trustme
from click.testing import CliRunner

from kpanic.shipper.cli import cli
from kpanic.shipper.contract import check_input, crash_text, run_beside
from kpanic.shipper.inputs.syslog import SyslogInput
from tests.engines import parts
from tests.shipper.feed import Feed
from tests.shipper.rsyslog import over_tls
from tests.shipper.test_inputs_sockets import port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates of a server, a client and a stranger."""
    folder = tmp_path_factory.mktemp("tls")
    made = {}
    ours, other = trustme.CA(), trustme.CA()
    for name, authority in (("server", ours), ("client", ours), ("stranger", other)):
        issued = authority.issue_cert("127.0.0.1")
        made[name] = str(folder / f"{name}.pem")
        made[f"{name}.key"] = str(folder / f"{name}.key")
        Path(made[name]).write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(made[f"{name}.key"])
    made["ca"] = str(folder / "ca.pem")
    ours.cert_pem.write_to_path(made["ca"])
    return made


def settings(files: dict[str, str], to: int, authentication: str = "none", quiet: float = 1.0) -> Any:  # noqa: ANN401
    tls = {"enabled": True, "certificate": files["server"], "key": files["server.key"]}
    if authentication != "none":
        tls |= {"client_authentication": authentication, "certificate_authorities": [files["ca"]]}  # type: ignore[dict-item]
    tcp = {"host": f"127.0.0.1:{to}", "ssl": tls}
    return msgspec.convert({"protocol": {"tcp": tcp}, "close_quiet": quiet}, SyslogInput.Config)


@contextlib.contextmanager
def listening(files: dict[str, str], authentication: str = "none") -> Iterator[tuple[Feed, int]]:
    to, feed = port(socket.SOCK_STREAM), Feed()
    with run_beside(SyslogInput(settings(files, to, authentication)), feed):
        until(lambda: _opens(to))
        yield feed, to


def _opens(to: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", to)):
        return True
    return False


def messages(number: int) -> bytes:
    """Return a crash with octet counting, as in RFC 5425."""
    lines = [b"<4>1 - web-1 kernel - - - " + line for line in crash_text(number).splitlines()]
    return b"".join(b"%d %b" % (len(line), line) for line in lines)


def say(to: int, text: bytes, files: dict[str, str], *, certificate: str = "", newest: bool = True) -> None:
    """Send data over TLS in small records."""
    context = ssl.create_default_context(cafile=files["ca"])
    if not newest:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(files[certificate], files[f"{certificate}.key"])
    with (
        socket.create_connection(("127.0.0.1", to)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as client,
    ):
        for start in range(0, len(text), 700):
            client.sendall(text[start : start + 700])
        with contextlib.suppress(OSError):
            client.unwrap()


def test_the_input_keeps_its_contract(files: dict[str, str]) -> None:
    to = port(socket.SOCK_STREAM)

    def write(text: bytes) -> None:
        until(lambda: _opens(to))
        lines = [b"<4>1 - web-1 kernel - - - " + line + b"\n" for line in text.splitlines()]
        say(to, b"".join(lines), files)

    check_input(lambda: SyslogInput(settings(files, to)), write, lasting=False)


@pytest.mark.parametrize("newest", [True, False], ids=["TLS 1.3", "TLS 1.2"])
def test_counted_octets_of_a_trusted_client_are_read(files: dict[str, str], newest: bool) -> None:  # noqa: FBT001
    with listening(files, "required") as (feed, to):
        say(to, messages(1), files, certificate="client", newest=newest)
        until(lambda: feed.crashes)
    assert feed.hosts() == ["web-1"]
    assert feed.said == []


@pytest.mark.parametrize(
    ("certificate", "said"),
    [("", "shows no certificate, which client_authentication asks for"), ("stranger", "is not trusted")],
)
def test_a_client_that_is_not_trusted_is_not_read(files: dict[str, str], certificate: str, said: str) -> None:
    with listening(files, "required") as (feed, to):
        for _ in range(2):
            with contextlib.suppress(OSError):
                say(to, messages(1), files, certificate=certificate)
        until(lambda: feed.dropped["encoding"] == 2)
        say(to, messages(2), files, certificate="client")
        until(lambda: feed.crashes)
    assert len(feed.crashes) == 1
    assert [said in line for line in feed.said] == [True, False], "it is said once"
    assert feed.said[1] == "messages dropped: 2 of 127.0.0.1"


def test_a_sender_of_plain_text_is_reported(files: dict[str, str]) -> None:
    with listening(files) as (feed, to):
        with socket.create_connection(("127.0.0.1", to)) as plain:
            plain.sendall(messages(1))
            until(lambda: feed.said)
        assert "speaks no TLS, which protocol.tcp.ssl asks for" in feed.said[0]


def test_a_client_without_a_handshake_delays_no_other(files: dict[str, str]) -> None:
    with listening(files) as (feed, to):
        idle = [socket.create_connection(("127.0.0.1", to)) for _ in range(20)]
        idle[0].sendall(b"\x16\x03\x01")
        say(to, messages(1), files)
        until(lambda: feed.crashes)
        for one in idle:
            one.close()


@pytest.mark.process
@pytest.mark.parametrize("framing", ["octet-counted", "traditional"])
def test_rsyslog_sends_over_tls(files: dict[str, str], tmp_path: Path, framing: str) -> None:
    with listening(files, "required") as (feed, to):
        command = over_tls(tmp_path, 3, files, to, framing)
        with daemon(command):
            until(lambda: feed.crashes)
    assert feed.hosts() == ["web-3"]


@pytest.mark.process
def test_syslog_ng_sends_over_tls(files: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_bytes(crash_text(4))
    with listening(files, "required") as (feed, to):
        (tmp_path / "syslog-ng.conf").write_text(
            f"""@version: 3.38
source s {{ file("{log}" flags(no-parse) default-facility(kern) program-override("kernel")); }};
rewrite r {{ set("web-4", value("HOST")); }};
destination d {{ syslog("127.0.0.1" port({to}) transport("tls") tls(ca-file("{files["ca"]}")
  key-file("{files["client.key"]}") cert-file("{files["client"]}") peer-verify(required-trusted))); }};
log {{ source(s); rewrite(r); destination(d); }};
"""
        )
        command = [*parts.syslog_ng(), "-F", "-f", str(tmp_path / "syslog-ng.conf")]
        command += [f"--{name}={tmp_path / name}" for name in ("persist-file", "pidfile", "control")]
        with daemon(command):
            until(lambda: feed.crashes)
    assert feed.hosts() == ["web-4"]


@contextlib.contextmanager
def daemon(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        try:
            yield
        finally:
            running.terminate()
            running.wait(60)


@pytest.mark.parametrize(
    ("tls", "word"),
    [
        ({"enabled": True}, "certificate: needed"),
        ({"client_authentication": "required"}, "certificate_authorities: needed"),
        ({"client_authentication": "maybe"}, "maybe"),
    ],
)
def test_a_wrong_setting_is_refused(tls: dict[str, object], word: str) -> None:
    protocol = {"tcp": {"host": "127.0.0.1:6514", "ssl": tls}}
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert({"protocol": protocol}, SyslogInput.Config)


def test_a_certificate_that_cannot_be_used_is_named(files: dict[str, str]) -> None:
    made = settings(files | {"server.key": files["client.key"]}, 6514)
    with pytest.raises(ValueError, match=r"ssl\.certificate: .*server\.pem and .*client\.key"):
        made.protocol.tcp.ssl.examine()


def test_the_check_of_the_configuration_names_it_too(files: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "kpanic.yml"
    config.write_text(
        f"""inputs:
  - type: syslog
    protocol.tcp:
      host: 127.0.0.1:6514
      ssl: {{enabled: true, certificate: {files["server"]}, key: {files["client.key"]}}}
"""
    )
    done = CliRunner().invoke(cli, ["test", "config", "-c", str(config)])
    assert "kpanic.yml:5: inputs[0].protocol.tcp.ssl" in str(done.exception)
