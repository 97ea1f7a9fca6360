"""What mails, issues, web pages and containers make of a report; a second console that writes it too."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import pytest

from grammars import parse

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
    "indented syslog": lambda line: f"    {STAMP}{line}",
    "markup": lambda line: html.escape(f"[   10.000001] {line}", quote=False),
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
