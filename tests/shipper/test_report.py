"""``kpanic report``: from the store and from engines, to a file and to other destinations."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic.shipper.store import Store
from tests.shipper.test_cli import LOGS, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.engines.search import Engine


pytestmark = pytest.mark.process


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def shipped(kpanic: Run, engine: Engine, namespace: str) -> Iterator[list[str]]:
    """Options for a store and an engine that contain every crash of the lab."""
    options = [
        "-E",
        f"output.{engine.product}.hosts={engine.url}",
        "-E",
        f"data_stream.namespace={namespace}",
    ]
    logs = kpanic.folder / "logs"
    shutil.copytree(LOGS, logs)
    for number, path in enumerate(sorted(logs.rglob("*"))):
        os.utime(path, (1.76e9 + 60 * number,) * 2)  # a distinct time for those without a clock
    kpanic("setup", "--index-management", *options)
    kpanic("ship", logs, *options)
    engine.ask("POST", f"/logs-kernel.panic-{namespace}/_refresh")
    yield options
    engine.ask("DELETE", f"/_data_stream/logs-kernel.panic-{namespace}")


def numbers(page: Page) -> dict[str, Any]:
    """Return the contents of a page by panel."""
    page.wait_for_function(
        "() => document.documentElement.dataset.painted === document.documentElement.dataset.turn"
    )
    for one in page.locator(".astable > summary").all():
        one.click()
    return {panel.get_attribute("id"): panel.inner_text() for panel in page.locator("[id^=panel-]").all()}


def test_the_report_of_an_engine_says_what_the_report_of_the_store_says(
    kpanic: Run, engine: Engine, shipped: list[str], browser: Browser
) -> None:
    figures = [
        json.loads(kpanic("report", *shipped, *source, "--format", "json")[0])
        for source in ((), ("--from", engine.product))
    ]
    assert figures[0] == figures[1]
    assert figures[0]["panics"] > 50
    said = []
    for name, source in (("store", ()), ("engine", ("--from", engine.product))):
        out, err = kpanic("report", *shipped, *source, "-o", f"{name}.html")
        assert err == ""
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(Path(out.strip()).as_uri())
        said.append(numbers(page))
        page.locator("#panel-top-signatures .opener").first.click()
        said[-1]["opened"] = page.inner_text("#panel-top-signatures .inside:not([hidden])")
        page.close()
    assert said[0] == said[1]
    assert len(said[0]) > 15


def counted(page: Page) -> dict[str, Any]:
    """Return the numbers of a page's panels: figures, bars, rows of tables, and the charts as tables."""
    page.wait_for_function(
        "() => document.documentElement.dataset.painted === document.documentElement.dataset.turn"
    )
    found: dict[str, Any] = {}
    for panel in page.locator("main [id^=panel-]").all():
        name = panel.get_attribute("id") or ""
        if name in {"panel-incidents", "panel-compare"}:
            continue
        found[name] = panel.evaluate(
            """(panel) => [
                ...[...panel.querySelectorAll('.figure, .bars button')].map(({dataset}) => ({...dataset})),
                ...[...panel.querySelectorAll('tr')].map((row) => row.innerText).sort(),
            ]"""
        )
    return found


