"""Ten hosts send to the service over TLS, which sends to the Collector by OTLP."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.engines.collector import Collector
from tests.shipper.filters import ROOT
from tests.shipper.processes import KPANIC
from tests.shipper.rsyslog import over_tls
from tests.shipper.test_inputs_sockets import port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = 10


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def certificates(folder: Path) -> dict[str, str]:
    authority = trustme.CA()
    files = {"ca": str(folder / "ca.pem")}
    authority.cert_pem.write_to_path(files["ca"])
    for name in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        files[name], files[f"{name}.key"] = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(files[name])
        issued.private_key_pem.write_to_path(files[f"{name}.key"])
    return files


def sender(folder: Path, number: int, files: dict[str, str], to: int) -> list[str]:
    """Return the command of the rsyslog of a host that has crashed."""
    folder.mkdir()
    return over_tls(folder, number, files, to, "octet-counted")


@pytest.mark.process
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_ten_hosts_at_once(tmp_path: Path, protocol: str) -> None:
    files, to = certificates(tmp_path), port(socket.SOCK_STREAM)
    collector = Collector(tmp_path)
    endpoint = f"http://127.0.0.1:{collector.grpc if protocol == 'grpc' else collector.http}"
    config = tmp_path / "kpanic.yml"
    config.write_text(
        f"""path.data: {tmp_path}/store
inputs:
  - type: syslog
    close_quiet: 4
    protocol.tcp:
      host: 127.0.0.1:{to}
      ssl:
        enabled: true
        certificate: {files["server"]}
        key: {files["server.key"]}
        certificate_authorities: [{files["ca"]}]
        client_authentication: required
output.otlp:
  endpoint: {endpoint}
  protocol: {protocol}
  signatures: true
"""
    )
    with contextlib.ExitStack() as stack:
        collector.start()
        stack.callback(collector.stop)
        stack.enter_context(running(*KPANIC, "run", "-c", str(config)))
        for number in range(HOSTS):
            stack.enter_context(running(*sender(tmp_path / str(number), number, files, to)))
        until(lambda: len(collector.documents()) >= HOSTS, 300)
    documents = collector.documents()
    assert sorted(document["host"]["name"] for document in documents) == [f"web-{n}" for n in range(HOSTS)]
    assert {document["kernel"]["panic"]["parse"]["status"] for document in documents} == {"complete"}
    assert {document["event"]["provider"] for document in documents} == {"syslog"}
    assert {document["observer"]["hostname"] for document in documents} == {os.uname().nodename}
    assert [one["eventName"] for one in collector.records()].count("kernel.panic.signature") == 1
