"""The kernel log inside a memory dump, as ``makedumpfile --dump-dmesg`` takes it out (makedumpfile(8)).

The text is the one that ``vmcore-dmesg`` would have written, so the crash is the same one. The dump is
somebody's memory and may be damaged: the program is given a bounded time and a bounded file.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from kpanic.shipper.api import Unreadable

__all__ = ["PROGRAM", "is_dump", "log_of"]

PROGRAM = "makedumpfile"
LONGEST = 60.0
"""Seconds that it may take, and as many of a processor's."""
LARGEST = 256 << 20
"""Bytes that it may write: eight times the largest log buffer of a kernel's own making (LOG_BUF_SHIFT 25)."""

_FLATTENED = b"makedumpfile"
_MAGIC = (b"KDUMP   ", _FLATTENED, b"DISKDUMP", b"PAGEDUMP", b"LiME")
_CORES = (b"\x04\x00", b"\x00\x04")
"""``e_type`` of an ELF core, little and big endian."""


def is_dump(head: bytes) -> bool:
    """Tell whether a file that begins so is a memory dump."""
    return head.startswith(_MAGIC) or (head.startswith(b"\x7fELF") and head[16:18] in _CORES)


def log_of(path: str, head: bytes) -> IO[bytes]:
    """Return the log of a dump, open for reading.

    :param head: how the file begins.
    :raises Unreadable: it could not be extracted.
    """
    if head.startswith(_FLATTENED):
        raise Unreadable(
            path,
            "is a flattened dump without its log beside it: 'makedumpfile -R vmcore < FILE' makes one"
            " of which the log is read",
        )
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unreadable(
            path,
            "is a memory dump without its log beside it: install makedumpfile, and the log is taken out of it"
            " (Red Hat before 10: kexec-tools)",
        )
    with tempfile.TemporaryDirectory(prefix="kpanic-", ignore_cleanup_errors=True) as folder:
        log, words = Path(folder) / "dmesg", Path(folder) / "words"
        with words.open("wb") as said:
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                [program, "--dump-dmesg", Path(path).absolute(), log],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TMPDIR": folder},
            )
        try:
            with contextlib.suppress(ProcessLookupError):  # it ended at once
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
                resource.prlimit(process.pid, resource.RLIMIT_CPU, (int(LONGEST), int(LONGEST)))
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            raise Unreadable(path, f"its log could not be extracted within {LONGEST:.0f} s") from None
        finally:
            process.kill()
            process.wait()
        if code:
            raise Unreadable(path, f"its log could not be extracted: {_why(code, words)}")
        return log.open("rb")


def _why(code: int, words: Path) -> str:
    """Return what a program said last, its farewell left out, or how it ended."""
    if code < 0:
        return f"{PROGRAM} was ended by {signal.Signals(-code).name}"
    text = words.read_bytes()[-2000:].decode(errors="replace")
    lines = [
        line.strip() for line in text.splitlines() if line.strip(" .") not in ("", "makedumpfile Failed")
    ]
    return lines[-1][-200:] if lines else f"{PROGRAM} ended with {code}"
