"""A real rsyslogd that follows one file as the kernel's log."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic.shipper.contract import crash_text
from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


def _opened(process: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    with contextlib.suppress(FileNotFoundError):  # closed meanwhile
        return path in {one.readlink() for one in Path(f"/proc/{process}/fd").iterdir()}
    return False


def over_tls(folder: Path, number: int, files: dict[str, str], to: int, framing: str) -> list[str]:
    """Return the command of an rsyslogd that sends crash ``number`` of ``web-{number}`` until it is accepted.

    :param files: of ``ca``, ``client`` and ``client.key``.
    :param to: the receiver's port.
    """
    if not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
        parts.missing("rsyslog's TLS", "apt-get install rsyslog-gnutls")
    (folder / "kern.log").write_bytes(crash_text(number))
    (folder / "rsyslog.conf").write_text(
        f"""
global(workDirectory="{folder}" localHostname="web-{number}" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="{files["ca"]}" defaultNetstreamDriverCertFile="{files["client"]}"
  defaultNetstreamDriverKeyFile="{files["client.key"]}")
module(load="imfile")
input(type="imfile" File="{folder}/kern.log" Tag="kernel:" Facility="kern")
action(type="omfwd" target="127.0.0.1" port="{to}" protocol="tcp" template="RSYSLOG_SyslogProtocol23Format"
  TCP_Framing="{framing}" StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"
  action.resumeRetryCount="-1" action.resumeInterval="1")
"""
    )
    return ["rsyslogd", "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]


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
            daemon.wait(60)
