"""Real crash logs through the real command into real receivers, and queries of the receivers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.shipper.test_cli import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.forward import Receiver
    from tests.engines.search import Engine

LOGS = Path(__file__).parent.parent / "logs"
GROUPS = {"kernels": "host.os.kernel", "rips": "kernel.panic.rip.symbol", "causes": "kernel.panic.cause"}


def counted(engine: Engine, index: str) -> dict[str, Any]:
    """Return incidents by kernel, place and cause from ``kpanic report --format json``."""
    engine.ask("POST", f"/{index}/_refresh")
    incidents = {"incidents": {"cardinality": {"field": "event.id", "precision_threshold": 40_000}}}
    asked = {
        name: {"terms": {"field": field, "size": 1000}, "aggs": incidents} for name, field in GROUPS.items()
    }
    answer = engine.ask("POST", f"/{index}/_search", {"size": 0, "aggs": {**asked, **incidents}})[
        "aggregations"
    ]
    return {
        "incidents": answer["incidents"]["value"],
        **{
            name: {bucket["key"]: bucket["incidents"]["value"] for bucket in answer[name]["buckets"]}
            for name in GROUPS
        },
    }


def reported(kpanic: Run) -> dict[str, Any]:
    summary = json.loads(kpanic("report", "--format", "json")[0])
    return {
        "incidents": summary["incidents"],
        **{name: {row["key"]: row["incidents"] for row in summary[name]} for name in GROUPS},
    }


def test_engine_and_local_report_tell_the_same_and_shipping_again_adds_nothing(
    engine: Engine, namespace: str, tmp_path: Path
) -> None:
    kpanic = Run(tmp_path)
    index = f"logs-kernel.panic-{namespace}"
    to = ("-E", f"output.{engine.product}.hosts={engine.url}", "-E", f"data_stream.namespace={namespace}")
    out, _ = kpanic("setup", "--index-management", *to)
    assert f"{engine.product}: index template kernel-panic: " in out
    assert engine.url in kpanic("test", "output", *to)[0]

    _, err = kpanic("ship", LOGS, *to)
    number = json.loads(kpanic("status", "--format", "json")[0])["documents"]
    assert number > 80
    assert f"{engine.product}: {number} delivered in all\n" in err
    assert engine.count(index) == number
    assert counted(engine, index) == reported(kpanic)

    _, err = kpanic("ship", LOGS, *to)
    assert "0 new" in err
    assert engine.count(index) == number

    again = Run(tmp_path / "elsewhere")  # another store: only the engine knows the signature
    again.folder.mkdir()
    _, err = again("ship", LOGS, *to)
    assert f"{engine.product}: {number} delivered in all\n" in err
    assert engine.count(index) == number


def test_a_forward_receiver_gets_and_acknowledges_each(
    receiver: Callable[..., Receiver], tmp_path: Path
) -> None:
    there = receiver()
    kpanic = Run(tmp_path)
    _, err = kpanic("ship", LOGS, "-E", f"output.fluentd.hosts={there.host}")
    number = json.loads(kpanic("status", "--format", "json")[0])["documents"]
    assert f"fluentd: {number} delivered in all\n" in err
    assert len(there.entries(number)) == number


@pytest.mark.parametrize("product", ["opensearch", "elasticsearch"])
def test_setup_of_an_engine_that_is_not_there_is_one_clear_line(product: str, tmp_path: Path) -> None:
    _, err = Run(tmp_path)("setup", "-E", f"output.{product}.hosts=http://127.0.0.1:9", code=1)
    (line,) = err.splitlines()
    assert "http://127.0.0.1:9" in line
    assert "Connection refused" in line
