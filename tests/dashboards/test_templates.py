"""Templates and policies: the requests to each engine, and their effects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.dashboards import templates
from kpanic.indices import SIGNATURES
from kpanic.shipper.api import DeliveryStatus
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.setup import setup_index_management
from tests.engines.documents import batch, stored
from tests.engines.proxy import Answer, HttpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.outputs.bulk import BulkOutput
    from tests.engines.search import Engine

OUTPUTS = {"opensearch": OpenSearchOutput, "elasticsearch": ElasticsearchOutput}
CORE = {"keyword", "text", "date", "long", "double", "boolean", "ip", "object"}


def made(engine: Engine, url: str = "") -> BulkOutput:
    kind = OUTPUTS[engine.product]
    return kind(msgspec.convert({"hosts": [url or engine.url]}, kind.Config))  # type: ignore[arg-type]


@pytest.fixture
def output(engine: Engine) -> Iterator[BulkOutput]:
    """The engine's output, on a cluster without installed templates."""
    one = made(engine)
    yield one
    one.close()


def leaves(properties: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, field in properties.items():
        if "properties" in field:
            found |= leaves(field["properties"], f"{path}{name}.")
        else:
            found[f"{path}{name}"] = field
    return found


def test_only_types_that_both_engines_have_in_their_core() -> None:
    fields = [*templates.FIELDS.values(), *templates.SIGNATURE_FIELDS.values()]
    assert {field["type"] for field in fields} <= CORE


def test_the_template_is_above_the_engines_own_and_makes_a_data_stream() -> None:
    for engine in ("opensearch", "elasticsearch"):
        template = templates.panics_template(engine)  # type: ignore[arg-type]
        assert template["priority"] == 250
        assert template["data_stream"] == {}
        assert template["index_patterns"] == ["logs-kernel.panic-*"]


def test_engines_differ_only_in_what_one_of_them_does_not_know() -> None:
    ours, theirs = (
        json.dumps(templates.panics_template(engine), sort_keys=True)  # type: ignore[arg-type]
        for engine in ("opensearch", "elasticsearch")
    )
    stripped = theirs.replace(', "synthetic_source_keep": "arrays"', "")
    assert stripped.replace('"index.lifecycle.name": "kernel-panic", ', "") == ours


def test_signatures_are_outside_every_data_stream() -> None:
    template = templates.signatures_template("opensearch")
    assert "data_stream" not in template
    assert not SIGNATURES.startswith("logs-")


def test_retention_counts_from_the_rollover_in_both() -> None:
    deletes = templates.policy("opensearch")["policy"]["states"][0]["transitions"][0]["conditions"]
    assert deletes == {"min_rollover_age": "730d"}
    assert templates.policy("elasticsearch")["policy"]["phases"]["delete"]["min_age"] == "730d"


def test_setup_installs_what_the_engine_takes_and_says_what_it_lacks(
    engine: Engine, output: BulkOutput
) -> None:
    lacks = {"opensearch": "index state management (ISM)", "elasticsearch": "lifecycle (ILM)"}[engine.product]
    said = list(setup_index_management(output))
    assert said[0].startswith(f"retention policy kernel-panic: not installed: this engine has no {lacks}")
    assert any(line.startswith("index template kernel-panic: ") for line in said)
    assert any(line.startswith("index template kernel-panic-signatures: ") for line in said)
    assert said[-1].startswith("index kernel-panic-signatures: ")


def test_setup_again_changes_nothing(engine: Engine, output: BulkOutput) -> None:
    list(setup_index_management(output))
    paths = (
        "/_index_template/kernel-panic",
        "/_index_template/kernel-panic-signatures",
        "/kernel-panic-signatures",
    )
    before = [engine.ask("GET", path) for path in paths]
    again = list(setup_index_management(output))
    assert [engine.ask("GET", path) for path in paths] == before
    assert again[-1] == "index kernel-panic-signatures: there already"
    assert "index template kernel-panic: as it should be" in again
    assert not any("renewed" in line or "installed" in line for line in again[1:])


def test_every_field_is_mapped_as_it_was_meant(engine: Engine, output: BulkOutput, namespace: str) -> None:
    list(setup_index_management(output))
    output.send(batch(2, namespace))
    answer = engine.ask("GET", f"/logs-kernel.panic-{namespace}/_mapping")
    ((index, mapping),) = answer.items()
    assert index.startswith(f".ds-logs-kernel.panic-{namespace}-")
    found = leaves(mapping["mappings"]["properties"])
    for name, field in templates.FIELDS.items():
        if name == "labels":
            continue
        kept = {key: value for key, value in field.items() if key != "synthetic_source_keep"}
        there = {key: found[name].get(key, "object" if key == "type" else None) for key in kept}
        assert there == kept, name
    assert found["labels.rack"]["type"] == "keyword"


def test_unmapped_fields_are_kept_but_cannot_flood_the_mapping(
    engine: Engine, output: BulkOutput, namespace: str
) -> None:
    list(setup_index_management(output))
    outcomes = output.send([stored(0, namespace, **{f"odd{number}": number for number in range(2000)})])
    assert [outcome.status for outcome in outcomes] == [DeliveryStatus.DELIVERED]
    (hit,) = engine.found(f"logs-kernel.panic-{namespace}")
    assert hit["_source"]["kernel"]["panic"]["odd1999"] == 1999


def test_the_order_of_a_trace_and_its_repeats_stay(
    engine: Engine, output: BulkOutput, namespace: str
) -> None:
    list(setup_index_management(output))
    trace = ["c+0x1/0x2", "a+0x1/0x2", "c+0x1/0x2", "b+0x1/0x2"]
    output.send([stored(0, namespace, call_trace=trace)])
    (hit,) = engine.found(f"logs-kernel.panic-{namespace}")
    assert hit["_source"]["kernel"]["panic"]["call_trace"] == trace


@pytest.mark.parametrize("field", ["event.original", "kernel.panic.code"])
def test_a_text_of_any_length_is_kept(engine: Engine, output: BulkOutput, namespace: str, field: str) -> None:
    list(setup_index_management(output))
    one = stored(0, namespace, code="c" * 100_000)
    outcomes = output.send([one])
    assert [outcome.status for outcome in outcomes] == [DeliveryStatus.DELIVERED]
    assert templates.FIELDS[field]["index"] is False
    (hit,) = engine.found(f"logs-kernel.panic-{namespace}")
    assert len(hit["_source"]["kernel"]["panic"]["code"]) == 100_000


def test_a_plain_index_that_was_there_first_is_named(opensearch: Engine, namespace: str) -> None:
    # Once a template matches the name, no such index can be created, so the proxy answers.
    proxy = HttpProxy(opensearch.url)
    name = f"logs-kernel.panic-{namespace}"
    path = "/logs-kernel.panic-*/_mapping?allow_no_indices=true&expand_wildcards=all"
    proxy.instead[path] = Answer(200, json.dumps({name: {"mappings": {}}}).encode())
    output = made(opensearch, proxy.url)
    said = "\n".join(setup_index_management(output))
    output.close()
    proxy.close()
    assert f"{name}: a plain index, made before the template" in said


def test_an_older_elasticsearch_gets_the_template_without_what_it_does_not_know(
    elasticsearch: Engine,
) -> None:
    proxy = HttpProxy(elasticsearch.url)
    refusal = json.dumps({"error": {"type": "mapper_parsing_exception", "reason": "synthetic_source_keep"}})
    proxy.once["GET /_index_template/kernel-panic"] = Answer(404, b"{}")
    proxy.once["PUT /_index_template/kernel-panic"] = Answer(400, refusal.encode())
    output = made(elasticsearch, proxy.url)
    said = list(setup_index_management(output))
    output.close()
    proxy.close()
    assert any("without synthetic_source_keep" in line for line in said)
    template = elasticsearch.ask("GET", "/_index_template/kernel-panic")
    assert "synthetic_source_keep" not in json.dumps(template)
