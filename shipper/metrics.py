"""Metrics of the running service for Prometheus, served on a port of their own.

:see: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import platform
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from kpanic import __version__
from kpanic.grammars import faults
from kpanic.shipper.api import MEMORY, WATCHDOG, DeliveryStatus, DropReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from prometheus_client import Metric

    from kpanic.shipper.service import Service
    from kpanic.shipper.store import OutputStatus, Store

__all__ = ["serve"]

CONNECTIONS: Final = 32
"""Maximum clients at once; the oldest connection makes room."""
CROWDED: Final = 0.01
"""Seconds between two accepted clients at that maximum: each client then has these seconds times
:data:`CONNECTIONS` for its request.
"""
LONGEST: Final = 10.0
"""Seconds that a client may take from its connection to the end of the answer."""


def serve(host: str, port: int, service: Service, store: Store) -> AbstractContextManager[None]:
    """Listen immediately, and answer until the end of the context.

    :raises OSError: the port cannot be used.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_ServiceCollector(service, store))
    kind = type("Server", (_Server,), {"address_family": socket.AF_INET6 if ":" in host else socket.AF_INET})
    server = kind((host, port), MetricsHandler.factory(registry))
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    @contextmanager
    def serving() -> Iterator[None]:
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    return serving()


class _Server(ThreadingHTTPServer):
    """Answers few clients at once, each for a limited time, so that they take few descriptors."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - the library's own
        self._connected: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's own
        if len(self._connected) >= CONNECTIONS:
            time.sleep(CROWDED)
        with self._lock:
            if len(self._connected) >= CONNECTIONS:
                self._cut(next(iter(self._connected)))
            self._connected[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut off clients that take too long; called twice a second."""
        now = time.monotonic()
        with self._lock:
            for request, since in list(self._connected.items()):
                if now - since > LONGEST:
                    self._cut(request)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - the library's own
        with self._lock:
            self._connected.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the library's own
        """Log nothing about clients that went away."""

    def _cut(self, request: socket.socket) -> None:
        """End a connection; its thread closes the socket."""
        del self._connected[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


_GAUGES: dict[str, tuple[str, Callable[[OutputStatus], float]]] = {
    "pending": ("Documents neither delivered nor refused.", lambda state: state.pending),
    "dead": ("Documents refused for good; 'kpanic replay' delivers them.", lambda state: state.dead),
    "trouble": ("1 while nothing is delivered; 'kpanic status' says why.", lambda state: bool(state.trouble)),
    "last_delivery_timestamp_seconds": (
        "When something was delivered last; 0 for never.",
        lambda state: state.last_delivery or 0.0,
    ),
}


class _ServiceCollector(Collector):
    """Reads the service and the store at each scrape."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service = service
        self._store = store

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "kpanic_build",
            "Version of kpanic and of Python.",
            value={"version": __version__, "pythonversion": platform.python_version()},
        )
        crashes = CounterMetricFamily(
            "kpanic_input_crashes",
            "Crashes read since the start, those known before included.",
            labels=["input"],
        )
        dropped = CounterMetricFamily(
            "kpanic_input_dropped_messages",
            "Messages that arrived and were discarded, by reason.",
            labels=["input", "reason"],
        )
        for name, number in self._service.crashes.items():
            crashes.add_metric([name], number)
            for reason in DropReason:
                dropped.add_metric([name, reason], self._service.dropped[name, reason])
        yield crashes
        yield dropped
        yield GaugeMetricFamily(
            "kpanic_memory_held_bytes", "Bytes counted against memory.limit.", MEMORY.held
        )
        yield GaugeMetricFamily("kpanic_memory_limit_bytes", "The value of memory.limit.", MEMORY.limit)
        yield CounterMetricFamily(
            "kpanic_watchdog_interruptions",
            "Pieces of text that were given up, as reading them took too much of a processor.",
            WATCHDOG.interrupted,
        )
        found = CounterMetricFamily(
            "kpanic_grammar_faults",
            "Faults of the program at a text, each of which is logged.",
            labels=["stage"],
        )
        for stage, number in faults.counts().items():
            found.add_metric([stage], number)
        yield found
        documents = CounterMetricFamily(
            "kpanic_output_documents",
            "Outcomes of deliveries since the start; a document that is retried has several.",
            labels=["output", "status"],
        )
        for delivery in self._service.deliveries:
            for status in DeliveryStatus:
                documents.add_metric([delivery.output.name, status], delivery.outcomes[status])
        yield documents
        yield from self._outputs()
        yield GaugeMetricFamily("kpanic_store_bytes", "Size of the store's files.", value=self._store.size())

    def _outputs(self) -> Iterator[Metric]:
        states = {state.name: state for state in self._store.outputs()}
        for name, (text, of) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"kpanic_output_{name}", text, labels=["output"])
            for delivery in self._service.deliveries:
                gauge.add_metric([delivery.output.name], of(states[delivery.output.name]))
            yield gauge
