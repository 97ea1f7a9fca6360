"""The answers of a dump without debug information: from VMCOREINFO and the symbols in the dump.

:see: Documentation/admin-guide/kdump/vmcoreinfo.rst (Linux 6.1)
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import Program

__all__ = ["answers", "vmcoreinfo"]

_SHOWN: Final = ("OSRELEASE", "BUILD-ID", "CRASHTIME", "KERNELOFFSET", "PAGESIZE")
"""Keys of VMCOREINFO that are shown."""
BANNER: Final = 1024
"""Maximum bytes of ``linux_banner``."""


def vmcoreinfo(prog: Program) -> dict[str, str]:
    """Return VMCOREINFO; empty if the dump has no readable one."""
    try:
        text = prog["VMCOREINFO"].string_().decode("ascii", "replace")
    except LOST:
        return {}
    return {
        name: value for name, equals, value in (row.partition("=") for row in text.splitlines()) if equals
    }


def answers(prog: Program) -> Iterator[Answer]:
    """Yield the findings of a dump without debug information."""
    info = vmcoreinfo(prog)
    lines = tuple(f"{name}={info[name]}"[:LONGEST] for name in _SHOWN if name in info)
    findings = [Finding("VMCOREINFO names the kernel.", lines)] if lines else []
    if (seconds := info.get("CRASHTIME", "")).isdecimal() and len(seconds) < 12:  # noqa: PLR2004
        moment = datetime.fromtimestamp(int(seconds), UTC)
        findings.append(Finding(f"The crash kernel was started at {moment:%Y-%m-%d %H:%M:%S} UTC."))
    if banner := _banner(prog):
        findings.append(Finding("The dump's own symbol table (kallsyms) can be read.", (banner,)))
    skipped = "" if findings else "the dump has no VMCOREINFO that can be read"
    yield Answer("without debug information", tuple(findings), skipped=skipped)


def _banner(prog: Program) -> str:
    """Return the kernel's banner, found by the symbols that the dump has itself (Linux 6.0)."""
    try:
        symbols = load_vmlinux_kallsyms(prog)
        place = symbols(prog, "linux_banner", None, True)  # noqa: FBT003 - a positional-only signature
        if not place:
            return ""
        text = prog.read(place[0].address, BANNER)
    except LOST:
        return ""
    return str(text.partition(b"\0")[0].decode("ascii", "replace").strip()[:LONGEST])
