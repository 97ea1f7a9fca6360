"""What Prometheus may know of the running service, on a port of its own.

:see: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from kpanic import __version__
from kpanic.shipper.api import DeliveryStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from prometheus_client import Metric

    from kpanic.shipper.service import Service
    from kpanic.shipper.store import OutputStatus, Store

__all__ = ["serve"]


def serve(host: str, port: int, service: Service, store: Store) -> AbstractContextManager[None]:
    """Listen at once, and answer until the end of the context.

    :raises OSError: the port cannot be had.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Panics(service, store))
    server, thread = start_http_server(port, host, registry)

    @contextmanager
    def serving() -> Iterator[None]:
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    return serving()


_GAUGES: dict[str, tuple[str, Callable[[OutputStatus], float]]] = {
    "pending": ("Documents neither delivered nor refused.", lambda state: state.pending),
    "dead": ("Documents refused for good; 'kpanic replay' delivers them.", lambda state: state.dead),
    "trouble": ("1 while nothing is delivered; 'kpanic status' says why.", lambda state: bool(state.trouble)),
    "last_delivery_timestamp_seconds": (
        "When something was delivered last; 0 for never.",
        lambda state: state.last_delivery or 0.0,
    ),
}


class _Panics(Collector):
    """Asks the service and the store when it is asked."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service = service
        self._store = store

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(
            "kpanic_build",
            "What runs.",
            value={"version": __version__, "pythonversion": platform.python_version()},
        )
        for name, text, counts in (
            ("crashes", "Crashes read since the start, those known before included.", self._service.crashes),
            ("dropped_messages", "Messages that were too many of one sender.", self._service.dropped),
        ):
            counter = CounterMetricFamily(f"kpanic_input_{name}", text, labels=["input"])
            for one, number in counts.items():
                counter.add_metric([one], number)
            yield counter
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
