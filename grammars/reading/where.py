"""Where the CPU was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grammars.model import Step

if TYPE_CHECKING:
    from grammars.model import CrashReport
    from grammars.reading.marks import Marks


def read(report: CrashReport, marks: Marks) -> Step:
    """Say where the instruction pointer was."""
    ip = report.ip
    if ip is None:
        return Step(
            "where", "The report gives no instruction pointer of the kernel: its trace says where it was."
        )
    if ip.symbol:
        place = ip.symbol
        if ip.offset is not None:
            place += f"+0x{ip.offset:x}"
            if ip.size is not None:
                place += f"/0x{ip.size:x}"
        owner = f"the module {ip.module}" if ip.module else "the kernel itself"
        return Step("where", f"The instruction pointer was at {place}, in {owner}.", marks.get("ip"))
    if ip.address is not None:
        return Step(
            "where",
            f"The instruction pointer was at 0x{ip.address:x}, where the kernel has no code.",
            marks.get("ip"),
        )
    return Step("where", "The instruction pointer is given as an address only.", marks.get("ip"))
