"""The report in a real browser: the numbers, every filter, hostile text, no requests."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe

from kpanic.dashboards import REPORTED, gather, render_report
from kpanic.dashboards.embedded import evaluate, first, milliseconds, values
from kpanic.dashboards.panels import FINDINGS, KERNEL_PANICS, SIGNATURE, Panel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.dashboards.conftest import Report

PANELS = {panel.id: panel for dashboard in (KERNEL_PANICS, SIGNATURE) for panel in dashboard.panels}
FOLD = 12


def shown(panel: str, documents: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - a number or groups
    """Return the contents of a panel for documents: a number, or its groups with their counts."""
    rows = evaluate(PANELS[panel], documents)
    if PANELS[panel].form == "number":
        return rows[0].values[0]
    return [(row.key, row.values[0]) for row in rows]


@pytest.fixture
def report(show: Callable[..., Report], documents: list[dict[str, Any]]) -> Report:
    return show(documents)


def agree(report: Report, documents: list[dict[str, Any]]) -> None:
    report.settle()
    for panel in ("panics", "hosts", "faults", "unparsed"):
        assert report.number(panel) == shown(panel, documents), panel
    for panel in ("by-cause", "by-kernel", "by-rip", "by-hardware", "by-taint", "survived"):
        assert report.bars(panel) == shown(panel, documents), panel
    rows = report.rows("top-signatures")
    assert [(key, cells[0]) for key, cells in rows] == shown("top-signatures", documents)[:FOLD]


def test_it_shows_the_numbers_of_the_panels(
    report: Report, documents: list[dict[str, Any]], signatures: list[dict[str, Any]]
) -> None:
    agree(report, documents)
    assert report.number("new") == shown("new", signatures)
    for metric in (1, 2):
        column = [cells[metric] for _, cells in report.rows("top-signatures")]
        rows = evaluate(PANELS["top-signatures"], documents)
        assert column == [row.values[metric] for row in rows][:FOLD]


def test_long_tables_unfold(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.click("#panel-top-signatures .rest button")
    report.settle()
    assert len(report.rows("top-signatures")) == len(shown("top-signatures", documents))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("host.os.kernel", "Kernel"),
        ("kernel.panic.cause", "Cause"),
        ("host.name", "Host"),
        ("kernel.panic.taint.flags", "Taint"),
    ],
)
def test_a_filter_acts_on_everything_and_can_be_turned_round(
    report: Report, documents: list[dict[str, Any]], name: str, label: str
) -> None:
    report.page.click(f"summary:has-text('{label}')")
    box = report.page.locator("details[open] .pop input[type=checkbox]").nth(1)
    value = box.get_attribute("value")
    box.check()
    having = [one for one in documents if value in map(str, values(one, name))]
    assert 0 < len(having) < len(documents)
    agree(report, having)
    report.page.keyboard.press("Escape")
    report.page.click(".chip button[title='Invert']")
    agree(report, [one for one in documents if one not in having])
    report.page.click(".chip .off")
    agree(report, documents)
    assert report.page.url.endswith("#")


def test_two_values_of_a_filter_are_either(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.click("summary:has-text('Cause')")
    chosen = []
    for place in (0, 1):
        box = report.page.locator("details[open] .pop input[type=checkbox]").nth(place)
        chosen.append(box.get_attribute("value"))
        box.check()
    agree(report, [one for one in documents if first(one, "kernel.panic.cause") in chosen])


def test_a_value_can_be_left_out_and_found_by_typing(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.click("summary:has-text('Cause')")
    report.page.fill("details[open] .pop input[type=search]", "null-de")
    assert report.page.locator("details[open] .pop label").count() == 1
    report.page.click("details[open] .not")
    agree(report, [one for one in documents if first(one, "kernel.panic.cause") != "null-dereference"])


def test_time_filters_by_day_of_utc(report: Report, documents: list[dict[str, Any]]) -> None:
    moments = sorted(milliseconds(first(one, "@timestamp")) for one in documents)
    day = datetime.fromtimestamp(moments[len(moments) // 2] / 1000, UTC).date().isoformat()
    report.page.fill("#from", day)
    agree(report, [one for one in documents if first(one, "@timestamp")[:10] >= day])
    report.page.fill("#to", day)
    agree(report, [one for one in documents if first(one, "@timestamp")[:10] == day])


def test_the_last_24_hours_are_those_before_the_page_was_made(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    moments = sorted(milliseconds(first(one, "@timestamp")) for one in documents)
    made = datetime.fromtimestamp(moments[-1] / 1000 + 20 * 3600, UTC)
    report = show(documents, made=made)
    report.page.select_option("#last", "1")
    start = made.timestamp() * 1000 - 86_400_000
    recent = [one for one in documents if milliseconds(first(one, "@timestamp")) >= start]
    assert 0 < len(recent) < len(documents)
    agree(report, recent)
    assert report.page.url.endswith("#last=1")
    report.page.reload()
    agree(report, recent)
    assert "Last 24 hours" in report.page.inner_text("#chips")


def test_a_single_crash_is_a_mark_on_a_day(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    fatal = next(one for one in documents if first(one, "kernel.panic.fatal") == "True")
    report = show([fatal])
    chart = report.page.locator("#panel-over-time .chart svg")
    (bar,) = chart.locator("path[aria-roledescription='rect mark']").all()
    assert bar.bounding_box()["width"] < chart.bounding_box()["width"] / 12
    labels = report.page.evaluate(
        "[...document.querySelectorAll('#panel-over-time svg .role-axis-label text')].map(e => e.textContent)"
    )
    day = datetime.fromisoformat(first(fatal, "@timestamp")).astimezone(UTC)
    days = {f"{one:%b} {one.day}" for one in (day, day + timedelta(hours=12))}
    assert sum(":00" in label for label in labels) >= 4
    assert days & set(labels)


def test_an_axis_names_months_where_they_begin(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    moved = copy.deepcopy(documents[:2])
    for one, moment in zip(moved, ("2025-11-10T00:00:00Z", "2026-11-10T00:00:00Z"), strict=True):
        one["@timestamp"] = moment
        one["kernel"]["panic"]["fatal"] = True
        one["event"]["id"] = moment
    report = show(moved)
    labels = report.page.evaluate(
        "[...document.querySelectorAll('#panel-over-time svg .role-axis-label text')].map(e => e.textContent)"
    )
    names = [label for label in labels if " 20" in label]
    assert names[0] == "Jan 2026"
    assert names[-1] == "Nov 2026"


def test_changes_are_at_the_top(show: Callable[..., Report], documents: list[dict[str, Any]]) -> None:
    def crash(title: str, kernel: str, host: str, moment: str) -> dict[str, Any]:
        made = copy.deepcopy(documents[0])
        made["@timestamp"] = moment
        made["event"]["id"] = f"{title}{moment}"
        made["host"] = {"name": host, "os": {"kernel": kernel}}
        made["kernel"]["panic"] |= {"title": title, "fatal": True, "signature": {"id": f"v1-{title}"}}
        return made

    report = show(
        [
            crash("old", "6.1.9", "a", "2026-11-01T00:00:00Z"),
            crash("both", "6.1.9", "b", "2026-11-02T00:00:00Z"),
            crash("both", "6.1.10", "c", "2026-11-20T02:00:00Z"),
            crash("fresh", "6.1.10", "c", "2026-11-20T01:00:00Z"),
        ],
        made=datetime(2026, 11, 20, 3, tzinfo=UTC),
    )
    parts = report.page.locator(".changes > div").all_inner_texts()
    assert [part.split("\n") for part in parts] == [
        ["1 new in the last 24 hours", "fresh"],
        ["1 gone with kernel 6.1.10", "old"],
        ["1 host crashed twice in 24 hours", "c 2 panics"],
    ]


def test_two_kernels_are_compared_by_what_each_has(report: Report, documents: list[dict[str, Any]]) -> None:
    kernels = [key for key, _ in shown("by-kernel", documents)[:2]]
    for key, kernel in zip(("a", "b"), kernels, strict=True):
        report.page.select_option(f"#panel-compare select[data-key={key}]", f"kernel:{kernel}")
        report.settle()
    report.page.reload()
    report.settle()
    if report.page.locator("#panel-compare .rest button").count():
        report.page.click("#panel-compare .rest button")
        report.settle()
    found = {key: tuple(counts) for key, counts in report.rows("compare")}
    expected: dict[str, list[int]] = {}
    for place, kernel in enumerate(kernels):
        chosen = [one for one in documents if first(one, "host.os.kernel") == kernel]
        for key, n in shown("top-signatures", chosen):
            expected.setdefault(key, [0, 0])[place] = n
    assert found == {key: tuple(counts) for key, counts in expected.items()}
    assert "only in" in report.page.inner_text("#panel-compare")
    assert findings(report) == []


def test_each_of_the_newest_incidents_opens_to_its_own_reading(
    report: Report, documents: list[dict[str, Any]]
) -> None:
    report.page.click("#panel-incidents .rest button")
    by_id = {first(one, "event.id"): one for one in documents}
    rows = report.page.locator("#panel-incidents tr[data-key]")
    assert rows.count() > 12
    for place in range(12):
        incident = by_id[rows.nth(place).get_attribute("data-key")]
        rows.nth(place).locator(".opener").click()
        inside = report.page.locator(f"#open-incidents-{place}")
        assert first(incident, "event.id") in inside.locator("dl").inner_text()
        cells = rows.nth(place).locator("td").all_inner_texts()
        assert cells[0].replace("\n", "") == (first(incident, "host.name") or "not known")
        assert cells[1].replace("\n", "") == (first(incident, "host.os.kernel") or "not known")
    assert report.page.locator("#panel-incidents").bounding_box()["y"] < 900


def test_nothing_scrolls_sideways_on_a_phone(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    long = copy.deepcopy(documents[0])
    long["event"]["id"] = "v1-long"
    long["host"] |= {
        "name": "web." * 60,
        "os": {"kernel": f"6.1.0-{'long' * 14}"},
    }  # as long as uname -r can be
    report = show([*documents, long], width=390)
    for opener in report.page.locator(".opener").all()[:6]:
        opener.click()
    wide = """() => [document.documentElement, ...document.querySelectorAll("main *")]
      .filter((e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
      .filter((e) => e.scrollWidth > e.clientWidth + 1)
      .filter((e) => e.tagName !== "PRE" && e.checkVisibility())
      .map((e) => e.className)"""
    assert report.page.evaluate(wide) == []
    assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_words_are_looked_for_in_names_and_traces(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.fill("#q", "list_add")
    report.page.wait_for_url("**q=list_add")
    report.settle()
    assert 0 < report.number("panics") < shown("panics", documents)
    assert any("list_add" in key for key, _ in report.bars("by-rip"))
    report.page.fill("#q", "no such word anywhere")
    report.page.wait_for_url("**anywhere")
    report.settle()
    assert report.number("panics") == 0
    assert "Nothing matches these filters" in report.page.inner_text("#panel-over-time")


def test_bars_and_hosts_filter_and_keep_the_focus(report: Report, documents: list[dict[str, Any]]) -> None:
    key, _ = report.bars("by-rip")[0]
    report.page.locator("#panel-by-rip .bars button").first.press("Enter")
    agree(report, [one for one in documents if first(one, "kernel.panic.rip.symbol") == key])
    assert report.page.evaluate("document.activeElement.dataset.key") == key
    report.page.keyboard.press("Enter")
    agree(report, documents)


def test_survived_reports_come_on_request(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.check("#all")
    report.settle()
    everything = Panel("any", "", "?", "number", PANELS["panics"].metrics)
    assert (
        report.number("panics") == evaluate(everything, documents)[0].values[0] > shown("panics", documents)
    )
    assert report.page.inner_text("#head-panics") == "Reports"


def test_an_address_holds_the_filters(report: Report, documents: list[dict[str, Any]]) -> None:
    report.open(f"#kernel.panic.cause=null-dereference&!host.name={quote('n0')}")
    report.page.reload()
    chosen = [
        one
        for one in documents
        if first(one, "kernel.panic.cause") == "null-dereference" and first(one, "host.name") != "n0"
    ]
    agree(report, chosen)
    assert "Cause is null-dereference" in report.page.inner_text("#chips")


def test_back_undoes_a_filter(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.locator("#panel-by-cause .bars button").first.click()
    report.settle()
    report.page.go_back()
    agree(report, documents)


def test_an_address_that_nobody_wrote_is_harmless(report: Report) -> None:
    report.open("#no.such.field=x&from=yesterday&__proto__=1&constructor=2&%%%&signature=")
    assert report.number("hosts") >= 0
    report.open("#signature=v1-nothing")
    assert "not in this report" in report.page.inner_text("h1")


def test_a_signature_opens_to_its_trace_and_its_reading(
    report: Report, documents: list[dict[str, Any]]
) -> None:
    report.page.locator("#panel-top-signatures .opener").first.press("Enter")
    inside = report.page.locator("#panel-top-signatures tr.inside:not([hidden])")
    key, _ = report.rows("top-signatures")[0]
    chosen = [one for one in documents if first(one, "kernel.panic.signature.id") == key]
    trace = inside.locator(".trace li:not(.rip)").all_inner_texts()
    assert trace in [one["kernel"]["panic"].get("call_trace", []) for one in chosen]
    readings = [one["kernel"]["panic"].get("analysis", {}).get("steps", []) for one in chosen]
    assert inside.locator("ol.steps li").all_inner_texts() in readings
    assert report.page.locator("#panel-top-signatures .opener").first.get_attribute("aria-expanded") == "true"


def test_a_signature_has_a_page_of_its_own(report: Report, documents: list[dict[str, Any]]) -> None:
    key, _ = report.rows("top-signatures")[0]
    report.page.click(f"#panel-top-signatures tr[data-key='{key}'] a")
    report.settle()
    chosen = [one for one in documents if first(one, "kernel.panic.signature.id") == key]
    assert report.page.inner_text("h1") == first(chosen[0], "kernel.panic.title")
    assert report.number("signature-panics") == shown("signature-panics", chosen)
    assert report.number("signature-first") == shown("signature-first", chosen)
    assert report.bars("signature-hardware") == shown("signature-hardware", chosen)
    kernels = [(name, cells[0]) for name, cells in report.rows("signature-kernels")]
    assert kernels == shown("signature-kernels", chosen)
    report.page.click("#subtitle a")
    agree(report, documents)


def test_a_signature_shows_what_dumps_say(report: Report, documents: list[dict[str, Any]]) -> None:
    dump = next(one for one in documents if first(one, "event.provider") == "vmcore")
    report.open(f"#signature={first(dump, 'kernel.panic.signature.id')}")
    table = report.page.locator("#panel-signature-vmcore tbody tr").first
    report.page.locator("#panel-signature-incidents .opener").first.click()
    crash = report.page.locator("#panel-signature-incidents tr.inside dl").first
    for field, label in FINDINGS.items():
        assert first(dump, field) in table.inner_text()
        assert f"{label}\n{first(dump, field)}" in crash.inner_text()


def test_every_incident_shows_what_was_printed(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.locator("#panel-incidents .opener").first.click()
    incident = report.page.locator("#panel-incidents tr.inside").first
    incident.locator(".raw summary").click()
    text = incident.locator("pre").inner_text()
    assert any(first(one, "event.original")[:200].split("\n")[0] in text for one in documents)


def test_charts_filter_and_can_be_read_as_tables(report: Report, documents: list[dict[str, Any]]) -> None:
    report.page.click("#panel-over-time .astable summary")
    cells = report.page.locator("#panel-over-time .astable td").all_inner_texts()
    assert sum(int(cell.replace(",", "")) for cell in cells if cell) >= shown("panics", documents)
    report.page.locator("#panel-kernel-signature .chart path[aria-roledescription='rect mark']").first.click(
        force=True
    )
    report.settle()
    assert report.page.locator(".chip").count() == 2
    assert 0 < report.number("panics") < shown("panics", documents)


HOSTILE = [
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "{{7*7}}<!--",
    "javascript:window.pwned=1",
    "\u202egnp.exe\x1b[31m\x00",
    "'\"`;--&lt;b&gt;",
]


def test_hostile_text_is_text(show: Callable[..., Report], documents: list[dict[str, Any]]) -> None:
    hostile = copy.deepcopy(documents[: len(HOSTILE)])
    for number, (document, text) in enumerate(zip(hostile, HOSTILE, strict=True)):
        panic = document["kernel"]["panic"]
        document["event"] |= {
            "id": text + str(number),
            "original": text * 50,
            "reason": text,
            "provider": text,
        }
        document["host"] |= {"name": text, "os": {"kernel": text}}
        document["process"] = {"name": text}
        panic |= {"title": text, "cause": text, "fatal": True, "function": text, "call_trace": [text] * 3}
        panic |= {
            "rip": {"symbol": text, "module": text, "raw": text},
            "taint": {"raw": text, "flags": [text]},
        }
        panic |= {
            "signature": {"id": text, "quality": text, "version": 1},
            "hardware": {"product": text, "bios_version": text},
        }
        panic |= {"analysis": {"summary": text, "steps": [text], "next": [text], "vmcore_needed": True}}
        panic |= {"command_line": text, "cause_detail": text}
    report = show(hostile)
    assert report.number("panics") == len(HOSTILE)
    for opener in report.page.locator("#panel-top-signatures .opener").all():
        opener.click()
    for opener in report.page.locator("#panel-incidents .opener").all():
        opener.click()
    words = report.page.inner_text("main")
    assert HOSTILE[0] in words
    assert HOSTILE[1] in words
    assert "{{7*7}}" in words
    assert "\x1b" not in words
    for text in HOSTILE:
        report.open(f"#signature={quote(text)}&q={quote(text)}&kernel.panic.cause={quote(text)}")
    assert report.page.locator("img, iframe, object, script[src]").count() == 0
    assert report.page.evaluate("window.pwned") is None


def test_an_empty_store_says_what_to_do(show: Callable[..., Report]) -> None:
    report = show([])
    assert "kpanic ship" in report.page.inner_text("main")
    assert report.page.locator("h1").count() == 1


def test_a_document_that_says_almost_nothing_is_counted(show: Callable[..., Report]) -> None:
    report = show(
        [
            {
                "@timestamp": "2026-11-22T10:00:00Z",
                "event": {"id": "v1-1"},
                "kernel": {"panic": {"fatal": True, "parse": {"status": "partial"}}},
            }
        ]
    )
    assert (report.number("panics"), report.number("unparsed"), report.number("faults")) == (1, 1, 0)
    assert "not understood" in report.page.inner_text("#panel-incidents")


def test_reports_that_were_not_understood_are_one_click_away(
    report: Report, documents: list[dict[str, Any]]
) -> None:
    found = [one for one in documents if one["kernel"]["panic"]["parse"]["status"] != "complete"]
    wanted = len({first(one, "event.id") for one in found})
    assert report.number("unparsed") == wanted > 0
    report.page.click("#panel-unparsed a")
    report.settle()
    assert report.number("panics") == report.number("unparsed") == wanted
    assert "parse.status is not complete" in report.page.inner_text("#chips")


def test_triage_of_a_fault_is_shown_with_it(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    known = copy.deepcopy(documents)
    key = shown("top-signatures", documents)[0][0]
    for one in known:
        if first(one, "kernel.panic.signature.id") == key:
            one["kernel"]["panic"]["triage"] = {
                "status": "regressed",
                "ticket": "OPS-12",
                "fixed_in": ["6.1.55"],
            }
    report = show(known)
    row = report.page.locator(f"#panel-top-signatures tr[data-key='{key}']")
    assert "regressed" in row.inner_text()
    row.locator(".opener").click()
    facts = report.page.locator("#panel-top-signatures .inside:not([hidden]) dl").inner_text()
    assert "OPS-12" in facts
    assert "6.1.55" in facts
    assert report.bars("by-triage") == shown("by-triage", known) != []
    report.open(f"#signature={key}")
    assert "OPS-12" in report.page.inner_text("#panel-signature-triage")


def test_a_known_fleet_gives_a_rate(show: Callable[..., Report], documents: list[dict[str, Any]]) -> None:
    report = show(documents, fleet=2_000)
    moments = [milliseconds(first(one, "@timestamp")) for one in documents]
    days = max(1, (max(moments) - min(moments)) / 86_400_000)
    rate = float(report.page.inner_text("#panel-panics .note").split()[0])
    assert rate == pytest.approx(shown("panics", documents) / 2 / days, rel=0.05)


def test_a_known_fleet_gives_a_rate_for_each_time(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    report = show(documents, fleet=2_000)
    summary = report.page.locator("#panel-rate .astable summary")
    assert summary.inner_text().endswith("each 4 weeks")
    summary.click()
    rates = [float(cell) for cell in report.page.locator("#panel-rate .astable td").all_inner_texts()]
    assert sum(rates) * 28 * 2 == pytest.approx(shown("panics", documents), rel=0.01)
    assert show(documents).page.locator("#panel-rate").count() == 0


def test_omissions_are_reported(show: Callable[..., Report], documents: list[dict[str, Any]]) -> None:
    assert "not in this file" not in show(documents).page.inner_text("#foot")
    report = show(documents, older=1_234)
    assert "1,234 older ones are not in this file" in report.page.inner_text("#foot")


def test_it_can_be_used_without_a_mouse_and_without_eyes(
    report: Report, documents: list[dict[str, Any]]
) -> None:
    press = report.page.keyboard.press
    press("Tab")
    assert report.page.evaluate("document.activeElement.textContent") == "Skip to the panels"
    press("Enter")
    assert report.page.evaluate("document.activeElement.id") == "main"
    report.page.focus("#theme")
    while report.page.evaluate("document.activeElement.textContent") != "Cause":
        press("Tab")
    press("Enter")  # opens, and the input field has the focus
    report.page.wait_for_function("() => document.activeElement.placeholder === 'Find a cause'")
    report.page.keyboard.type("null-de")
    press("Tab")
    press("Space")
    agree(report, [one for one in documents if first(one, "kernel.panic.cause") == "null-dereference"])
    press("Escape")
    assert report.page.evaluate("document.activeElement.textContent") == "Cause1"
    status = report.page.locator("[role=status]")
    incidents = {
        first(one, "event.id") for one in documents if one["kernel"]["panic"]["cause"] == "null-dereference"
    }
    assert status.inner_text() == f"{len(incidents)} incidents with these filters"


def test_a_printed_page_has_the_text_and_no_buttons(
    show: Callable[..., Report], documents: list[dict[str, Any]]
) -> None:
    report = show(documents, scheme="dark").open("#kernel.panic.cause=sysrq")
    report.page.click("#theme")
    report.page.click("#theme")  # dark, now by choice
    report.page.emulate_media(media="print", color_scheme="light")
    assert not report.page.locator("#q").is_visible()
    assert not report.page.locator("#theme").is_visible()
    assert report.page.locator("#chips").inner_text().strip() == "Cause is sysrq"
    colours = report.page.locator("#panel-panics .figure").evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e.closest('.card')).backgroundColor]"
    )
    assert colours == ["rgb(22, 27, 38)", "rgb(255, 255, 255)"]
    kept = report.page.locator("#panel-over-time .legend li").first.evaluate(
        "e => getComputedStyle(e, '::before').printColorAdjust"
    )
    assert kept == "exact"
    assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert report.page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 420])
def test_it_is_accessible(
    show: Callable[..., Report], documents: list[dict[str, Any]], scheme: str, width: int
) -> None:
    report = show(documents, scheme=scheme, width=width)
    key, _ = report.rows("top-signatures")[0]
    report.page.locator("#panel-top-signatures .opener").first.click()
    report.page.click("#panel-over-time .astable summary")
    report.page.click("summary:has-text('Kernel')")
    assert findings(report) == []
    report.open(f"#signature={key}&kernel.panic.cause=sysrq")
    assert findings(report) == []
    assert report.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def findings(report: Report) -> list[str]:
    found = Axe().run(report.page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in {"serious", "critical", "moderate"}
        for node in one["nodes"]
    ]


def test_the_policy_allows_one_script_and_no_request(documents: list[dict[str, Any]]) -> None:
    html = render_report(gather(documents[:3], REPORTED))
    assert "default-src 'none'; script-src 'sha256-" in html
    assert "unsafe-eval" not in html.split("<style>")[0]
    assert html.count("<script") == 4


def test_the_same_documents_give_the_same_page(documents: list[dict[str, Any]]) -> None:
    made = datetime(2026, 11, 22, tzinfo=UTC)
    pages = [render_report(gather(given, REPORTED), made=made) for given in (documents, iter(documents))]
    assert pages[0] == pages[1]


def fleet(incidents: int, documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield incidents of 400 hosts in a year, made from the given documents."""
    for number in range(incidents):
        document = dict(documents[number * 7 % len(documents)])
        moment = datetime.fromtimestamp(1.75e9 + number * 3_000, UTC)
        document["@timestamp"] = moment.isoformat()
        document["event"] = document["event"] | {"id": f"v1-{number * 2654435761 % 2**32:032x}"}
        document["host"] = document["host"] | {"name": f"node{number * number % 400}.example.net"}
        yield document


def test_ten_thousand_incidents_are_a_small_file(documents: list[dict[str, Any]]) -> None:
    """``tests/benchmarks/report.py`` measures how fast it is drawn."""
    assert len(render_report(gather(fleet(10_000, documents), REPORTED)).encode()) <= 8_000_000
