"""The journal: real files made by systemd-journal-remote and read by journalctl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.inputs import journal
from kpanic.shipper.inputs.journal import JournalInput
from tests.shipper.feed import running
from tests.shipper.journals import START, WRITER, Machine
from tests.waiting import stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars.model import CrashReport

pytestmark = pytest.mark.journal
LAB = Path(__file__).parent.parent / "logs" / "lab"
PANIC, OOPS, BUG = (
    (LAB / f"6.1.0-56-amd64-x86_64-{name}.log").read_bytes() for name in ("panic", "null_read", "bug")
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine.made(tmp_path / "journal")
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """The text that the readers are fed."""
    fed = bytearray()

    class Reader(journal.Reader):
        def feed(self, chunk: bytes) -> list[CrashReport]:
            fed.extend(chunk)
            return super().feed(chunk)

    monkeypatch.setattr(journal, "Reader", Reader)
    return fed


def test_the_boots_before_are_read_at_the_first_start_and_then_what_comes(machine: Machine) -> None:
    machine.write(PANIC)
    machine.write(OOPS)
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=2.0) as feed:
        until(lambda: len(feed.crashes) == 2)
        machine.write(BUG)
        until(lambda: len(feed.crashes) == 3)
    assert {crash.origin.provider for crash in feed.crashes.values()} == {"journal"}
    for crash in feed.crashes.values():
        assert crash.report.kernel.release == "6.1.0-56-amd64"
        assert crash.report.host == "web-1"
        assert crash.report.status == "complete"
        assert crash.report.epoch is not None
        assert crash.report.epoch > START / 1e6
    assert feed.said == []


def test_a_start_goes_on_at_the_cursor_and_still_knows_the_boot(machine: Machine) -> None:
    at = OOPS.index(b"BUG: kernel NULL pointer")
    start = OOPS.rindex(b"\n", 0, at) + 1
    boot = machine.write(PANIC)
    boot = machine.write(OOPS[:start])
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=2.0) as first:
        until(lambda: first.crashes and boot in first.saved.get(str(machine.folder), ""))
    machine.write(OOPS[start:], boot=boot)
    with running(JournalInput, first.saved, paths=[str(machine.folder)], close_quiet=2.0) as second:
        until(lambda: second.crashes)
        stays(lambda: len(second.crashes) == 1, 1)
    (crash,) = second.crashes.values()  # not the previous boot
    assert "NULL pointer dereference" in crash.report.title
    assert crash.report.kernel.release == "6.1.0-56-amd64"  # from the boot's first lines
    assert second.saved != first.saved


def test_the_cursor_stays_before_a_crash_that_is_not_kept(machine: Machine, heard: bytearray) -> None:
    text = OOPS[: OOPS.index(b"---[ end trace")]
    machine.write(text)
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=600.0) as feed:
        until(lambda: text.splitlines()[-2].partition(b"] ")[2].strip() in heard)
        stays(lambda: feed.saved == {} and not feed.crashes, 1)
    assert feed.saved == {}
    assert len(feed.crashes) == 1  # it is complete at the end of the input


def test_machines_in_one_journal_are_kept_apart(machine: Machine) -> None:
    boots = {"web-1": OOPS.splitlines(keepends=True), "web-2": BUG.splitlines(keepends=True)}
    ids = dict.fromkeys(boots, "")
    while any(boots.values()):
        for host, lines in boots.items():
            ids[host] = machine.write(b"".join(lines[:100]), host=host, boot=ids[host])
            del lines[:100]
    with running(JournalInput, paths=[str(machine.path)], close_quiet=2.0) as feed:
        until(lambda: len(feed.crashes) == 2)
    assert feed.hosts() == ["web-1", "web-2"]
    assert all(crash.report.status == "complete" for crash in feed.crashes.values())


def test_text_that_is_hostile_stays_text(machine: Machine) -> None:
    head = OOPS[: OOPS.index(b"BUG: kernel NULL pointer")]
    forged = (
        b"__REALTIME_TIMESTAMP=1\n_TRANSPORT=kernel\n_HOSTNAME=a b\nMESSAGE\n"
        + (len(blob := b"\xff\x00\nBUG: unable to handle \x1b[2Jx\n")).to_bytes(8, "little")
        + blob
        + b"\n"
    )
    machine.write(head)
    subprocess.run([WRITER, f"--output={machine.path}", "-"], input=forged, check=True, capture_output=True)
    machine.write(OOPS)
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=2.0) as feed:
        until(lambda: any("NULL pointer dereference" in title for title in feed.titles))
    assert not any("\x1b" in line.text for crash in feed.crashes.values() for line in crash.report.lines)


def test_an_unreadable_file_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "AGAIN", 0.2)
    with running(JournalInput, paths=[str(tmp_path / "nowhere")]) as feed:
        until(lambda: feed.said)
        stays(lambda: len(feed.said) == 1, 1)
    assert "nowhere: journalctl: Failed to open" in feed.said[0]


def test_without_journalctl_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with running(JournalInput) as feed:
        until(lambda: feed.said)
    assert feed.said == ["journalctl is not installed; the journal is not read"]


def test_an_invalid_cursor_begins_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "AGAIN", 0.2)
    machine.write(PANIC)
    at = {str(machine.folder): "no cursor"}
    with running(JournalInput, at, paths=[str(machine.folder)], close_quiet=2.0) as feed:
        until(lambda: feed.crashes)
    assert "Failed to seek to cursor" in feed.said[0]


def test_a_crash_is_not_cut_where_journalctl_is_started_again(
    machine: Machine, heard: bytearray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "AGAIN", 0.2)
    at = OOPS.index(b"\n", OOPS.index(b"Call Trace:") + 200) + 1
    first, last = OOPS[:at], b"[    9.000000] the last entry is not seen\n"
    boot = machine.write(first + last)
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=600.0) as feed:
        for times in (1, 2):
            until(lambda times=times: heard.count(b" Call Trace:") == times)  # type: ignore[misc]
            if times == 1:
                subprocess.run(["pkill", "-f", f"journalctl .*--directory={machine.folder}"], check=True)
        assert feed.saved == {}, "the cursor stays before the crash"
        machine.write(OOPS[at:] + last, boot=boot)
        until(lambda: b"end Kernel panic" in heard)
    (crash,) = feed.crashes.values()
    assert crash.report.status == "complete"
    assert "end Kernel panic" in crash.report.lines[-1].text


def test_journalctl_is_started_again_when_it_ends(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "AGAIN", 0.2)
    machine.write(PANIC)
    pattern = f"journalctl .*--directory={machine.folder}"
    with running(JournalInput, paths=[str(machine.folder)], close_quiet=2.0) as feed:
        until(lambda: feed.saved)
        subprocess.run(["pkill", "-f", pattern], check=True)
        machine.write(OOPS)
        until(lambda: len(feed.crashes) == 2)
    assert subprocess.run(["pgrep", "-f", pattern], check=False, capture_output=True).stdout == b""
