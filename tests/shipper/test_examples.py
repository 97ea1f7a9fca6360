"""Plugins of another distribution, used by an unchanged kpanic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.api import Stored
from kpanic.shipper.contract import check_input, check_output, crash_text
from tests.engines import parts
from tests.shipper.processes import KPANIC
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parent.parent / "examples"
LONGEST_LINE = 256 << 10
"""Loki's own default of ``limits_config.max_line_size``."""


class Loki:
    """Loki's push endpoint: lines that are too long are refused, the others of a request accepted."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], str] = {}
        self.port = parts.free_port(25_700)
        self._server = self._serve(self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines.values())]

    @contextmanager
    def down(self) -> Iterator[None]:
        self.close()
        yield
        self._server = self._serve(self.port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, port: int) -> ThreadingHTTPServer:
        loki = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200 if self.path == "/ready" else 404, b"ready")

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert (self.path, self.headers["x-scope-orgid"]) == ("/loki/api/v1/push", "fleet")
                refused = [loki.take(stream) for stream in request["streams"]]
                self._answer(
                    400 if any(refused) else 204, b"Max entry size exceeded" if any(refused) else b""
                )

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def take(self, stream: dict[str, Any]) -> bool:
        """Accept the lines of a stream; return whether one was refused."""
        refused = False
        for nanoseconds, line in stream["values"]:
            if len(line.encode()) > LONGEST_LINE:
                refused = True
            else:
                self.lines[nanoseconds, json.loads(line)["labels"]["document_id"]] = line
        return refused


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build and install the distribution of examples; kpanic is not changed."""
    source = tmp_path_factory.mktemp("source") / "kpanic-examples"
    shutil.copytree(EXAMPLES, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, timeout=1200)
    return target


@pytest.fixture
def loki() -> Iterator[Loki]:
    made = Loki()
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path, loki: Loki) -> Path:
    (tmp_path / "consoles").mkdir()
    path = tmp_path / "kpanic.yml"
    path.write_text(
        f"""
path.data: {tmp_path / "data"}
inputs:
  - type: consoles
    path: {tmp_path / "consoles"}
    scan_interval: 0.1
output.loki:
  host: {loki.url}
  tenant: fleet
"""
    )
    return path


def kpanic(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [*KPANIC, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_configuration_knows_the_plugins_keys(installed: Path, config: Path) -> None:
    done = kpanic(installed, "test", "config", "-c", str(config))
    assert (done.returncode, "outputs: loki" in done.stdout) == (0, True), done.stderr
    done = kpanic(installed, "test", "config", "-c", str(config), "-E", "output.loki.tennant=x")
    assert done.returncode == 2
    assert "tenant" in done.stderr, "the nearest key is named"


def test_ship_delivers_through_the_plugin(installed: Path, config: Path, tmp_path: Path, loki: Loki) -> None:
    (tmp_path / "console.log").write_bytes(crash_text(1))
    done = kpanic(installed, "ship", "-c", str(config), str(tmp_path / "console.log"))
    assert done.returncode == 0, done.stderr
    assert [document["process"]["pid"] for document in loki.documents()] == [1001]


def test_the_service_runs_both_plugins(installed: Path, config: Path, tmp_path: Path, loki: Loki) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    service = subprocess.Popen([*KPANIC, "run", "-c", str(config)], env=environment)
    try:
        (tmp_path / "consoles" / "web-1.log").write_bytes(crash_text(2))
        until(loki.documents)
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    [document] = loki.documents()
    assert document["host"]["name"] == "web-1"
    assert document["event"]["provider"] == "serial"


def test_both_keep_their_contract(
    installed: Path, tmp_path: Path, loki: Loki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    from kpanic_consoles import ConsolesConfig, ConsolesInput  # noqa: PLC0415 - installed just now
    from kpanic_loki import LokiConfig, LokiOutput  # noqa: PLC0415

    keys = LokiConfig(host=loki.url, tenant="fleet", username="kpanic", password="pass word")  # noqa: S106
    long = b'{"labels":{"text":"%s"}}' % (b"x" * LONGEST_LINE)
    check_output(
        lambda: LokiOutput(keys),
        loki.documents,
        outage=loki.down,
        unacceptable=Stored(999, "too-long", long),
        secrets=["pass word"],
    )

    def write(text: bytes) -> None:
        with (tmp_path / "web-1.log").open("ab") as file:
            file.write(text)

    check_input(
        lambda: ConsolesInput(ConsolesConfig(path=str(tmp_path), scan_interval=0.1)), write, lasting=True
    )
