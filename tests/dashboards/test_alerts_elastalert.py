"""The alerts of the rules in a real ElastAlert2, on crashes that real shippers sent to a real OpenSearch.

The engine is the tests' own: alerts look at everything that it holds.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from kpanic.dashboards.panels import KERNEL_PANICS, Term
from kpanic.dashboards.products import elastalert2
from kpanic.dashboards.products._rule_search import counts as group_counts
from kpanic.dashboards.products._rule_search import window
from kpanic.dashboards.query import clause, query, read
from kpanic.dashboards.rules import RULES
from kpanic.shipper.store import Store
from tests.engines import parts
from tests.engines.elastalert import ElastAlert, Receiver
from tests.engines.search import Node
from tests.shipper.processes import KPANIC
from tests.shipper.test_cli import LOGS, Run
from tests.waiting import stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kpanic.dashboards.embedded import Row

CRASH = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-null_write.log").read_text()
CRASH = CRASH[CRASH.index("[    2.164453] BUG: ") :]
"""A crash without lines of its boot, so that only the folder gives its time."""
KERNEL = "6.1.0-56-amd64"
MINE = "BUG: unable to handle kernel NULL pointer dereference in {}"
DAILY = {"kpanic-repeating-host.yaml", "kpanic-kernel-worse.yaml"}
"""Rules about a day of a host or a kernel: the machines of these tests crash all the time."""
REMEMBERED = 2
"""Seconds for which ElastAlert2 remembers documents (``buffer_time``)."""


class Site:
    """Machines that crash, shippers, the engine, and the receiver of alerts."""

    def __init__(self, folder: Path, node: Node, alerter: ElastAlert, receiver: Receiver) -> None:
        self.folder = folder
        self.node = node
        self.alerter = alerter
        self.receiver = receiver
        self.seen = 0

    def shipper(self, name: str, *, age: timedelta = timedelta(0)) -> Run:
        """Install kpanic on a machine, ``age`` ago."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir(parents=True)
        run = Run(self.folder / name)
        Store(run.store).close()
        with contextlib.closing(sqlite3.connect(run.store)) as connection, connection:
            connection.execute("UPDATE created SET at = at - ?", (age.total_seconds(),))
        return run

    def crash(  # noqa: PLR0913
        self,
        run: Run,
        function: str,
        host: int = 1,
        *,
        ago: timedelta = timedelta(0),
        kernel: str = KERNEL,
        text: str = CRASH,
    ) -> Run:
        """Write the files that kdump writes for a crash."""
        self.seen += 1
        # kdump uses local time in seconds: each crash needs another second.
        when = datetime.now() + timedelta(seconds=self.seen) - ago  # noqa: DTZ005
        crashed = run.folder / "crash" / f"10.0.0.{host}-{when:%Y-%m-%d-%H:%M:%S}"
        crashed.mkdir(parents=True)
        # Another crash has other page tables.
        text = re.sub(r"CR3: \w+", f"CR3: {self.seen:016x}", text)
        text = text.replace("boom_null_write", function).replace(KERNEL, kernel)
        (crashed / "vmcore-dmesg.txt").write_text(text)
        return run

    def ship(self, run: Run, *options: str) -> None:
        run("ship", run.folder / "crash", *self.to(), *options)

    def to(self) -> list[str]:
        return ["-E", f"output.opensearch.hosts={self.node.url}"]

    def woken(self) -> dict[str, list[str]]:
        """Run every rule; return the new alerts by rule."""
        self.node.ask("POST", "/_refresh")
        self.alerter.step()
        found: dict[str, list[str]] = {}
        for rule, text in self.receiver.taken():
            found.setdefault(rule, []).append(text)
        return found


def counts(woken: dict[str, list[str]]) -> dict[str, int]:
    return {rule: len(texts) for rule, texts in woken.items()}


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made: list[Node] = []
    try:
        made.append(Node("opensearch", f"http://127.0.0.1:{parts.free_port(19300)}"))
        made[0].start()
    except Exception as error:  # noqa: BLE001 - downloads, Java, the engine: any of them
        parts.missing("opensearch", error)
    yield made[0]
    made[0].remove()


