"""The port of metrics: unfinished requests cost no descriptors, and do not block other clients."""

from __future__ import annotations

import os
import re
import socket
import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.grammars import faults
from kpanic.shipper import metrics
from kpanic.shipper.api import WATCHDOG, DropReason
from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port() -> Iterator[int]:
    """Serve the metrics of an idle service."""
    service: Any = SimpleNamespace(crashes=Counter(), dropped=Counter(), deliveries=[])
    store: Any = SimpleNamespace(outputs=list, size=lambda: 0)
    number = parts.free_port(25_100)
    with metrics.serve("127.0.0.1", number, service, store):
        yield number


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return str(answer.read().decode())


def test_every_metric_is_documented_and_every_documented_one_is_served(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_counts", Counter({"line": 2}))
    monkeypatch.setattr(WATCHDOG, "interrupted", 3)
    text = scraped(port)
    assert 'kpanic_grammar_faults_total{stage="line"} 2.0' in text
    assert "kpanic_watchdog_interruptions_total 3.0" in text
    served = set(re.findall(r"^# TYPE (kpanic_\w+)", text, re.MULTILINE))
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert served == set(re.findall(r"^\| `(kpanic_\w+)`", page, re.MULTILINE))
    reasons = page[page.index("| reason |") :]
    assert set(re.findall(r"^\| `(\w+)`", reasons, re.MULTILINE)) == set(DropReason)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder changes meanwhile


def test_half_requests_take_few_descriptors_and_an_honest_scrape_is_answered(port: int) -> None:
    before = descriptors()
    with ExitStack() as clients:
        for _ in range(200):
            one = clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(b"GET /metrics HTTP/1.1\r\nHost")
        until(lambda: descriptors() - before <= 200 + metrics.CONNECTIONS)
        assert "kpanic_store_bytes 0.0" in scraped(port)
        # The thread of a disconnected client closes its socket a moment later.
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

        until(ended)
