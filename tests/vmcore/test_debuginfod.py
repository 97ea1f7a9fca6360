"""Debug information from a debuginfod server, if it is requested."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme

from kpanic.shipper.vmcore.debuginfod import Debuginfod
from tests.vmcore.server import build_id_of, elfutils, tls
from tests.vmcore.test_vmcore import explain, step

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vmcore.server import Server

pytestmark = pytest.mark.process


def test_missing_debug_information_is_downloaded_once(dumps: Path, server: Server) -> None:
    kernel, module = server.add(dumps / "debug" / "vmlinux"), server.add(dumps / "debug" / "ledger.ko")
    for _ in range(2):
        crash = explain(dumps / "vmcore.null", "--debuginfod")
        assert crash["vmcore"]["status"] == "answered"
        assert crash["vmcore"]["pointer"] == "account->owner"
        assert server.asked == [kernel, module]


def test_nothing_is_downloaded_without_request(dumps: Path, server: Server) -> None:
    server.add(dumps / "debug" / "vmlinux")
    crash = explain(dumps / "vmcore.null")
    assert crash["vmcore"]["status"] == "no-debug-info"
    assert "apt-get install linux-image-" in crash["verdict"]["why"]
    assert server.asked == []


def test_local_debug_information_is_not_requested(dumps: Path, server: Server) -> None:
    module = server.add(dumps / "debug" / "ledger.ko")
    crash = explain(dumps / "vmcore.null", "--debuginfod", "--debug-info", dumps / "debug" / "vmlinux")
    assert crash["vmcore"]["pointer"] == "account->owner"
    assert server.asked == [module]


def test_missing_debug_information_is_reported_with_the_command_that_installs_it(
    dumps: Path, server: Server
) -> None:
    crash = explain(dumps / "vmcore.null", "--debuginfod")
    assert step(crash, "debuginfod")["finding"] == f"Skipped: {server.url}: HTTP 404."
    assert "apt-get install linux-image-" in crash["verdict"]["why"]
    assert len(server.asked) == 1


def test_a_module_that_no_server_has_costs_its_own_answers(dumps: Path, server: Server) -> None:
    server.add(dumps / "debug" / "vmlinux")
    crash = explain(dumps / "vmcore.null", "--debuginfod")
    assert len(server.asked) == 2
    assert f"{server.url}: HTTP 404" in step(crash, "debuginfod")["finding"]
    assert "The machine had been up for " in step(crash, "system")["finding"]


def test_the_next_server_is_asked_and_half_a_file_is_none(
    dumps: Path, server: Server, tmp_path: Path
) -> None:
    build_id = server.add(dumps / "debug" / "ledger.ko")
    folder = tmp_path / "kept"
    server.lost = 1
    why = Debuginfod(["http://127.0.0.1:9", server.url], folder=folder).fetch(build_id)
    assert "http://127.0.0.1:9: [Errno 111] Connection refused; " in why
    assert f"{server.url}: " in why
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    server.lost = 0
    assert Debuginfod(["http://127.0.0.1:9", f"{server.url}/"], folder=folder).fetch(build_id) == ""
    (kept,) = (path for path in folder.rglob("*") if path.is_file())
    assert kept.read_bytes() == (dumps / "debug" / "ledger.ko").read_bytes()


def test_elfutils_server_gives_it_over_http_and_over_https_that_is_trusted(
    dumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = [dumps / "debug" / name for name in ("vmlinux", "ledger.ko")]
    with elfutils(dumps / "debug", [build_id_of(path) for path in files]) as url, tls(url, authority) as safe:
        monkeypatch.setenv("DEBUGINFOD_URLS", safe)
        crash = explain(dumps / "vmcore.null", "--debuginfod")
        assert "certificate verify failed" in step(crash, "debuginfod")["finding"]
        for server, trusted in ((safe, tmp_path / "ca.pem"), (url, tmp_path / "none")):
            monkeypatch.setenv("DEBUGINFOD_URLS", server)
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            crash = explain(dumps / "vmcore.null", "--debuginfod")
            assert crash["vmcore"]["pointer"] == "account->owner"
            kept = [path for path in (tmp_path / "cache").rglob("*.debug") if path.is_file()]
            assert {path.stat().st_size for path in kept} == {path.stat().st_size for path in files}
            for path in kept:
                path.unlink()


def test_unused_files_are_removed_once(server: Server, tmp_path: Path) -> None:
    old, young = (tmp_path / ".build-id" / "ab" / f"{name}.debug" for name in ("01", "02"))
    old.parent.mkdir(parents=True)
    young.touch()

    def leave() -> None:
        old.touch()
        os.utime(old, (1, 1))

    leave()
    downloads = Debuginfod([server.url, server.url], folder=tmp_path)
    downloads.fetch("ab03ab03")
    assert not old.exists()
    assert young.exists()
    leave()
    downloads.fetch("ab03ab03")
    assert old.exists()


@pytest.mark.parametrize("build_id", ["", "../../etc/passwd", "ABCDEF0123", "0123456789\n", "0" * 200])
def test_an_invalid_build_id_is_not_requested(build_id: str, server: Server, tmp_path: Path) -> None:
    assert "is no build ID" in Debuginfod([server.url], folder=tmp_path).fetch(build_id)
    assert server.asked == []


def test_a_server_has_to_be_named(dumps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    done = subprocess.run(
        [sys.executable, "-m", "kpanic", "explain", "--debuginfod", dumps / "vmcore.null"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert "no server is named in DEBUGINFOD_URLS" in done.stderr
