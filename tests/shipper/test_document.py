from __future__ import annotations

import json
import math
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from kpanic import grammars
from kpanic.dashboards import templates
from kpanic.grammars.model import CrashReport, Frame, InstructionPointer, Kernel, Line, Oops, Process
from kpanic.shipper.document import build
from kpanic.shipper.fields import get
from kpanic.shipper.identity import identify
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import encode, pack
from tests.shipper.ecs import faults, leaves

LOGS = Path(__file__).parent.parent / "logs"
FOLDER = LOGS / "story" / "127.0.0.1-2021-04-29-20:32:26"


def utc(moment: str) -> float:
    return datetime.fromisoformat(f"{moment}+00:00").timestamp()


BASE = Origin("file", agent_host="collector")


def crash(**changes: object) -> CrashReport:
    words = ("SysRq : Trigger a crash", "Oops: 0002 [#1] SMP")
    report = CrashReport(
        title="kernel panic: sysrq triggered crash",
        kind="panic",
        cause="sysrq",
        fatal=True,
        status="complete",
        reason=words[0],
        time=790.371036,
        ip=InstructionPointer("0010:f+0x16/0x20", "f", 0x16, 0x20, address=0xFFFFFFFFB3C74856),
        call_trace=(Frame("g", 1, 2), Frame("h", 3, 4, module="m", reliable=False), Frame("", address=255)),
        fault_address=0x10,
        oops=Oops(1, 2, ("SMP",)),
        process=Process(pid=7, name="bash", cpu=3),
        registers=(("RSP", "0018:ffff8b5d"), ("RAX", "000000000000000f")),
        lines=tuple(Line(n, text, raw=f"[  790.37] {text}") for n, text in enumerate(words, 1)),
        kernel=Kernel(release="3.10.0-1160.el7.x86_64", architecture="x86_64"),
    )
    return structs.replace(report, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "until", "history"),
    [
        (None, 2e9, None),
        (1.6e9, 2e9, True),
        (1.6e9, 1.7e9, None),  # read long afterwards: the clock of its host lags
        (1.4e9, 2e9, None),
        (2.1e9, 2.2e9, None),  # the clock was years ahead when the store was made
        (math.inf, math.inf, True),
    ],
)
def test_a_crash_from_before_the_store_is_history(
    before: float | None,
    until: float,
    history: bool | None,  # noqa: FBT001
) -> None:
    origin = structs.replace(BASE, mtime=1.5e9, backfill_before=before, backfill_until=until)
    assert get(build(crash(), origin, now=1.8e9), "kernel.panic.backfill") is history


def test_the_crash_of_the_story_has_kernel_place_trace_and_folder_time() -> None:
    (found,) = read(str(FOLDER / "vmcore-dmesg.txt"), BASE)
    document = build(*found)
    expected = {
        "host.os.kernel": "3.10.0-1160.el7.x86_64",
        "host.os.name": "CentOS",
        "host.name": None,
        "kernel.panic.boot_image": "/vmlinuz-3.10.0-1160.el7.x86_64",
        "kernel.panic.cause": "sysrq",
        "kernel.panic.fatal": True,
        "kernel.panic.rip.symbol": "sysrq_handle_crash",
        "kernel.panic.rip.offset": 0x16,
        "kernel.panic.rip.size": 0x20,
        "kernel.panic.rip.signature": "sysrq_handle_crash+0x16/0x20",
        "kernel.panic.rip.address": "0xffffffffb3c74856",
        "kernel.panic.call_trace": ["__handle_sysrq+0x10d/0x170", "write_sysrq_trigger+0x28/0x40"],
        "kernel.panic.timestamp_source": "folder",
        "kernel.panic.analysis.vmcore_needed": False,
        "event.provider": "kdump",
        "event.type": ["end"],
        "event.severity": 0,
    }
    assert {name: get(document, name) for name in expected} == expected
    local = datetime(2021, 4, 29, 20, 32, 26).astimezone()  # kdump writes local time
    assert datetime.fromisoformat(document["@timestamp"]) == local


def test_text_pasted_from_a_web_page_is_the_same_incident() -> None:
    (folder,) = read(str(FOLDER / "vmcore-dmesg.txt"), BASE)
    (pasted,) = read(str(LOGS / "story" / "pasted.txt"), BASE)
    assert build(*folder)["event"]["id"] == build(*pasted)["event"]["id"]
    assert build(*folder)["_id"] != build(*pasted)["_id"]


