"""Fixtures with documents of real crashes, and with the page that shows them."""

from __future__ import annotations

import contextlib
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from msgspec import structs
from msgspec.structs import replace

from kpanic import grammars
from kpanic.dashboards import REPORTED, gather, render_report, templates
from kpanic.dashboards.embedded import age, first
from kpanic.grammars.model import Vmcore
from kpanic.shipper.document import build
from kpanic.shipper.origin import Origin
from kpanic.shipper.triage import Entry, Triage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from kpanic.grammars.model import CrashReport
    from tests.engines.search import Engine

    Indexed = Callable[[Engine], dict[str, str]]

Held = dict[str, list[dict[str, Any]]]
"""Documents by the source that panels name."""
LAB = Path(__file__).parents[1] / "logs" / "lab"


@pytest.fixture(scope="session")
def documents() -> list[dict[str, Any]]:
    """Every crash of the lab, on five hosts or an unknown one, twice: from a file and by netconsole.

    Of the list corruptions, a dump says more.
    """
    made, dumps = [], []
    for number, path in enumerate(sorted(LAB.glob("*.log"))):
        for report in grammars.parse(path.read_bytes()):
            origin = Origin(
                provider="file",
                path=path.name,
                mtime=1.7e9 + 3e5 * number,
                host_stated=f"n{number % 5}" if number % 7 else "",
            )
            made += [_document(report, replace(origin, provider=one)) for one in ("file", "netconsole")]
            if report.cause == "list-corruption":
                dumps.append(_document(_opened(report), replace(origin, provider="vmcore")))
    assert len(made) > 100
    known = Triage(
        [
            Entry(title="*sysrq triggered crash", status="known", ticket="OPS-1", owner="kernel"),
            Entry(title="kernel BUG *", status="fixed", fixed_in=["6.1"], note="see the changelog"),
            Entry(title="*double fault*", status="ignored"),
        ]
    )
    for document in made:
        known.stamp_document(document)
    for document in made[10:14]:  # as a grammar that is older than the kernel reads them
        document["kernel"]["panic"]["parse"]["status"] = "partial"
    return made + dumps


def _document(report: CrashReport, origin: Origin) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(build(report, origin, now=1.8e9)))
    return made


def _opened(report: CrashReport) -> CrashReport:
    """Return a report with the answers from its dump."""
    assert report.analysis is not None
    found = Vmcore(
        status="answered",
        source="lib/list_debug.c:59",
        pointer="entry->next",
        object="kmalloc-64, allocated",
        lock="mutex books.lock",
        holder="clerk (PID 38)",
    )
    return structs.replace(report, analysis=structs.replace(report.analysis, vmcore=found))


@pytest.fixture(scope="session")
def signatures(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents of the index of signatures: one for each signature, from its first crash."""
    found: dict[str, dict[str, Any]] = {}
    for document in sorted(documents, key=age):
        panic = document["kernel"]["panic"]
        if signature := first(document, "kernel.panic.signature.id"):
            found.setdefault(
                signature,
                {
                    "@timestamp": document["@timestamp"],
                    "event": {"ingested": document["event"]["created"]},
                    "id": signature,
                    "quality": panic["signature"]["quality"],
                    "seeded": False,
                    "title": panic["title"],
                    "cause": panic["cause"],
                    "fatal": panic["fatal"],
                },
            )
    return list(found.values())


@pytest.fixture(scope="session")
def held(documents: list[dict[str, Any]], signatures: list[dict[str, Any]]) -> Held:
    return {"panics": documents, "signatures": signatures}


@pytest.fixture(scope="session")
def indexed(held: Held) -> Iterator[Indexed]:
    """Index everything once for each engine; return the names of the indices of crashes and signatures."""
    done: dict[str, dict[str, str]] = {}
    engines: list[Engine] = []
    run = uuid.uuid4().hex[:12]  # an engine of the user may contain documents of an earlier run

    def names(engine: Engine) -> dict[str, str]:
        if engine.product not in done:
            engines.append(engine)
            names = {"panics": f"logs-kernel.panic-{run}", "signatures": "dashboards-signatures"}
            engine.ask("DELETE", "/dashboards-*")
            for name, template in (
                ("panics", templates.panics_template(engine.product, lifecycle=False)),
                (
                    "signatures",
                    templates.signatures_template(engine.product) | {"index_patterns": ["dashboards-*"]},
                ),
            ):
                answer = engine.ask(
                    "PUT", f"/_index_template/dashboards-{name}", template | {"priority": 300}
                )
                assert answer == {"acknowledged": True}, answer
            for source, content in held.items():
                lines = []
                for document in content:
                    body = {key: value for key, value in document.items() if key != "_id"}
                    name = document.get("_id") or document["id"]
                    lines += [{"create": {"_index": names[source], "_id": name}}, body]
                text = "".join(json.dumps(line) + "\n" for line in lines).encode()
                answer = engine.ask("POST", "/_bulk?refresh=true", text)
                statuses = {item["create"]["status"] for item in answer["items"]}
                assert statuses <= {201, 409}, answer
            done[engine.product] = names
        return done[engine.product]

    yield names
    for engine in engines:
        with contextlib.suppress(OSError):  # an engine of the tests may be stopped already
            engine.ask("DELETE", f"/_data_stream/logs-kernel.panic-{run}")


class Report:
    """A report in a browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, fragment: str = "") -> Report:
        self.page.goto(self.url + fragment)
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until the page is drawn."""
        # A navigation within the page causes a later event.
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        self.page.wait_for_function(
            "() => document.documentElement.dataset.painted === document.documentElement.dataset.turn"
            " && document.documentElement.dataset.ready === 'true'"
        )

    def number(self, panel: str) -> int:
        return int(self.page.locator(f"#panel-{panel} .figure").get_attribute("data-value") or -1)

    def bars(self, panel: str) -> list[tuple[str, int]]:
        buttons = self.page.locator(f"#panel-{panel} .bars button").all()
        return [
            (one.get_attribute("data-key") or "", int(one.get_attribute("data-value") or -1))
            for one in buttons
        ]

    def rows(self, panel: str) -> list[tuple[str, list[int]]]:
        lines = self.page.locator(f"#panel-{panel} tbody tr[data-key]").all()
        return [
            (
                line.get_attribute("data-key") or "",
                [
                    int(cell.get_attribute("data-value") or -1)
                    for cell in line.locator("td[data-value]").all()
                ],
            )
            for line in lines
        ]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Report]]:
    """Open the report of documents; at the end, check that there were no requests and no errors."""
    opened: list[Report] = []

    def make(
        documents: list[dict[str, Any]],
        *,
        scheme: Literal["light", "dark"] = "light",
        width: int = 1400,
        **options: Any,  # noqa: ANN401 - those of render_report
    ) -> Report:
        path = tmp_path / f"report-{len(opened)}.html"
        path.write_text(render_report(gather(documents, REPORTED), **options), encoding="utf-8")
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(120_000)
        opened.append(Report(context.new_page(), path.as_uri()))
        return opened[-1].open()

    yield make
    for report in opened:
        assert report.said == []
        assert [url for url in report.requests if not url.startswith(("file:", "data:image/svg+xml"))] == []
        report.page.context.close()
