"""A crash whose text is delivered at once and whose dump is analysed later is one incident with one alert."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.products._rule_search import select
from kpanic.dashboards.rules import Options, rules
from kpanic.indices import SIGNATURES
from kpanic.shipper.inputs import memory_dump
from tests.shipper import processes
from tests.shipper.test_cli import Run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines.forward import Receiver
    from tests.engines.search import Engine

Json = dict[str, Any]
RULES = {rule.id: rule for rule in rules(Options(watched_causes=("hung-task", "null-dereference")))}


class Machine:
    """A machine that crashes, and the service that watches it.

    :param outputs: lines of the configuration.
    """

    def __init__(self, folder: Path, dumps: Path, outputs: str) -> None:
        self.dumps = dumps
        self.crash = folder / "crash"
        self.crash.mkdir()
        self.errors = folder / "errors"
        self.config = folder / "kpanic.yml"
        self.config.write_text(
            f"""
path.data: {folder}/store
inputs:
  - type: kdump
    paths: [{self.crash}]
    scan_interval: 0.2
    settle: 0
    vmcore:
      analyse: true
      debug_info: [{dumps}/debug/vmlinux, {dumps}/debug/ledger.ko]
{outputs}
"""
        )

    def die(self, kind: str, *, hours: int) -> Path:
        """Write the log that kdump saves first; return its folder.

        :param hours: from now, as a crash from before the store is history.
        """
        moment = datetime.now().astimezone() + timedelta(hours=hours)
        made = self.crash.parent / f"127.0.0.1-{moment:%Y-%m-%d-%H:%M:%S}"
        made.mkdir()
        dump = self.dumps / f"vmcore.{kind}"
        with memory_dump.log_of(str(dump), dump.read_bytes()[:64]) as log:
            (made / "vmcore-dmesg.txt").write_bytes(log.read())
        return made.rename(self.crash / made.name)  # complete, as there is no waiting

    def save(self, kind: str, folder: Path) -> None:
        """Save the complete dump under its final name."""
        saved = self.crash.parent / "vmcore-incomplete"
        shutil.copy(self.dumps / f"vmcore.{kind}", saved)
        saved.rename(folder / "vmcore")

    @contextmanager
    def watched(self) -> Iterator[None]:
        with processes.service(self.config, self.errors) as service:
            yield
            service.terminate()
            service.wait(60)


def by_provider(documents: list[Json], incident: str) -> dict[str, Json]:
    """Return the documents of an incident, one for each provider."""
    found = [one for one in documents if one["event"]["id"] == incident]
    made = {one["event"]["provider"]: one for one in found}
    assert len(made) == len(found)
    return made


def matched(engine: Engine, index: str, rule: str) -> list[Json]:
    """Return the documents that a rule matches."""
    return [hit["_source"] for hit in engine.found(index, select(RULES[rule]))]


def test_the_dump_joins_its_incident_in_every_output_and_alerts_once(  # noqa: PLR0913, PLR0917
    opensearch: Engine,
    elasticsearch: Engine,
    receiver: Callable[..., Receiver],
    namespace: str,
    dumps: Path,
    tmp_path: Path,
) -> None:
    engines, there = (opensearch, elasticsearch), receiver()
    outputs = "".join(f"output.{one.product}.hosts: ['{one.url}']\n" for one in engines)
    machine = Machine(
        tmp_path,
        dumps,
        f"{outputs}output.fluentd: {{hosts: ['{there.host}'], signatures: true}}\n"
        f"data_stream.namespace: {namespace}",
    )
    kpanic = Run(tmp_path)
    kpanic("setup", "--index-management", "-c", machine.config)
    index = f"logs-kernel.panic-{namespace}"
    # Other tests have shipped these faults before; without the signature's document they are new again.
    kernel = {"query": {"term": {"host.os.kernel": "6.1.192-ledger"}}}
    for engine in engines:
        engine.ask("POST", f"/{SIGNATURES}/_refresh")
        engine.ask("POST", f"/{SIGNATURES}/_delete_by_query?refresh=true", kernel)

    def received() -> list[Json]:
        return [one["record"] for one in there.entries() if one["tag"] == "kernel.panic"]

    def delivered(number: int) -> bool:
        counts = [engine.count(index) for engine in engines]
        assert max(counts) <= number
        return {*counts, len(received())} == {number}

    with machine.watched():
        folder = machine.die("hung", hours=1)
        until(lambda: delivered(1), 300, every=0.2)  # the document of the text, without the dump
        (alone,) = received()
        assert alone["kernel"]["panic"]["analysis"]["vmcore_needed"] is True
        machine.save("hung", folder)
        until(lambda: delivered(2), 300, every=0.2)
        machine.save("null", machine.die("null", hours=2))  # after the first, whose dump is not reopened
        until(lambda: delivered(4), 300, every=0.2)

    hung, null = (
        one["event"]["id"]
        for cause in ("hung-task", "null-dereference")
        for one in received()
        if (one["kernel"]["panic"]["cause"], one["event"]["provider"]) == (cause, "kdump")
    )
    for documents in (received(), *([hit["_source"] for hit in one.found(index)] for one in engines)):
        assert {one["event"]["id"] for one in documents} == {hung, null}
        text, dump = (by_provider(documents, hung)[name] for name in ("kdump", "vmcore"))
        assert "vmcore" not in text["kernel"]["panic"]
        assert dump["kernel"]["panic"]["vmcore"]["lock"] == "mutex books.lock"
        assert dump["kernel"]["panic"]["vmcore"]["holder"].startswith("clerk (PID ")
        assert dump["kernel"]["panic"]["analysis"]["vmcore_needed"] is False
        assert text["error"]["id"] == dump["error"]["id"]
        assert by_provider(documents, null)["vmcore"]["kernel"]["panic"]["vmcore"]["pointer"] == (
            "account->owner"
        )

    for engine in engines:
        news = {"bool": {"filter": [kernel["query"], select(RULES["new-signature"])]}}
        alerts = [hit["_source"]["id"] for hit in engine.found(SIGNATURES, news)]
        assert sorted(alerts) == sorted({one["error"]["id"] for one in received()})
        for rule, provider in (("watched-cause", "kdump"), ("explained", "vmcore")):
            found = matched(engine, index, rule)
            assert {one["event"]["provider"] for one in found} == {provider}
            assert sorted(one["event"]["id"] for one in found) == sorted([hung, null])
        assert matched(engine, index, "unparsed") == []
    signed = [one["record"]["id"] for one in there.entries() if one["tag"] != "kernel.panic"]
    assert sorted(signed) == sorted({one["error"]["id"] for one in received()})

    report = json.loads(kpanic("report", "--format", "json", "-c", machine.config)[0])
    assert report["incidents"] == 2
    newest = json.loads(kpanic("last", "--format", "json", "-c", machine.config)[0])
    assert newest["kernel"]["panic"]["vmcore"]["pointer"] == "account->owner"
