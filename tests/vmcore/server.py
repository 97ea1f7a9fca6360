"""Servers of debuginfod: that of elfutils, a scripted one, and TLS in front of either."""

from __future__ import annotations

import http.client
import http.server
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drgn import Program

from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import trustme


def build_id_of(path: Path) -> str:
    """Return the build ID of a file in hexadecimal digits."""
    module = Program().extra_module(path.name, create=True)
    module.try_file(path)
    return str(module.build_id.hex())


@contextmanager
def elfutils(folder: Path, wanted: list[str]) -> Iterator[str]:
    """Run elfutils' debuginfod on a folder; yield its URL once it has indexed a file.

    :param wanted: build IDs.
    """
    program = shutil.which("debuginfod")
    if program is None:
        parts.missing("debuginfod", "it is not installed")
    port = parts.free_port(27_000)
    there = f"127.0.0.1:{port}"
    command = [program, "-F", folder, "-p", str(port), "-d", ":memory:", "-t", "0", "-g", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def has(build_id: str) -> bool:
        assert process.poll() is None
        try:
            with _get(there, f"/buildid/{build_id}/debuginfo") as answer:
                return answer.status == http.HTTPStatus.OK
        except OSError:
            return False

    try:
        until(lambda: all(map(has, wanted)), every=0.1)
        yield f"http://{there}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def _get(server: str, path: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server, timeout=60)
    try:
        connection.request("GET", path)
        yield connection.getresponse()
    finally:
        connection.close()


@contextmanager
def tls(target: str, authority: trustme.CA) -> Iterator[str]:
    """Put TLS in front of a server; yield the URL."""

    class Front(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with _get(target.removeprefix("http://"), self.path) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Length", answer.headers["Content-Length"])
                self.end_headers()
                shutil.copyfileobj(answer, self.wfile)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that do not trust the certificate."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(("127.0.0.1", 0), Front) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Server(http.server.ThreadingHTTPServer):
    """Serves files as debuginfod does: ``/buildid/BUILDID/debuginfo``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Path] = {}
        self.asked: list[str] = []
        self.lost = 0
        """Number of bytes at the end of each file that are not sent."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, path: Path) -> str:
        """Add a file; return its build ID."""
        build_id = build_id_of(path)
        self.files[build_id] = path
        return build_id


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        top, of, build_id, kind = self.path.split("/")
        assert (top, of, kind) == ("", "buildid", "debuginfo")
        self.server.asked.append(build_id)
        path = self.server.files.get(build_id)
        if path is None:
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.lost])

    def log_message(self, *_: object) -> None:
        """Say nothing."""