def test_an_engine_answers_for_the_documents_that_the_page_leaves_out(
    kpanic: Run, engine: Engine, shipped: list[str], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without filters, the page of the newest documents has the same numbers as the page of all."""
    from kpanic.shipper.commands import report  # noqa: PLC0415

    pages = []
    monkeypatch.chdir(kpanic.folder)
    for limit in (10_000, 30):
        monkeypatch.setattr(report, "ENGINE_LIMIT", limit)
        path = kpanic.folder / f"{limit}.html"
        report.command.main(
            ["--from", engine.product, "-o", str(path), *shipped], "report", standalone_mode=False
        )
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(path.as_uri())
        pages.append(page)
    whole, newest = pages
    assert counted(newest) == counted(whole)
    assert newest.inner_text("#subtitle") == whole.inner_text("#subtitle")
    assert "are counted if no filter is set" in newest.inner_text("#foot")
    newest.locator("#panel-by-cause .bars button").first.click()
    whole.locator("#panel-by-cause .bars button").first.click()
    assert counted(newest) != counted(whole)  # only of the newest documents
    for page in pages:
        page.close()


def test_pages_of_an_engine_s_answer_follow_each_other_without_a_gap(
    kpanic: Run, shipped: list[str], monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    from kpanic.shipper.commands._configuration import read_config  # noqa: PLC0415
    from kpanic.shipper.commands._plugins import make_outputs  # noqa: PLC0415
    from kpanic.shipper.outputs import search  # noqa: PLC0415

    monkeypatch.setattr(search, "PAGE", 7)
    monkeypatch.setattr(search, "WHOLE_PAGE", 5)
    (output,) = make_outputs(read_config(None, tuple(shipped[1::2])))
    index = f"logs-kernel.panic-{namespace}"
    found = list(search.documents(output, index, ["event.id"], 10**6))
    with Store(kpanic.store, readonly=True) as store:
        kept = list(store.documents())
    assert sorted(one["_id"] for one in found) == sorted(one["_id"] for one in kept)
    assert len(found) == search.count(output, index) > 50
    stamps = [one["@timestamp"] for one in found]
    assert stamps == sorted(stamps, reverse=True)
    assert len(list(search.documents(output, index, ["event.id"], 10))) == 10
    whole = {one["_id"]: one for one in search.whole(output, index, [one["_id"] for one in found])}
    for one in kept:
        assert whole[one["_id"]]["event"]["original"] == one["event"]["original"]
    output.close()


def test_an_unreachable_engine_is_reported_with_advice(kpanic: Run) -> None:
    _, err = kpanic("report", "--from", "opensearch", "-E", "output.opensearch.hosts=127.0.0.1:9", code=1)
    assert "opensearch: http://127.0.0.1:9: " in err
    assert "without --from the store of this machine is read" in err
    assert not list(kpanic.folder.glob("*.html"))


def test_an_unreadable_source_is_reported(kpanic: Run) -> None:
    assert "output.opensearch is not configured" in kpanic("report", "--from", "opensearch", code=2)[1]
    _, err = kpanic("report", "--from", "file", "-E", "output.file.path=x", code=2)
    assert "--from takes opensearch or elasticsearch" in err


def test_an_engine_that_has_no_crash_gives_an_empty_page(kpanic: Run, engine: Engine, namespace: str) -> None:
    options = [
        "-E",
        f"output.{engine.product}.hosts={engine.url}",
        "-E",
        f"data_stream.namespace={namespace}",
    ]
    out, err = kpanic("report", "--from", engine.product, *options)
    assert "holds no crash yet" in err
    assert Path(out.strip()).exists()
    out, _ = kpanic("report", "--format", "json", "--from", engine.product, *options)
    assert not any(json.loads(out).values())


def test_without_a_store_it_says_how_to_start_one(kpanic: Run) -> None:
    assert "there is no store yet; 'kpanic ship' starts one" in kpanic("report", code=1)[1]
    assert not kpanic.store.exists()


def test_an_empty_store_gives_an_empty_page_and_a_hint(kpanic: Run) -> None:
    Store(kpanic.store).close()
    out, err = kpanic("report")
    assert "holds no crash yet; 'kpanic ship /var/crash' reads crash folders" in err
    assert Path(out.strip()) == kpanic.folder / "kpanic-report.html"


def test_it_writes_to_standard_output_and_into_pipes(kpanic: Run) -> None:
    kpanic("ship", LOGS / "story")
    out, _ = kpanic("report", "-o", "-")
    assert out.startswith("<!doctype html>")
    assert out.rstrip().endswith("</html>")
    pipe = kpanic.folder / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    kpanic("report", "-o", pipe)
    reader.join(60)
    assert read[0].startswith("<!doctype html>")
    assert pipe.is_fifo()


def test_a_target_that_cannot_be_written_is_reported_and_nothing_else_is_touched(kpanic: Run) -> None:
    kpanic("ship", LOGS / "story")
    for target in ("no/such/folder.html", "."):
        assert f"{target}: cannot be written: " in kpanic("report", "-o", target, code=1)[1]
    (kpanic.folder / "there.html").write_text("before")
    (kpanic.folder / "link.html").symlink_to("there.html")
    kpanic("report", "-o", "link.html")  # another user's link: its target must not be written
    assert not (kpanic.folder / "link.html").is_symlink()
    assert (kpanic.folder / "link.html").read_text().startswith("<!doctype html>")
    assert (kpanic.folder / "there.html").read_text() == "before"
    assert sorted(path.name for path in kpanic.folder.iterdir()) == ["link.html", "store", "there.html"]


def test_the_figures_go_to_the_given_file(kpanic: Run) -> None:
    kpanic("ship", LOGS / "story")
    printed = json.loads(kpanic("report", "--format", "json")[0])
    kpanic("report", "--format", "json", "-o", "figures.json")
    assert json.loads((kpanic.folder / "figures.json").read_text()) == printed


def test_the_fleet_s_size_is_configured_or_given(kpanic: Run, browser: Browser) -> None:
    kpanic("ship", LOGS)
    page = browser.new_page()
    page.set_default_timeout(120_000)
    notes = []
    for options in ((), ("-E", "fleet.size=2000"), ("-E", "fleet.size=2000", "--fleet", "1000")):
        out, _ = kpanic("report", *options)
        page.goto(Path(out.strip()).as_uri())
        notes.append(page.inner_text("#panel-panics .note"))
    page.close()
    assert "per 1,000 hosts" not in notes[0]
    rates = [float(note.split()[0]) for note in notes[1:]]
    assert rates[1] == pytest.approx(2 * rates[0], rel=0.05)
