"""A debuginfod server of the tests' own."""

from __future__ import annotations

import http.server
from typing import TYPE_CHECKING

from drgn import Program

if TYPE_CHECKING:
    from pathlib import Path


class Server(http.server.ThreadingHTTPServer):
    """Serves files as debuginfod does: ``/buildid/BUILDID/debuginfo``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Path] = {}
        self.asked: list[str] = []
        self.lost = 0
        """Bytes at the end of each file that do not arrive."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, path: Path) -> str:
        """Add a file; return its build ID."""
        module = Program().extra_module(path.name, create=True)
        module.try_file(path)
        self.files[module.build_id.hex()] = path
        return str(module.build_id.hex())


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
