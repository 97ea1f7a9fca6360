"""Every panic counts once: in the store, and on the dashboards of both engines."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from kpanic.dashboards.embedded import evaluate
from kpanic.dashboards.panels import INCIDENTS, of_fleet
from kpanic.dashboards.query import query, read
from kpanic.shipper.store import Store
from tests.shipper.test_cli import LOGS, Run
from tests.shipper.test_incidents import NOON, WAYS, Boot, dump, seen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.engines.search import Engine

BOOTS = sorted((LOGS / "boots").glob("*.log"))
"""One machine that crashed in six boots at the same place; only printk's times differ."""
LOOP = [Boot(NOON + 40 * number, 0.000137 * (number * 7919 % 200), "looper") for number in range(200)]
CLONES = [Boot(NOON, 0.000001 * number, f"clone{number}") for number in range(200)]
PAIRS = [
    (one, other)
    for one, other in itertools.combinations(WAYS, 2)
    if WAYS[one].provider != WAYS[other].provider
]
PANELS = [
    panel
    for dashboard in of_fleet(1)
    for panel in dashboard.panels
    if panel.metrics[0].field == INCIDENTS.field
]
PANICS = next(panel for panel in PANELS if panel.id == "panics")


def saved(boots: Iterable[Boot], folder: Path) -> None:
    """Write the folders that kdump saves over a network, one for each crash, with the host's name."""
    for boot in boots:
        died = datetime.fromtimestamp(boot.began + 60, UTC)
        file = folder / f"{boot.host}-{died:%Y-%m-%d-%H:%M:%S}" / "vmcore-dmesg.txt"
        file.parent.mkdir(parents=True)
        file.write_text(dump(boot), encoding="utf-8")


@pytest.mark.process
def test_every_panic_counts_once_in_the_store_and_on_both_engines_dashboards(
    opensearch: Engine, elasticsearch: Engine, namespace: str, tmp_path: Path
) -> None:
    """With six boots, a boot loop, clones that crash at boot, and each pair of transports of one crash."""
    kpanic = Run(tmp_path)
    saved((*LOOP, *CLONES), tmp_path / "crash")
    kpanic.store.parent.mkdir()
    with Store(kpanic.store) as store:
        for number, pair in enumerate(PAIRS):
            boot = Boot(NOON + 86400, 0.001 * number, f"pair{number}")
            for way in pair:
                store.add([seen(way, boot, namespace)])
    engines = (opensearch, elasticsearch)
    options = ["-E", f"data_stream.namespace={namespace}"]
    for engine in engines:
        options += ["-E", f"output.{engine.product}.hosts={engine.url}"]
    kpanic("setup", "--index-management", *options)
    kpanic("ship", *BOOTS, tmp_path / "crash", *options)

    panics = len(BOOTS) + len(LOOP) + len(CLONES) + len(PAIRS)
    with Store(kpanic.store, readonly=True) as store:
        documents = list(store.documents())
        assert store.status().incidents == panics
    assert len(documents) == panics + len(PAIRS)
    (number,) = evaluate(PANICS, documents)
    assert number.values == (panics,)
    index = f"logs-kernel.panic-{namespace}"
    for engine in engines:
        engine.ask("POST", f"/{index}/_refresh")
        assert engine.ask("GET", f"/{index}/_count")["count"] == len(documents)
        for panel in PANELS:
            rows = read(panel, engine.ask("POST", f"/{index}/_search", query(panel)))
            assert rows == evaluate(panel, documents), (engine.product, panel.id)
