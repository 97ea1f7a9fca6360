"""Secrets of the command line and of the configuration are neither sent nor shown."""

from __future__ import annotations

import base64
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from kpanic.shipper.api import hide_secrets, remember_secret
from kpanic.shipper.commands.explain import command as explain
from kpanic.shipper.commands.parse import command as parse
from kpanic.shipper.delivery import Delivery
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.store import Store
from tests.shipper.samples import packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2-x.y$z"  # noqa: S105
LOG = f"""\
[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org) #1 SMP Debian 6.1.76-1
[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=/dev/sda1 mount.password={SECRET} quiet
[    0.000000] Unknown kernel command line parameters "mount.password={SECRET}", will be passed to user space.
[   10.000000] EXT4-fs error (device sda1): ext4_find_entry:1: inode #2: comm {SECRET}: reading directory
[   11.000000] mce: [Hardware Error]: Machine check events logged {SECRET}
[   42.000000] WARNING: CPU: 0 PID: 1 at mm/{SECRET}.c:12 warn_slowpath+0x1/0x2
[   42.000000] CPU: 0 PID: 1 Comm: {SECRET[:15]} Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1
[   42.000000] Call Trace:
[   42.000000]  write_sysrq_trigger+0x24/0x40
[   42.000000] ---[ end trace 0000000000000000 ]---
[   43.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on {SECRET}
[   43.000000] CPU: 0 PID: 1 Comm: {SECRET} Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1
[   43.000000] Call Trace:
[   43.000000]  panic+0x107/0x2c5
[   43.000000]  mount_block_root+0x2c5/0x2e6
[   43.000000] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on {SECRET} ]---
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    path.write_text(LOG)
    return path


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html"])
def test_a_reading_shows_no_secret_of_the_command_line(log: Path, form: str) -> None:
    for arguments in ([str(log)], [str(log), "--against", str(log)]):
        done = CliRunner().invoke(explain, [*arguments, "--format", form], standalone_mode=False)
        assert done.exception is None
        assert "Unable to mount root fs" in done.stdout.replace("\\", "")
        assert "hunter2" not in done.stdout
        assert "redacted" in done.stdout


@pytest.mark.parametrize("form", ["ndjson", "text", "table"])
def test_a_document_holds_no_secret_of_the_command_line(log: Path, form: str) -> None:
    done = CliRunner().invoke(parse, [str(log), "--format", form], standalone_mode=False)
    assert done.exception is None
    assert "hunter2" not in done.stdout
    if form == "ndjson":
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert "[redacted]" in documents[0]["event"]["reason"]


def test_messages_hide_secrets_as_they_are_in_base64_and_in_urls() -> None:
    remember_secret("swordfish-1")
    remember_secret("abc")
    basic = base64.b64encode(b"user:swordfish-1").decode()
    for text in (
        "bad password swordfish-1",
        f"Authorization: Basic {basic}",
        f'{{"Authorization":"Basic {basic}"}}',
        f"ApiKey {base64.urlsafe_b64encode(b'id:swordfish-1~~~').decode()}",
        "http://me:other-secret@host/",
    ):
        hidden = hide_secrets(text)
        assert "[secret]" in hidden
        for secret in ("swordfish", basic.rstrip("="), "other-secret"):
            assert secret not in hidden
    remember_secret("word")
    assert hide_secrets("password of word: (word)") == "password of [secret]: ([secret])"
    for text in ("abc is too short to look for", "0123456789abcdef" * 3, "index logs-kernel.panic-default"):
        assert hide_secrets(text) == text


class Echo(BaseHTTPRequestHandler):
    """Answers every request with the request itself."""

    status = 403

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = {"error": {"type": "echo", "reason": f"headers {dict(self.headers)}"}, "status": self.status}
        body = json.dumps(said).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
@pytest.mark.parametrize("kind", [OpenSearchOutput, ElasticsearchOutput])
def test_a_receiver_that_answers_with_our_secret_does_not_get_it_into_messages_or_the_store(
    tmp_path: Path,
    echo: str,
    kind: type[OpenSearchOutput | ElasticsearchOutput],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Echo, "status", status)
    config = kind.Config(hosts=[echo], username="me", password="swordfish-2")  # noqa: S106
    said: list[str] = []
    with Store(tmp_path / "data" / "kpanic.db") as store:
        store.add([packed(1)])

        def say(message: str, level: str = "warn") -> None:
            said.append(f"{level}: {message}")

        delivery = Delivery(store, kind(config), attempts=1, say=say)
        delivery.finish()
        delivery.start()
        delivery.join()
        letters = [letter.reason for letter in store.dead_letters()]
        everything = " ".join([*said, delivery.trouble, *letters, store.outputs()[0].trouble])
    assert said
    assert "swordfish" not in everything
    assert base64.b64encode(b"me:swordfish-2").decode() not in everything
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert not re.search(rb"swordfish|" + re.escape(base64.b64encode(b"me:swordfish-2")), stored)
