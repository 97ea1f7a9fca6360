"""OpenSearch's own code reads and writes the monitors and the retention policy without loss."""

from __future__ import annotations

import copy
import json
import subprocess
from typing import Any

import pytest

from kpanic.dashboards import templates
from kpanic.dashboards.products import opensearch_alerting
from kpanic.dashboards.products.opensearch_alerting import stored
from kpanic.dashboards.rules import Options
from tests.engines import parts
from tests.engines.monitors import read

pytestmark = pytest.mark.java
Json = dict[str, Any]
OPTIONS = (Options(), Options(opensearch_channel="channel", watched_causes=("hung-task",), outbreak_hosts=9))
MONITORS = [one.body for options in OPTIONS for one in opensearch_alerting.requests(options)]
ODD = copy.deepcopy(MONITORS[2])
ODD["inputs"][0]["search"]["indexes"] = ["x"]


@pytest.fixture(scope="module")
def known() -> list[Json]:
    """The monitors after OpenSearch's code has read and written them."""
    try:
        return read("monitors", [*MONITORS, ODD])
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        parts.missing("OpenSearch's reader of monitors", error)


def lost(ours: Any, theirs: Any, path: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """Return the paths that changed."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [place for key in ours for place in lost(ours[key], theirs.get(key), f"{path}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [place for number, pair in pairs for place in lost(*pair, f"{path}[{number}]")]
    return [] if ours == theirs else [f"{path}: {ours!r} became {theirs!r}"]


@pytest.mark.parametrize("number", range(len(MONITORS)))
def test_a_monitor_is_read_whole(number: int, known: list[Json]) -> None:
    assert lost(stored(MONITORS[number]), known[number]) == []


def test_gaps_of_the_reader_are_visible(known: list[Json]) -> None:
    assert lost(stored(ODD), known[-1]) == [".inputs[0].search.indexes: ['x'] became None"]


def test_the_retention_policy_is_read_whole() -> None:
    ours = templates.policy("opensearch")["policy"]
    odd = json.loads(json.dumps(ours).replace("min_index_age", "min_age_of_index"))
    try:
        known, without = read("policies", [ours, odd])
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        parts.missing("OpenSearch's reader of policies", error)
    assert lost(ours, known) == []
    assert [fault.split(":")[0] for fault in lost(odd, without)] == [
        ".states[0].actions[0].rollover.min_age_of_index"
    ]
