"""A real rsyslogd that follows one file as the kernel's log."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


def _opened(process: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return path in {one.readlink() for one in Path(f"/proc/{process}/fd").iterdir()}
    return False


@contextlib.contextmanager
def rsyslog(folder: Path, action: str) -> Iterator[Path]:
    """Yield the file; its lines go to ``action``."""
    if shutil.which("rsyslogd") is None:
        parts.missing("rsyslog", "apt-get install rsyslog")
    log = folder / "kern.log"
    log.touch()
    (folder / "rsyslog.conf").write_text(
        f"""
global(workDirectory="{folder}" localHostname="web-1")
module(load="imfile")
module(load="omprog")
input(type="imfile" File="{log}" Tag="kernel:" Facility="kern")
if $syslogfacility-text == "kern" then action({action} queue.type="LinkedList")
"""
    )
    command = ["rsyslogd", "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
        try:
            until(lambda: _opened(daemon.pid, log))
            yield log
        finally:
            daemon.terminate()
            daemon.wait(20)