@pytest.mark.parametrize("path", sorted(LOGS.rglob("*.[lt][ox][gt]")), ids=lambda path: path.name)
def test_every_field_of_real_documents_is_in_ecs_and_in_the_index_template(path: Path) -> None:
    for report in grammars.parse(path.read_bytes()):
        document = build(report, structs.replace(BASE, path=str(path), mtime=1.0))
        assert faults(document) == []
        unmapped = {name for name, _ in leaves(document)} - set(templates.FIELDS) - {"_id"}
        assert unmapped == set()


def test_a_document_of_everything_is_valid() -> None:
    origin = structs.replace(
        BASE, host_ip="10.0.0.7", tags=("a",), labels={"site": "b"}, relayed=True, path="/x"
    )
    document = build(crash(host="web1"), origin)
    assert faults(document) == []
    assert document["host"]["name"] == "web1"
    assert document["host"]["ip"] == ["10.0.0.7"]
    assert document["observer"]["hostname"] == "collector"
    assert document["kernel"]["panic"]["call_trace"] == ["g+0x1/0x2", "? h+0x3/0x4 [m]", "0x00000000000000ff"]
    assert document["kernel"]["panic"]["oops"] == {"number": 1, "error_code": "0002", "flags": ["SMP"]}


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ({"boot_epoch": 1619695156.0, "epoch": 5.0}, {"folder_epoch": 6.0}, (1619695946.371, "rtc")),
        ({"boot_epoch": 100.0, "epoch": 1619695156.5}, {"folder_epoch": 6.0}, (1619695156.5, "transport")),
        ({}, {"folder_epoch": 1619695156.0, "mtime": 7.0}, (1619695156.0, "folder")),
        ({"clock": 1619695156.0}, {"mtime": 1.8e9}, (1619695156.0, "clock")),
        (
            {"clock": utc("2000-11-22T18:53:41")},
            {"mtime": utc("2026-11-23T08:00:00")},
            (utc("2026-11-22T18:53:41"), "clock"),
        ),
        (
            {"clock": utc("2000-11-22T18:53:41")},
            {"mtime": utc("2026-02-01T08:00:00")},
            (utc("2025-11-22T18:53:41"), "clock"),
        ),
        (
            {"clock": utc("2000-02-29T01:00:00")},
            {"mtime": utc("2026-02-01T08:00:00")},
            (utc("2024-02-29T01:00:00"), "clock"),
        ),
        ({}, {"mtime": 7.0}, (7.0, "mtime")),
        ({}, {}, (9.0, "read")),
    ],
)
def test_the_time_of_the_crash_rests_on_the_best_that_is_there(
    changes: dict[str, object], where: dict[str, float], expected: tuple[float, str]
) -> None:
    document = build(crash(**changes), structs.replace(BASE, **where), now=9.0)  # type: ignore[arg-type]
    moment = datetime.fromisoformat(document["@timestamp"]).timestamp()
    assert (pytest.approx(moment, abs=0.001), document["kernel"]["panic"]["timestamp_source"]) == expected


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        ({"hostname": "a", "host": "b"}, {"host_ip": "10.0.0.7"}, "a"),
        ({"host": "b"}, {"host_ip": "10.0.0.7"}, "b"),
        ({"hostname": "a"}, {"host_stated": "c"}, "c"),
        ({}, {"host_name": "c", "host_ip": "10.0.0.7"}, "c"),
        ({}, {"host_name": "localhost", "host_ip": "10.0.0.7"}, "10.0.0.7"),
        ({}, {"host_ip": "10.0.0.7", "own": True}, "10.0.0.7"),
        ({}, {"own": True}, "collector"),
        ({"host": "b"}, {"own": True}, "b"),
        ({}, {}, None),
    ],
)
def test_the_host_is_the_one_that_crashed(
    changes: dict[str, object], where: dict[str, object], expected: str | None
) -> None:
    document = build(crash(**changes), structs.replace(BASE, **where))  # type: ignore[arg-type]
    assert document["host"].get("name") == expected
    assert document.get("related", {}).get("hosts", []) == ([expected] if expected else [])
    assert document["agent"]["name"] == "collector"


