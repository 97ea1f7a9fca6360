"""Receivers of messages: a mail server, an HTTP server, and a stand-in for Slack."""

from __future__ import annotations

import contextlib
import email
import email.policy
import select
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

import trustme
from aiosmtpd.controller import Controller

from tests.engines import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from aiosmtpd.smtp import SMTP, Envelope, Session

SLACK = "hooks.slack.com"


class Request(NamedTuple):
    """A request that a web server received."""

    path: str
    body: bytes


class Web:
    """An HTTP server that can be down; ``requests`` has the received requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = parts.free_port(25_400)
        self.requests: list[Request] = []
        self._tls = tls

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Answer requests during the context."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(Request(self.path, body))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self._tls:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Mail:
    """An SMTP server that can be down; ``messages`` has the received messages."""

    def __init__(self) -> None:
        self.port = parts.free_port(25_400)
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=email.policy.default)
        self.messages.append(message)  # type: ignore[arg-type] # as the policy says
        return "250 OK"

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Accept mail during the context."""
        controller = Controller(self, hostname="127.0.0.1", port=self.port, ready_timeout=60)
        controller.start()
        try:
            yield
        finally:
            controller.stop()


class Slack(Web):
    """A web server that is hooks.slack.com for clients that use its proxy and trust its authority."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(SLACK).configure_cert(context)
        super().__init__(context)
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        outer = self

        class Tunnel(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                wanted = self.rfile.readline().split()[1].decode()
                while self.rfile.readline().strip():
                    pass
                try:
                    assert wanted == f"{SLACK}:443"
                    target = socket.create_connection(("127.0.0.1", outer.port))
                except (OSError, AssertionError):
                    self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                    return
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                with target:
                    _pipe(self.connection, target)

        self._proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel)
        self._proxy.daemon_threads = True
        threading.Thread(target=self._proxy.serve_forever, args=(0.05,), daemon=True).start()
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._proxy.server_address[1]}",
            "REQUESTS_CA_BUNDLE": str(bundle),
        }

    def close(self) -> None:
        """Stop the proxy."""
        self._proxy.shutdown()
        self._proxy.server_close()


def _pipe(one: socket.socket, other: socket.socket) -> None:
    """Forward bytes in both directions until one side closes."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            data = source.recv(65_536)
            if not data:
                return
            (other if source is one else one).sendall(data)
