"""Reports in mails, issues, web pages and containers, and reports that two consoles print."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = """\
kernel BUG at drivers/widget/main.c:77!
Oops: invalid opcode: 0000 [#1] SMP NOPTI
CPU: 1 UID: 0 PID: 77 Comm: worker Not tainted 6.18.0 #1
RIP: 0010:widget_scan+0x10/0x40 [widget]
Call Trace:
 <TASK>
 widget_write+0x20/0x40 [widget]
 vfs_write+0x20/0x40
 </TASK>
"""
STAMP = "Feb 15 18:53:41 host kernel: "

WRAPS: dict[str, Callable[[str], str]] = {
    "indented": lambda line: f"    {line}",
    "indented by a tab": lambda line: f"\t{line}",
    "quoted": lambda line: f"> {line}",
    "quoted twice": lambda line: f"> > {line}",
    "quoted without a blank": lambda line: f">>{line}",
    "quoted syslog": lambda line: f"> {STAMP}{line}",
    "folded": lambda line: line.strip(),
    "journal, in Russian": lambda line: f"июл 27 14:08:03 host kernel: {line}",
    "journal, in French": lambda line: f"févr. 03 14:08:03 host kernel: {line}",
    "journal, in Chinese": lambda line: f"11月 03 14:08:03 host kernel: {line}",
    "processor and task": lambda line: f"[   10.000001] c1   123 {line}",
    "processor and name": lambda line: f"<4>[   10.000001]-(0)[77:worker]{line}",
    "processor, name and number": lambda line: f"[   10.000001]  [0:         worker:   77] {line}",
    "logcat": lambda line: f"08-24 11:22:33.123     0     0 E KERNEL  : {line}",
    "compose": lambda line: f"node1  | {line}",
    "stamp without a host": lambda line: f"Feb 15 18:53:41 {line}",
    "clock": lambda line: f"12:00:01.123 {line}",
    "laboratory": lambda line: f"2026-11-22T18:53:41.123456  <4>[   10.000001] {line}",
    "extended netconsole, stamped": lambda line: f"Jan 15 22:27:39 6.18.0,4,863,10000001,-;{line}",
    "indented syslog": lambda line: f"    {STAMP}{line}",
    "markup": lambda line: html.escape(f"[   10.000001] {line}", quote=False),
    "bold": lambda line: f"[   10.000001] **{line.strip()}**",
    "bold syslog": lambda line: f"{STAMP}**{line.strip()}**",
    "container": lambda line: f"2026-11-22T18:53:41.123456789Z stdout F [   10.000001] {line}",
    "two consoles": lambda line: f"[   10.000001] {line}\n[   10.000001] {line}",
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_report_is_found_in_what_was_put_around_it(wrap: str) -> None:
    text = "".join(f"{WRAPS[wrap](line)}\n" for line in REPORT.splitlines())
    (crash,) = parse(text)
    assert (crash.title, crash.status) == ("kernel BUG in widget_scan", "complete")
    assert crash.ip
    assert (crash.ip.symbol, crash.ip.module) == ("widget_scan", "widget")
    assert crash.kernel.release == "6.18.0"


def entry(line: str, message: object) -> dict[str, object]:
    return {
        "_HOSTNAME": "host",
        "_TRANSPORT": "kernel",
        "PRIORITY": "4" if "BUG" in line else "6",
        "MESSAGE": message,
    }


def verbose(line: str) -> str:
    fields = "".join(f"    {name}={value}\n" for name, value in entry(line, line).items())
    return f"Sun 2026-11-22 18:53:41.816890 UTC [s=0f;i=1;b=2;m=3;t=4;x=5]\n{fields}"


def pretty(line: str) -> str:
    members = ",\n".join(f'\t"{name}" : {json.dumps(value)}' for name, value in entry(line, line).items())
    return f"{{\n{members}\n}}\n"


def in_numbers(line: str) -> str:
    coloured = list(f"\x1b[1m{line}".encode()) if line.startswith("kernel BUG") else line
    return json.dumps(entry(line, coloured), separators=(",", ":")) + "\n"


@pytest.mark.parametrize("journal", [verbose, pretty, in_numbers])
def test_the_forms_of_a_journal_with_all_fields(journal: Callable[[str], str]) -> None:
    other = journal("nothing of note")
    (crash,) = parse(other * 300 + "".join(map(journal, REPORT.splitlines())) + other)
    assert (crash.title, crash.status, crash.host) == ("kernel BUG in widget_scan", "complete", "host")


@pytest.mark.parametrize(
    "sentence",
    [
        "When it says `Kernel panic - not syncing: Fatal exception`, look above.",
        "| title | in its own words: `BUG: unable to handle kernel NULL pointer dereference` |",
        '    printk("BUG: soft lockup - CPU#%d stuck for %us!");',
        "Subject: BUG: scheduling while atomic: worker/77/0x00000002",
        "# BUG: Bad page state in process worker",
        "reason:         NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [worker:77]",
    ],
)
def test_a_sentence_that_mentions_a_header_is_no_crash(sentence: str) -> None:
    assert list(parse(f"{sentence}\n\nThat is all.\n")) == []
    (crash,) = parse(f"{sentence}\n\n{REPORT}")
    assert crash.title == "kernel BUG in widget_scan"


@pytest.mark.parametrize("before", ["", "host login: ", "[   10.000001] ", "Feb 15 18:53:41 host kernel: "])
def test_a_report_that_breaks_off_is_one_all_the_same(before: str) -> None:
    (crash,) = parse(f"{before}BUG: unable to handle page fault for address: ffffc90000010000\n")
    assert crash.status == "corrupted"


@pytest.mark.parametrize("indent", [" ", "    ", "\t"])
def test_a_level_may_stand_behind_blanks(indent: str) -> None:
    text = "".join(f"> >>{indent}<4>{line}\n" for line in REPORT.splitlines())
    (crash,) = parse(text)
    assert (crash.title, crash.process.name) == ("kernel BUG in widget_scan", "worker")


def test_the_name_of_a_console_before_each_stamp_is_no_text() -> None:
    lines = (
        "",
        "Kernel panic - not syncing: widget: no firmware",
        "CPU: 0 PID: 1 Comm: init Not tainted 6.18.0 #1",
    )
    (crash,) = parse("".join(f"[guest0/uart0] [    1.00000{n}] {line}\n" for n, line in enumerate(lines)))
    assert (crash.title, crash.time) == ("kernel panic: widget: no firmware", 1.000001)
    assert (crash.kernel.release, crash.process.name) == ("6.18.0", "init")
