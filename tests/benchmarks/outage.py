"""Simulates an outage: documents are spooled with bounded memory, then delivered as fast as possible.

    python -m tests.benchmarks.outage                      100,000 documents, to both engines
    python -m tests.benchmarks.outage --documents 20000    fewer

Spooled: the outputs are down while crashes arrive; "resident" is the process's memory at a tenth, at the half
and at the end. Drained: the spool to the engine, in turns with the client's own ``helpers.bulk`` with its
defaults, for which the same documents are made beforehand; "of the helper" is the ratio of the two rates. The
engines are real, with the templates that ``kpanic setup`` brings; the documents are the tests', 8.7 KB each.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import elasticsearch.helpers
import opensearchpy.helpers

from kpanic.shipper.delivery import Delivery
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.packed import Packed
from kpanic.shipper.setup import setup_index_management
from kpanic.shipper.store import Store
from tests.benchmarks.service import resident
from tests.engines import documents, parts
from tests.engines.search import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 100
TURNS = 10
PRODUCTS: dict[str, tuple[type[Any], type[Any], Callable[..., object]]] = {
    "opensearch": (OpenSearchOutput, opensearchpy.OpenSearch, opensearchpy.helpers.bulk),
    "elasticsearch": (ElasticsearchOutput, elasticsearch.Elasticsearch, elasticsearch.helpers.bulk),
}


def add(store: Store, numbers: range) -> None:
    """Store documents as an input does."""
    for start in range(numbers.start, numbers.stop, BATCH):
        made = [documents.stored(n, "outage") for n in range(start, min(start + BATCH, numbers.stop))]
        store.add(
            [Packed(one.id, one.id, "2026-01-01T00:00:00.000Z", fatal=True, body=one.body) for one in made]
        )


def spool(store: Store, count: int) -> None:
    """Store documents while no output accepts them."""
    down = [kind(kind.Config(hosts=["http://127.0.0.1:9"])) for kind, _, _ in PRODUCTS.values()]
    deliveries = [Delivery(store, output) for output in down]
    for delivery in deliveries:
        delivery.start()
    marks = [count // 10, count // 2, count]
    began = time.perf_counter()
    memory = []
    for start, end in zip([0, *marks], marks, strict=False):
        add(store, range(start, end))
        for delivery in deliveries:
            delivery.wake()
        memory.append(resident(os.getpid()))
    seconds = time.perf_counter() - began
    for delivery in deliveries:
        delivery.stop()
        delivery.join()
    print(
        f"spooled {count} documents: {count / seconds:.0f}/s, {store.size() / 1e6:.0f} MB on disk; resident "
        + ", ".join(f"{megabytes:.0f} MB at {mark}" for mark, megabytes in zip(marks, memory, strict=True)),
        flush=True,
    )


class Part:
    """A view of the store with a limited number of documents."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.left = 0

    def pending(self, output: str, limit: int, until: int | None = None) -> list[Any]:
        """See :meth:`Store.pending`."""
        return self._store.pending(output, min(limit, self.left), until)

    def has_pending(self, output: str) -> bool:
        """See :meth:`Store.waiting`."""
        return self.left > 0 and self._store.has_pending(output)

    def settle(self, output: str, batch: list[Any], outcomes: list[Any]) -> None:
        """See :meth:`Store.settle`."""
        self._store.settle(output, batch, outcomes)
        self.left -= len(batch)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._store, name)


def drain(store: Store, product: str, count: int) -> None:
    """Deliver the spool, and send the same documents with the client's helper, in turn."""
    kind, client, bulk = PRODUCTS[product]
    node = Node(product, f"http://127.0.0.1:{parts.free_port(22_000)}")
    try:
        node.start()
        output = kind(kind.Config(hosts=[node.url]))
        list(setup_index_management(output))
        output.close()
        plain = (
            client(node.url, timeout=60) if product == "opensearch" else client(node.url, request_timeout=60)
        )
        part = Part(store)
        ours = theirs = peak = 0.0
        for turn in range(TURNS):
            made = list(actions(range(turn * count // TURNS, (turn + 1) * count // TURNS)))
            for mine in (turn % 2, 1 - turn % 2):  # the order changes, so that neither is always first
                base = resident(os.getpid())
                began = time.perf_counter()
                if mine:
                    part.left = len(made)
                    delivery = Delivery(part, kind(kind.Config(hosts=[node.url])))  # type: ignore[arg-type]
                    delivery.start()
                    delivery.finish()
                    delivery.join()
                    ours += time.perf_counter() - began
                    peak = max(peak, resident(os.getpid()) - base)
                else:
                    bulk(plain, made)
                    theirs += time.perf_counter() - began
        for name in ("outage", "helper"):
            assert node.count(f"logs-kernel.panic-{name}") == count
        print(
            f"{product}: drained {count / ours:.0f}/s, the helper {count / theirs:.0f}/s:"
            f" {theirs / ours:.2f} of the helper; resident memory grew by {peak:.0f} MB at most",
            flush=True,
        )
    finally:
        node.remove()


def actions(numbers: range) -> Iterator[dict[str, Any]]:
    """Yield the documents as actions of the helper."""
    for number in numbers:
        one = documents.stored(number, "outage")
        source = json.loads(one.body)
        yield {"_op_type": "create", "_index": "logs-kernel.panic-helper", "_id": one.id, "_source": source}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=100_000)
    count: int = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "kpanic.db") as store:
        spool(store, count)
        for product in PRODUCTS:
            drain(store, product, count)


if __name__ == "__main__":
    main()
