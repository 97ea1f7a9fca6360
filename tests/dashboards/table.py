"""Prints the numbers of every panel over all crashes of the logs in the store and in both engines.

    python -m tests.dashboards.table

Ships ``tests/logs`` with the shipper itself into a store and both engines (its own, or those at
``OPENSEARCH_URL`` and ``ELASTICSEARCH_URL``), asks each engine each panel's query, and puts the answers
beside what the same documents in the store answer. A signature's document is written when it is first
shipped; the panels about these are held to what OpenSearch then has. Ends with 1 where any of them differs.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.embedded import Row, evaluate
from kpanic.dashboards.panels import INDEX, TIME, Panel, of_fleet
from kpanic.dashboards.query import query, read
from kpanic.shipper.store import Store
from tests.conftest import PORTS
from tests.engines import parts
from tests.engines.search import Engine, Node
from tests.shipper.test_cli import LOGS, Run

if TYPE_CHECKING:
    from collections.abc import Sequence


def engines(stack: ExitStack) -> list[Engine]:
    """Return both engines; start those that the environment does not name."""
    found: list[Engine] = []
    for product, port in PORTS.items():
        if url := os.environ.get(f"{product.upper()}_URL"):
            found.append(Engine(product, url.rstrip("/")))
            continue
        node = Node(product, f"http://127.0.0.1:{parts.free_port(port)}")
        stack.callback(node.remove)
        node.start()
        found.append(node)
    return found


def told(panel: Panel, rows: Sequence[Row]) -> str:
    """Return the contents of a panel in short: the number of groups, and the first number."""
    if not rows:
        return "no group"
    first = [row.values[0] for row in rows]
    if panel.by and panel.metrics[0].kind == "distinct":
        return f"{len(rows)} groups, {sum(value for value in first if isinstance(value, int))} in all"
    if panel.metrics[0].kind == "distinct":
        return str(first[0])
    moment = max(value for value in first if isinstance(value, int)) / 1000
    day = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{len(rows)} groups, newest {day[:10]}" if panel.by else day


def main() -> int:
    """Print a line a panel."""
    namespace = uuid.uuid4().hex[:12]
    stream = f"logs-kernel.panic-{namespace}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        both = engines(stack)
        options = ["-E", f"data_stream.namespace={namespace}"]
        for engine in both:
            options += ["-E", f"output.{engine.product}.hosts={engine.url}"]
            if os.environ.get(f"{engine.product.upper()}_URL"):
                stack.callback(engine.ask, "DELETE", f"/_data_stream/{stream}")
        kpanic = Run(folder)
        kpanic("setup", "--index-management", *options)
        print(kpanic("ship", LOGS, *options)[1], file=sys.stderr)
        with Store(kpanic.store, readonly=True) as store:
            documents = list(store.documents())
        ids = {one["kernel"]["panic"].get("signature", {}).get("id") for one in documents}
        kept: dict[str, list[dict[str, Any]]] = {
            "panics": documents,
            "signatures": [hit["_source"] for hit in both[0].found(INDEX["signatures"]) if hit["_id"] in ids],
        }
        for engine in both:
            engine.ask("POST", f"/{stream},{INDEX['signatures']}/_refresh")
        different = 0
        print(f"{'panel':<22} {'store':<26} {both[0].product:<26} {both[1].product:<26} equal")
        for panel in (panel for dashboard in of_fleet(1) for panel in dashboard.panels):
            index = stream if panel.source == "panics" else INDEX["signatures"]
            answers = [evaluate(panel, kept[panel.source])]
            answers += [read(panel, engine.ask("POST", f"/{index}/_search", query(panel))) for engine in both]
            equal = all(answer == answers[0] for answer in answers)
            different += not equal
            print(f"{panel.id:<22}", *(f"{told(panel, rows):<26}" for rows in answers), equal or "NO")
        print(f"{different} differ; {len(documents)} documents, buckets of time: 1 day from {TIME}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
