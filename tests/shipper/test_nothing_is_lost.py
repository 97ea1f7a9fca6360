"""Store, delivery and real receivers that are killed: every document arrives once.

``--rounds 20`` is the long form: so many deaths of each receiver, and 10,000 documents beside a poison one.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kpanic.shipper.delivery import BATCH, Delivery
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.fluentd import FluentdOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.packed import Packed
from kpanic.shipper.setup import setup_index_management
from kpanic.shipper.store import Store
from tests.benchmarks.service import resident
from tests.engines import parts
from tests.engines.documents import stored
from tests.engines.proxy import CUT, SWALLOW, Answer, HttpProxy, TcpProxy
from tests.engines.search import Engine, Node, cluster
from tests.shipper.test_cli import Run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from kpanic.shipper.api import Outcome, Output, Stored
    from tests.engines.forward import Receiver

OUTPUTS = {"opensearch": OpenSearchOutput, "elasticsearch": ElasticsearchOutput}


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """The number of kills of a receiver."""
    found: int = request.config.getoption("--rounds")
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store" / "kpanic.db") as made:
        yield made


GREEN = "/_cluster/health?wait_for_status=green&timeout=30s"
POISON = range(999, 10**9, 1000)


def fill(store: Store, numbers: range, namespace: str, poison: range = POISON) -> None:
    """Store made-up crashes; an engine refuses those in ``poison``."""
    documents = []
    for number in numbers:
        panic = {"cpu": "poison"} if number in poison else {}
        one = stored(number, namespace, **panic)
        incident = one.id.removesuffix("-kdump")
        documents.append(Packed(one.id, incident, "2026-01-01T00:00:00.000Z", fatal=True, body=one.body))
    store.add(documents)


def output_of(engine: Engine, url: str = "") -> OpenSearchOutput | ElasticsearchOutput:
    kind = OUTPUTS[engine.product]
    return kind(msgspec.convert({"hosts": [url or engine.url], "timeout": 20}, kind.Config))  # type: ignore[arg-type]


class Delivering:
    """A running delivery, and its progress."""

    def __init__(self, store: Store, output: Output) -> None:
        self._store = store
        self._delivery = Delivery(store, output)
        self._delivery.start()

    @property
    def delivered(self) -> int:
        return self._store.status().outputs[0].delivered

    @property
    def dead(self) -> int:
        return self._store.status().outputs[0].dead

    @property
    def pending(self) -> int:
        return self._store.status().outputs[0].pending

    def wait(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        def happened() -> bool:
            assert self._delivery.is_alive() or not self.pending, self._delivery.trouble
            return condition()

        until(happened, seconds)

    def troubled(self) -> bool:
        """Tell whether the delivery has met the fault."""
        return bool(self._store.status().outputs[0].trouble)

    def wake(self) -> None:
        self._delivery.wake()

    def finish(self) -> None:
        self._delivery.finish()
        self._delivery.join(300)
        assert not self._delivery.is_alive()
        assert not self._delivery.trouble

    def stop(self) -> None:
        self._delivery.stop()
        self._delivery.join(60)


class Killing:
    """Kills a receiver at the second batch after ``arm``; further batches wait until it is killed.

    So there is always something left to deliver when it dies.
    """

    def __init__(self, output: Output, kill: Callable[[], None]) -> None:
        self._kill = kill
        self._send = output.send
        self._calls = 0
        self.dead = threading.Event()
        output.send = self.send  # type: ignore[method-assign]

    def arm(self) -> None:
        self._calls = 0
        self.dead.clear()

    def send(self, batch: Sequence[Stored]) -> Iterable[Outcome]:
        self._calls += 1
        if self._calls == 2:
            threading.Timer(random.random() * 0.05, self._die).start()  # noqa: S311
        elif self._calls > 2:
            self.dead.wait()
        return self._send(batch)

    def _die(self) -> None:
        self._kill()
        self.dead.set()


def test_an_engine_that_is_killed_in_the_middle_of_bulks(
    engine: Engine, store: Store, namespace: str, rounds: int
) -> None:
    if not isinstance(engine, Node):
        pytest.skip("kills the engine: needs a node of its own, not the one that the environment names")
    proxy = HttpProxy(engine.url)
    killed = threading.Event()

    def kill_soon(_: bytes) -> None:
        """Kill it during this request, or right after it."""
        proxy.always = lambda _: None

        def kill() -> None:
            engine.kill()
            killed.set()

        threading.Timer(random.random() * 0.05, kill).start()  # noqa: S311

    output = output_of(engine, proxy.url)
    list(setup_index_management(output))
    delivering = Delivering(store, output)
    count = 0
    try:
        for _ in range(rounds):
            killed.clear()
            fill(store, range(count, count + 1500), namespace)
            proxy.always = kill_soon
            delivering.wake()
            assert killed.wait(60)
            fill(store, range(count + 1500, count + 2000), namespace)
            count += 2000
            delivering.wake()
            delivering.wait(delivering.troubled)
            engine.start()
            # Like a restart of the service: otherwise the delivery would wait for its increased delay.
            delivering.stop()
            delivering = Delivering(store, output_of(engine, proxy.url))
        delivering.wait(lambda: not delivering.pending)
        delivering.finish()
    finally:
        delivering.stop()
        proxy.close()
        if not engine.running:
            engine.start()
    assert (delivering.delivered, delivering.dead) == (count - count // 1000, count // 1000)
    assert engine.count(f"logs-kernel.panic-{namespace}") == count - count // 1000
    assert {dead.reason.partition(":")[0] for dead in store.dead_letters()} == {"400"}
    counted = {"size": 0, "aggs": {"incidents": {"terms": {"field": "event.id", "min_doc_count": 2}}}}
    answer = engine.ask("POST", f"/logs-kernel.panic-{namespace}/_search", counted)
    assert answer["aggregations"]["incidents"]["buckets"] == []


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Node]]:
    """A cluster of three nodes."""
    made = cluster(3)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Node.start, made))
    except Exception as error:  # noqa: BLE001 - downloads, Java, the engine: any of them
        parts.missing("a cluster", error)
    yield made
    for node in made:
        node.remove()


def test_a_cluster_that_loses_a_node_loses_no_document(
    nodes: list[Node], store: Store, namespace: str, rounds: int
) -> None:
    index = f"logs-kernel.panic-{namespace}"
    config = {"hosts": [node.url for node in nodes], "timeout": 20}
    output = OpenSearchOutput(msgspec.convert(config, OpenSearchOutput.Config))
    list(setup_index_management(output))
    lost: list[Node] = []

    def kill() -> None:
        primary = holder(nodes[0], index)
        lost[:] = [node for node in nodes if node.settings["node.name"] == primary]
        lost[0].kill()

    killing = Killing(output, kill)
    delivering = Delivering(store, output)
    count, left = 0, nodes
    try:
        for _ in range(rounds):
            for node in nodes:
                if not node.running:
                    node.start()
            until(lambda: nodes[0].ask("GET", GREEN)["status"] == "green", 300)
            killing.arm()
            fill(store, range(count, count + 2000), namespace)
            delivering.wake()
            delivering.wait(killing.dead.is_set)
            assert delivering.pending, "it is under way"
            left = [node for node in nodes if node not in lost]
            count += 2000
            delivering.wait(lambda: not delivering.pending)
            primary = lost[0].settings["node.name"]
            assert holder(left[0], index) != primary, "another node had to take over"
            assert left[0].ask("GET", "/_cluster/health")["number_of_nodes"] == 2
        delivering.finish()
    finally:
        delivering.stop()
    assert (delivering.delivered, delivering.dead) == (count - count // 1000, count // 1000)
    assert left[0].count(index) == count - count // 1000


def holder(node: Node, index: str) -> str:
    """Return the node with the primary shard of a data stream."""
    shards = node.ask("GET", f"/_cat/shards/{index}?format=json")
    found: str = next(shard["node"] for shard in shards if shard["prirep"] == "p")
    return found


def test_a_poison_document_is_kept_apart_and_replayed_once_the_mapping_is_mended(
    engine: Engine, store: Store, namespace: str, rounds: int, tmp_path: Path
) -> None:
    count = 1_000 if rounds == 1 else 10_000
    output = output_of(engine)
    list(setup_index_management(output))
    index = f"logs-kernel.panic-{namespace}"
    fill(store, range(count), namespace, poison=range(777, 778))
    delivering = Delivering(store, output)
    delivering.wait(lambda: not delivering.pending)
    delivering.finish()
    (letter,) = store.dead_letters()
    assert letter.id == f"v1-{namespace}-000777-kdump"
    assert letter.reason.startswith("400: ")
    assert "kernel.panic.cpu" in letter.reason
    assert engine.count(index) == count - 1

    lenient: dict[str, Any] = {"cpu": {"type": "long", "ignore_malformed": True}}
    for name in ("panic", "kernel"):
        lenient = {name: {"properties": lenient}}
    assert engine.ask("PUT", f"/{index}/_mapping", {"properties": lenient}) == {"acknowledged": True}
    store.close()
    kpanic = Run(tmp_path)
    _, said = kpanic("replay", "-E", f"output.{engine.product}.hosts={engine.url}")
    assert said == f"1 to deliver again\n{engine.product}: {count} delivered in all\n"
    assert engine.count(index) == count


def test_an_engine_behind_a_network_that_fails_at_random(
    engine: Engine, store: Store, namespace: str
) -> None:
    proxy = HttpProxy(engine.url)
    output = output_of(engine, proxy.url)
    list(setup_index_management(output))
    seed = random.randrange(1 << 32)  # noqa: S311
    faults = [
        CUT,
        SWALLOW,
        SWALLOW,
        Answer(429),
        Answer(503),
        Answer(200, b"<html>", "text/html"),
        None,
        None,
    ]
    random.Random(seed).shuffle(faults)  # noqa: S311
    proxy.plan += faults
    fill(store, range(3000), namespace)
    delivering = Delivering(store, output)
    try:
        delivering.wait(lambda: not delivering.pending)
        delivering.finish()
    finally:
        delivering.stop()
        proxy.close()
    assert not proxy.plan, f"seed {seed}: every fault was met"
    assert (delivering.delivered, delivering.dead) == (2997, 3), f"seed {seed}"
    assert engine.count(f"logs-kernel.panic-{namespace}") == 2997, f"seed {seed}"


def test_a_receiver_that_is_killed_before_the_acknowledgement(
    receiver: Callable[..., Receiver], store: Store, namespace: str, rounds: int
) -> None:
    there = receiver()
    proxy = TcpProxy(there.port)
    config = {"hosts": [proxy.host], "bulk_max_size": 25, "ack_timeout": 5}
    delivering = Delivering(store, FluentdOutput(msgspec.convert(config, FluentdOutput.Config)))
    count = 0
    try:
        for _ in range(rounds):
            lost, count = proxy.seen, count + 250
            fill(store, range(count - 250, count), namespace)
            delivering.wake()
            delivering.wait(lambda count=count: delivering.delivered > count - 200)  # type: ignore[misc]
            proxy.lose = lambda _: True
            fill(store, range(count, count + 250), namespace)
            count += 250
            delivering.wake()
            delivering.wait(lambda lost=lost: proxy.seen > lost)  # type: ignore[misc]
            there.kill()
            proxy.lose = lambda _: False
            delivering.wait(delivering.troubled)
            there.start()
            delivering.wait(lambda: not delivering.troubled())
        delivering.finish()
    finally:
        delivering.stop()
        proxy.close()
    assert (delivering.delivered, delivering.dead) == (count, 0)
    found = Counter(entry["record"]["event"]["id"] for entry in there.entries(count))
    assert found == {f"v1-{namespace}-{number:06}": 1 for number in range(count)}
    assert proxy.seen >= rounds


def test_an_outage_is_spooled_in_flat_memory_and_drained(
    opensearch: Engine, store: Store, namespace: str
) -> None:
    proxy = HttpProxy(opensearch.url)
    proxy.always = lambda _: Answer(503)
    list(setup_index_management(output_of(opensearch)))
    fill(store, range(1000), namespace)
    delivering = Delivering(store, output_of(opensearch, proxy.url))
    marks = []
    try:
        delivering.wait(delivering.troubled)  # a whole batch was in flight
        marks.append(resident(os.getpid()))
        for start in range(1000, 6000, 250):
            fill(store, range(start, start + 250), namespace)
            delivering.wake()
            marks.append(resident(os.getpid()))
        assert (delivering.pending, opensearch.count(f"logs-kernel.panic-{namespace}")) == (6000, 0)
        proxy.always = lambda _: None
        delivering.stop()  # without waiting for its increased delay
        delivering = Delivering(store, output_of(opensearch, proxy.url))
        delivering.wait(lambda: not delivering.pending)
        delivering.finish()
        marks.append(resident(os.getpid()))
    finally:
        delivering.stop()
        proxy.close()
    assert (delivering.delivered, delivering.dead) == (5994, 6)
    assert opensearch.count(f"logs-kernel.panic-{namespace}") == 5994
    # 50 MB of documents came after the first of these marks.
    # A batch in flight takes up to 25 MB for a moment.
    assert median(marks[-10:]) - marks[0] < 15, marks
    assert max(marks) - marks[0] < 45, marks


def test_a_sick_output_delays_no_healthy_one(opensearch: Engine, store: Store, namespace: str) -> None:
    sick = FluentdOutput(FluentdOutput.Config(hosts=["127.0.0.1:9"]))
    healthy = output_of(opensearch)
    list(setup_index_management(healthy))
    fill(store, range(500), namespace)
    deliveries = [Delivery(store, sick), Delivery(store, healthy)]
    for delivery in deliveries:
        delivery.start()
    deliveries[1].finish()
    deliveries[1].join(300)
    assert not deliveries[1].is_alive()
    deliveries[0].stop()
    deliveries[0].join(60)
    assert not deliveries[0].is_alive(), "waits end when it is told to stop"
    left = {output.name: output.pending for output in store.status().outputs}
    assert left == {"fluentd": 500, "opensearch": 0}
    assert opensearch.count(f"logs-kernel.panic-{namespace}") == 500


def test_documents_held_by_an_engine_do_not_delay_new_ones(
    engine: Engine, store: Store, namespace: str
) -> None:
    held, healthy = (f"logs-kernel.panic-{name}" for name in (namespace, f"{namespace}x"))
    list(setup_index_management(output_of(engine)))
    engine.ask("PUT", f"/_data_stream/{held}")
    fill(store, range(1), namespace)
    delivering = Delivering(store, output_of(engine))
    try:
        delivering.wait(lambda: delivering.delivered == 1)
        engine.ask("PUT", f"/{held}/_settings", {"index.blocks.write": True})
        fill(store, range(1, BATCH + 100), namespace)
        delivering.wake()
        delivering.wait(lambda: delivering.troubled() and "blocked" in store.outputs()[0].trouble)
        fill(store, range(1), f"{namespace}x")
        delivering.wake()
        delivering.wait(lambda: delivering.delivered == 2, 30)
        assert (engine.count(held), engine.count(healthy)) == (1, 1)
        engine.ask("PUT", f"/{held}/_settings", {"index.blocks.write": None})
        delivering.wait(lambda: not delivering.pending)
    finally:
        delivering.stop()
    assert engine.count(held) == BATCH + 100
