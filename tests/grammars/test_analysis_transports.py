"""One crash through many transports has the same title, signature and incident."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpanic.grammars import CrashReport, parse
from kpanic.shipper.identity import identify
from kpanic.shipper.origin import Origin

LOGS = Path(__file__).parent.parent / "logs"
WAYS = sorted((LOGS / "transports").iterdir())
# the beginning of a file's name, and the serial console of the same crash
CONSOLES = {
    "fmt-": "dmesg",
    "makedumpfile-": "kdump-sysrq",
    "netconsole-extended": "netconsole-ext",
    "netconsole-plain": "netconsole",
    "pstore-efi": "efipstore",
    "pstore-erst": "erst",
    "ramoops": "ramoops",
    "vmcore-dmesg-6.1-bug": "kdump-oops-s",
    "vmcore-dmesg-6.1-null_read": "kdump-null",
    "vmcore-dmesg-6.1-sysrq-c": "kdump-sysrq",
}


def only(path: Path) -> CrashReport:
    (report,) = parse(path.read_bytes())
    return report


@pytest.mark.parametrize("way", WAYS, ids=lambda path: path.name)
def test_every_transport_gives_the_crash_of_the_console(way: Path) -> None:
    kind = next(console for start, console in CONSOLES.items() if way.name.startswith(start))
    told, seen = only(way), only(LOGS / "lab" / f"6.1.0-56-amd64-x86_64-{kind}.log")
    assert told.title == seen.title
    assert told.signature == seen.signature
    assert told.signature is not None
    assert told.status == "complete"
    assert (told.cause, told.blame.function, told.ip) == (seen.cause, seen.blame.function, seen.ip)
    assert told.kernel.release == seen.kernel.release
    assert told.kernel.architecture == "x86_64"
    incidents = [identify(report, Origin(way))[0] for report, way in ((told, "file"), (seen, "serial"))]
    assert (incidents[0] == incidents[1]) == (told.time is not None)  # the store joins crashes without it
    assert told.analysis
    assert [step.name for step in told.analysis.steps] == [step.name for step in seen.analysis.steps]  # type: ignore[union-attr]
