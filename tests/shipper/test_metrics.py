"""The metrics' port: clients that never finish cost neither descriptors nor the answer to an honest one."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper import metrics
from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def port() -> Iterator[int]:
    """Serve the metrics of a service that does nothing."""
    service: Any = SimpleNamespace(crashes=Counter(), dropped=Counter(), deliveries=[])
    store: Any = SimpleNamespace(outputs=list, size=lambda: 0)
    number = parts.free_port(25_100)
    with metrics.serve("127.0.0.1", number, service, store):
        yield number


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of a folder that changes meanwhile


def test_half_requests_take_few_descriptors_and_an_honest_scrape_is_answered(port: int) -> None:
    before = descriptors()
    with ExitStack() as clients:
        for _ in range(200):
            one = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost")
        until(lambda: descriptors() - before <= 200 + metrics.CONNECTIONS)
        assert "kpanic_store_bytes 0.0" in scraped(port)
        # The thread of a client that was cut off closes its socket, a moment later.
        until(lambda: descriptors() - before <= 200 + metrics.CONNECTIONS)
    until(lambda: descriptors() <= before + 1)


def test_a_client_that_drips_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LONGEST", 0.3)
    with socket.create_connection(("127.0.0.1", port)) as one:
        one.settimeout(0.1)
        one.sendall(b"GET /metrics HTTP/1.1\r\n")

        def ended() -> bool:
            try:
                one.sendall(b"x")
                return one.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        until(ended, 5)
