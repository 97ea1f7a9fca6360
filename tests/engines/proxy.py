"""Proxies that inject planned faults between kpanic and a real receiver."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import socketserver
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Answer:
    """An answer of the proxy in place of the engine's."""

    status: int
    body: bytes = b"{}"
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


CUT = "cut"  # cut the connection before the request reaches the engine
SWALLOW = "swallow"  # cut the answer: the engine processed the request, but the client does not know
HANG = "hang"  # neither answer nor close the connection
Fault = Answer | str | None


class HttpProxy:
    """Forwards requests to ``url`` unless a fault is planned; ``seen`` has the outcome of each request.

    ``plan`` is consumed one a bulk request; ``always`` decides from its (inflated) body.
    """

    def __init__(self, url: str) -> None:
        self.plan: deque[Fault] = deque()
        self.always: Callable[[bytes], Fault] = lambda _: None
        self.instead: dict[str, Answer] = {}
        """Answers to other requests, by their path."""
        self.once: dict[str, Answer] = {}
        """Answers that are given once, by method and path."""
        self.seen: list[Fault] = []
        self.down = False
        """Whether every connection is cut."""
        self.headers: list[dict[str, str]] = []
        self._target = url.removeprefix("http://")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                outer._handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._released = threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        fault: Fault = self.instead.get(request.path)
        fault = self.once.pop(f"{request.command} {request.path}", fault)
        if request.path.startswith("/_bulk"):
            self.headers.append(dict(request.headers))
            inflated = gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body
            fault = self.plan.popleft() if self.plan else self.always(inflated)
            self.seen.append(fault)
        if fault == HANG:
            self._released.wait(30)
        if self.down or fault in {CUT, HANG}:
            self._cut(request)
            return
        try:
            answer = fault if isinstance(fault, Answer) else self._ask(request, body)
        except (OSError, http.client.HTTPException):  # the engine is down, so the proxy is too
            fault = SWALLOW
        if fault == SWALLOW:
            self._cut(request)
            return
        with contextlib.suppress(OSError):
            request.send_response(answer.status)
            request.send_header("content-type", answer.kind)
            request.send_header("content-length", str(len(answer.body)))
            for name, value in answer.headers:
                request.send_header(name, value)
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(answer.body)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        names = ("content-type", "content-encoding", "authorization", "accept")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        connection.request(request.command, request.path, body or None, headers)
        with connection.getresponse() as answer:
            product = answer.headers.get("x-elastic-product")
            kept = (("x-elastic-product", product),) if product else ()
            kind = answer.headers.get("content-type", "application/json")
            made = Answer(answer.status, answer.read(), kind, kept)
        connection.close()
        return made

    @staticmethod
    def _cut(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        # close() alone leaves open the descriptors of makefile().
        with contextlib.suppress(OSError):
            request.connection.shutdown(socket.SHUT_RDWR)


class TcpProxy:
    """Forwards bytes to ``port``; ``swallow`` drops the answers, ``seen`` counts the dropped ones."""

    def __init__(self, port: int) -> None:
        self.swallow = False
        self.lose: Callable[[bytes], bool] = lambda _: False
        """Whether to cut the connection instead of forwarding bytes of the client."""
        self.seen = 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    receiver = socket.create_connection(("127.0.0.1", port))
                except OSError:  # the receiver is down, so the proxy is too
                    return
                with contextlib.suppress(OSError), receiver:
                    back = threading.Thread(target=outer._back, args=(receiver, self.request), daemon=True)
                    back.start()
                    while data := self.request.recv(1 << 20):
                        if outer.lose(data):
                            outer.seen += 1
                            break
                        receiver.sendall(data)
                    for end in (receiver, self.request):
                        with contextlib.suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def _back(self, receiver: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := receiver.recv(65536):
                if self.swallow:
                    self.seen += 1
                    break
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