def test_one_crash_is_one_incident_whatever_its_way_and_one_document_a_way() -> None:
    kdump = structs.replace(BASE, provider="kdump")
    late = structs.replace(BASE, provider="netconsole", host_ip="10.0.0.7", relayed=True)
    booted = crash(hostname="web1", kernel=Kernel(release="x", banner="Linux version x", command_line="ro"))
    ways = [identify(booted, kdump), identify(crash(), late), identify(crash(host="web1"), BASE)]
    assert len({incident for incident, _ in ways}) == 1
    assert len({document for _, document in ways}) == 3


def test_a_better_grammar_does_not_make_an_old_crash_a_new_one() -> None:
    better = crash(title="BUG: better words", cause="bug", ip=None, call_trace=(), lines=crash().lines[:1])
    assert identify(crash(), BASE) == identify(better, BASE)


def test_a_copied_file_is_the_same_document() -> None:
    copied = structs.replace(BASE, path="/backup/x", mtime=99.0, agent_host="elsewhere")
    assert identify(crash(), BASE) == identify(crash(), copied)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": 790.371037},
        {"process": Process(pid=8, name="bash", cpu=3)},
        {"registers": (("RSP", "0018:ffff8b5e"),)},
    ],
)
def test_another_crash_is_another_incident(changes: dict[str, object]) -> None:
    assert identify(crash(), BASE)[0] != identify(crash(**changes), BASE)[0]


def test_similar_crashes_of_two_machines_in_the_same_microsecond_are_both_kept() -> None:
    first, second = (identify(crash(host=host), BASE)[1] for host in ("web1", "web2"))
    assert first != second


def test_secrets_of_the_command_line_are_nowhere_in_the_document() -> None:
    line = "BOOT_IMAGE=/vmlinuz rd.luks.key=hunter22 root=cifs://me:hunter33@nas/x quiet"
    words = Line(1, f"Kernel command line: {line}", raw=f"[ 0.0] Kernel command line: {line}")
    document = build(crash(kernel=Kernel(command_line=line), lines=(words,)), BASE)
    assert b"hunter" not in encode(document)
    assert document["kernel"]["panic"]["command_line"].startswith(
        "BOOT_IMAGE=/vmlinuz rd.luks.key=[redacted] root="
    )


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy with other work
@given(
    st.builds(
        crash,
        title=st.text(),
        reason=st.text(),
        host=st.text(max_size=2000),
        time=st.none() | st.floats(0, 1e12),
        epoch=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        boot_epoch=st.none() | st.floats(-1e30, 1e30),
        registers=st.lists(st.tuples(st.text(), st.text())).map(tuple),
        process=st.builds(Process, pid=st.none() | st.integers(0, 2**31), name=st.text()),
        lines=st.lists(st.builds(Line, st.just(1), st.text(), raw=st.text())).map(tuple),
    )
)
def test_hostile_text_makes_a_valid_document_without_control_codes(report: CrashReport) -> None:
    document = build(report, BASE)
    body = encode(document)
    assert not any(byte < 0x20 or byte == 0x7F for byte in body)
    assert not {chr(code) for code in range(0x80, 0xA0)} & set(body.decode())
    assert json.loads(body)["event"]["id"] == document["event"]["id"]
    assert len(document["_id"].encode()) <= 512
    assert faults(document) == []


def test_lone_surrogates_do_not_stop_a_document() -> None:
    assert b'"a?b"' in encode(build(crash(title="a\udc80b"), BASE))


def test_a_document_costs_little() -> None:
    (found,) = read(str(LOGS / "lab" / "6.1.0-56-amd64-x86_64-null_read.log"), BASE)
    # 0.2 ms, with room for a busy machine; other processes slow many of them, but not all
    assert any(_seconds(lambda: pack(build(*found))) < 0.0004 for _ in range(20_000))


def _seconds(call: object) -> float:
    started = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - started


def test_each_step_of_the_reading_names_the_lines_of_the_file_that_prove_it() -> None:
    (crash,) = read(str(FOLDER / "vmcore-dmesg.txt"), BASE)
    steps = get(build(*crash), "kernel.panic.analysis.steps")
    assert isinstance(steps, list)
    assert len(steps) == 9
    assert steps[3].startswith("trigger: The crash was triggered on purpose")
    assert steps[3].endswith(" (lines 3, 8)")
    heard = build(crash.report, structs.replace(crash.origin, path=""))
    assert str(get(heard, "kernel.panic.analysis.steps")[3]).endswith("which task was running.")