@pytest.fixture(scope="module")
def site(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    receiver = Receiver()
    rules = {}
    for name, text in elastalert2.files().items():
        if name in DAILY:
            continue
        rule = yaml.safe_load(text)
        url = f"{receiver.url}/{rule['name'].removeprefix('kpanic-')}"
        # An exit, and no waiting, because tests refresh the index.
        rule |= {"alert": "slack", "slack_webhook_url": url, "query_delay": {"seconds": 0}}
        if rule["type"] == "any":  # other rules query their whole hour, in pieces of this length
            rule["buffer_time"] = {"seconds": REMEMBERED}
        rules[name] = rule
    try:
        alerter = ElastAlert(folder / "elastalert", node.url, rules)
        alerter.create_index()
        Run(folder)("setup", "--index-management", "-E", f"output.opensearch.hosts={node.url}")
        alerter.start()
    except (OSError, subprocess.SubprocessError) as error:
        parts.missing("elastalert2", error)
    yield Site(folder, node, alerter, receiver)
    alerter.stop()
    receiver.close()


@pytest.fixture(autouse=True)
def _silence(site: Site) -> None:
    """Begin without pending alerts."""
    site.woken()


def test_a_new_signature_wakes_once_and_says_what_died_where_and_what_it_means(site: Site) -> None:
    run = site.crash(site.shipper("new"), "fresh_fault")
    site.ship(run)
    woken = site.woken()
    assert counts(woken) == {"new-signature": 1}
    (text,) = woken["new-signature"]
    for line in (
        f"Title: {MINE.format('fresh_fault')}",
        "Cause: null-dereference",
        "Host: 10.0.0.1",
        f"Kernel: {KERNEL}",
        "set_kind.cold+0x22/0x3f [boom]",
        "Summary: ",
        "Verdict: The vmcore is needed to learn which object held the NULL",
    ):
        assert line in text, text
    assert site.woken() == {}

    site.ship(site.crash(run, "fresh_fault", 2))  # the same on another machine
    site.ship(run)  # and the crashes that were shipped before
    assert site.woken() == {}


def test_fifty_hosts_at_once_from_four_shippers_wake_once_for_the_fault_and_once_for_the_outbreak(
    site: Site,
) -> None:
    shippers = [site.shipper(f"shipper{number}") for number in range(4)]
    for host in range(50):
        site.crash(shippers[host % 4], "everywhere", host + 1)
    running = [
        subprocess.Popen(
            [*KPANIC, "ship", str(run.folder / "crash"), *site.to()],
            env=run.environment,
            stderr=subprocess.DEVNULL,
        )
        for run in shippers
    ]
    assert [one.wait() for one in running] == [0] * 4
    woken = site.woken()
    assert counts(woken) == {"new-signature": 1, "outbreak": 1}
    assert f"Title: {MINE.format('everywhere')}" in woken["outbreak"][0]
    hosts = {
        hit["_source"]["host"]["name"]
        for hit in site.node.found("logs-kernel.panic-*", {"term": {"kernel.panic.function": "everywhere"}})
    }
    assert len(hosts) == 50

    site.ship(site.crash(shippers[0], "everywhere", 99))
    assert site.woken() == {}


def test_consoles_of_fifty_hosts_in_one_tree_are_fifty_hosts_and_an_outbreak_that_counts_them(
    site: Site,
) -> None:
    run = site.shipper("consoles")
    for number in range(50):
        console = run.folder / "consoles" / f"web{number:02}.example.com" / "tty.log"
        console.parent.mkdir(parents=True)
        text = re.sub(r"CR3: \w+", f"CR3: {number:016x}", CRASH)
        console.write_text(text.replace("boom_null_write", "on_consoles"))
    run("ship", "--host-from-path", "consoles/{host}/*.log", "consoles", *site.to())
    woken = site.woken()
    assert counts(woken) == {"new-signature": 1, "outbreak": 1}
    mine = [Term("kernel.panic.function", "on_consoles")]

    def shown(panel: str) -> list[Row]:
        (asked,) = [one for one in KERNEL_PANICS.panels if one.id == panel]
        return read(asked, site.node.ask("POST", "/logs-kernel.panic-*/_search", query(asked, mine)))

    assert {name: shown(name)[0].values for name in ("panics", "hosts", "unknown-hosts")} == {
        "panics": (50,),
        "hosts": (50,),
        "unknown-hosts": (0,),
    }
    assert {str(row.key)[3:] for row in shown("repeat-hosts")} <= {f"{n:02}.example.com" for n in range(50)}
    (outbreak,) = [rule for rule in RULES if rule.id == "outbreak"]
    now = f"{datetime.now(UTC) + timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}"
    groups = {"terms": {"field": outbreak.per}, "aggs": group_counts(outbreak, now)}
    asked = {"size": 0, "query": {"bool": {"filter": [window(outbreak, now), clause(mine)]}}}
    answer = site.node.ask("POST", "/logs-kernel.panic-*/_search", asked | {"aggs": {"groups": groups}})
    assert [group["count"]["value"] for group in answer["aggregations"]["groups"]["buckets"]] == [50]


def test_two_hosts_are_no_outbreak_and_the_third_is(site: Site) -> None:
    run = site.shipper("spreading")
    for host in (1, 2):
        site.crash(run, "spreading", host)
    site.crash(run, "spreading", 2)
    site.ship(run)
    assert counts(site.woken()) == {"new-signature": 1}
    site.ship(site.crash(run, "spreading", 3))
    assert counts(site.woken()) == {"outbreak": 1}
    assert site.woken() == {}


def test_a_crash_of_three_days_ago_that_arrives_now_wakes_once(site: Site) -> None:
    run = site.shipper("late", age=timedelta(days=30))
    site.ship(site.crash(run, "late_fault", ago=timedelta(days=3)))
    woken = site.woken()
    assert counts(woken) == {"new-signature": 1}
    assert site.woken() == {}


def test_the_history_of_a_machine_does_not_alert(site: Site) -> None:
    run = site.shipper("history")
    shutil.copytree(LOGS, run.folder / "crash")
    site.ship(run)
    seeded = site.node.found("kernel-panic-signatures", {"term": {"seeded": True}})
    assert len({hit["_source"]["id"] for hit in seeded}) > 30
    causes = {hit["_source"]["cause"] for hit in seeded if hit["_source"]["fatal"]}
    assert {"machine-check", "out-of-memory"} <= causes
    assert site.woken() == {}


def test_an_archive_is_history_with_backfill(site: Site) -> None:
    run = site.crash(site.shipper("archive"), "archived")
    site.ship(run, "--backfill")
    assert site.woken() == {}
    site.ship(site.crash(run, "archived", 2))
    assert site.woken() == {}
    site.ship(site.crash(run, "not_archived", ago=timedelta(days=3)), "--no-backfill")
    assert counts(site.woken()) == {"new-signature": 1}


def test_a_signature_that_was_armed_again_wakes_once_more(site: Site) -> None:
    run = site.crash(site.shipper("armed"), "armed")
    site.ship(run)
    assert counts(site.woken()) == {"new-signature": 1}
    (found,) = site.node.found("kernel-panic-signatures", {"term": {"title": MINE.format("armed")}})
    out, _ = run("signatures", "re-arm", found["_id"], *site.to())
    assert out == f"opensearch: {found['_id']}: its next crash is new again\n"
    stays(lambda: site.woken() == {}, REMEMBERED + 0.5)
    site.ship(site.crash(run, "armed", 2))
    assert counts(site.woken()) == {"new-signature": 1}
    site.ship(site.crash(run, "armed", 2))
    assert site.woken() == {}


def test_a_fault_that_is_back_on_a_kernel_with_its_fix_wakes_once(site: Site) -> None:
    run = site.shipper("fixed")
    (run.folder / "triage.yml").write_text(
        "- title: '* in fixed_fault'\n  status: fixed\n  fixed_in: 6.1.0-60-amd64\n  ticket: OPS-7\n"
        "- title: '* in ignored_fault'\n  status: ignored\n"
    )
    triage = ("-E", f"triage.path={run.folder / 'triage.yml'}")
    site.ship(site.crash(run, "fixed_fault", kernel="6.1.0-9-amd64"), *triage)
    assert site.woken() == {}  # known, and fixed by the next kernel

    for host in (1, 2):
        site.crash(run, "fixed_fault", host, kernel="6.1.0-61-amd64")
    site.ship(run, *triage)
    woken = site.woken()
    assert counts(woken) == {"regression": 1}
    for line in ("Ticket: OPS-7", "Fixed in: 6.1.0-60-amd64", "Kernel: 6.1.0-61-amd64"):
        assert line in woken["regression"][0]
    site.ship(site.crash(run, "fixed_fault", 1, kernel="6.1.0-61-amd64"), *triage)
    assert site.woken() == {}

    for host in range(5):
        site.crash(run, "ignored_fault", host)
    site.ship(run, *triage)
    assert site.woken() == {}


def test_a_watched_cause_wakes_for_each_crash(site: Site) -> None:
    run = site.shipper("watched")
    text = (LOGS / "lab" / "6.1.0-56-amd64-x86_64-oom-panic.log").read_text()
    text = "".join(line for line in text.splitlines(keepends=True) if "setting system clock" not in line)
    site.crash(run, "", 1, text=text)
    site.crash(run, "", 2, text=text.replace("[    ", "[    1"))
    site.ship(run)
    woken = site.woken()
    assert woken["watched-cause"][0].startswith("Kernel panic of a watched cause: A panic with the cause ")
    assert counts(woken)["watched-cause"] == 2
    site.ship(run)
    assert site.woken() == {}


def test_a_crash_that_no_grammar_understands_alerts(site: Site) -> None:
    run = site.shipper("drift")
    text = "[   12.000001] Kernel panic - not syncing: \n[   12.000002] CPU: 0 PID: 1 Comm: init\n"
    site.crash(run, "", text=text)
    site.ship(run)
    assert counts(site.woken()) == {"unparsed": 1}  # its signature is weak and never counts as new


def test_crashes_that_arrive_during_an_outage_are_reported_once_after_it(site: Site) -> None:
    site.alerter.stop()
    run = site.crash(site.shipper("unheard"), "unheard")
    site.ship(run)
    site.alerter.start()
    site.receiver.failures = 2
    woken: dict[str, list[str]] = {}

    def told() -> bool:
        woken.update(site.woken())
        return bool(woken)

    until(told)
    assert counts(woken) == {"new-signature": 1}
    assert site.woken() == {}


def arrived(hours: float, host: str, kernel: str) -> dict[str, object]:
    """Return a crash that arrived some hours ago."""
    moment = datetime.now(UTC) - timedelta(hours=hours)
    return {
        "@timestamp": (moment - timedelta(days=3)).isoformat(),
        "event": {"id": f"v1-{uuid.uuid4().hex}", "ingested": moment.isoformat()},
        "host": {"name": host, "os": {"kernel": kernel}},
        "kernel": {"panic": {"title": "BUG: x", "fatal": True}},
    }


def test_a_host_of_three_panics_a_day_and_a_kernel_of_twice_as_many_wake_once_each(
    site: Site, node: Node, tmp_path: Path
) -> None:
    rules = {}
    for name in DAILY:
        rule = yaml.safe_load(elastalert2.files()[name])
        url = f"{site.receiver.url}/{rule['name'].removeprefix('kpanic-')}"
        rules[name] = rule | {"alert": "slack", "slack_webhook_url": url, "query_delay": {"seconds": 0}}
    crashes = [
        *[arrived(hours, "looping", f"6.0-{hours}") for hours in (1, 9, 23)],
        *[arrived(hours, "slower", f"6.1-{hours}") for hours in (1, 20, 30)],
        *[arrived(hours, f"a{hours}", "6.12.worse") for hours in (1, 5, 9, 30)],
        *[arrived(hours, f"b{hours}", "6.12.new") for hours in (1, 5, 9)],
        *[arrived(hours, f"c{hours}", "6.12.same") for hours in (1, 5, 9, 30, 35)],
        *[arrived(hours, f"d{hours}", "6.12.two") for hours in (1, 5)],
    ]
    for crash in crashes:
        answer = node.ask("POST", "/logs-kernel.panic-daily/_doc", crash)
        assert answer["result"] == "created", answer
    alerter = ElastAlert(tmp_path, node.url, rules)
    alerter.start()
    try:
        daily = Site(site.folder, node, alerter, site.receiver)
        woken = daily.woken()
        hosts = [text for text in woken["repeating-host"] if "Host: 10.0.0." not in text]
        assert ["Host: looping" in text for text in hosts] == [True]
        kernels = sorted(re.findall(r"Kernel: (6\.12\.\w+)", "".join(woken["kernel-worse"])))
        assert kernels == ["6.12.new", "6.12.worse"]
        assert daily.woken() == {}
    finally:
        alerter.stop()
