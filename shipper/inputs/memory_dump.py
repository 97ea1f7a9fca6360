"""The kernel log inside a memory dump, as ``makedumpfile --dump-dmesg`` extracts it (makedumpfile(8)).

The text is what ``vmcore-dmesg`` would have written. drgn, where it is installed, reads dumps that
makedumpfile does not read, such as those of hypervisors. A dump is hostile input, so both run confined
(:mod:`.confined`), with limited time, memory and output.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, Final

from kpanic.shipper.api import Unreadable
from kpanic.shipper.files import open_beneath, open_folder, open_named

__all__ = ["PROGRAM", "is_dump", "log_of", "names_dump"]

PROGRAM: Final = "makedumpfile"
LONGEST: float = 60.0
"""Maximum seconds, by the clock and of a processor."""
LARGEST: int = 256 << 20
"""Maximum bytes of the log: eight times the largest that a kernel chooses for itself (LOG_BUF_SHIFT 25)."""
MEMORY: int = 256 << 20
"""Maximum bytes of its address space: the bitmaps of a machine with 1 TB take 64 MB."""

HEAD: Final = 64
"""Bytes by which a dump is known."""
LOG: Final = "dmesg"
_FLATTENED: Final = b"makedumpfile"
_MAGIC: Final = (b"KDUMP   ", _FLATTENED, b"DISKDUMP", b"PAGEDUMP", b"LiME")
_VMWARE: Final = (
    "is a snapshot of VMware, which is not read: 'crash vmlinux FILE' opens it; a dump that kdump leaves in"
    " the guest is read"
)
_HYPER_V: Final = "is a saved state of Hyper-V, which is not read: a dump that kdump leaves in the guest is"
_SNAPSHOTS: Final = {
    b"\xd0\xbe\xd0\xbe": _VMWARE,
    b"\xd2\xbe\xd2\xbe": _VMWARE,
    b"\xd3\xbe\xd3\xbe": _VMWARE,
    b"\xd1\xba\xd1\xba": _VMWARE,
    b"\xd2\xba\xd2\xba": _VMWARE,
    b"\x14\x20\x28\x01": _HYPER_V,
}
"""Messages about hypervisors' saved states, by their first four bytes.

:see: ``cptdumpheader.id`` in vmware_vmss.h (crash 8.0); ``HyperVStorageHeader`` in dissect.hypervisor
"""
_BEGINNINGS: Final = (*_MAGIC, *_SNAPSHOTS)
_CORES: Final = (b"\x04\x00", b"\x00\x04")
"""``e_type`` of an ELF core, little and big endian."""


def is_dump(head: bytes) -> bool:
    """Tell whether a file that begins so is a memory dump."""
    return head.startswith(_BEGINNINGS) or (head.startswith(b"\x7fELF") and head[16:18] in _CORES)


def names_dump(path: str) -> bool:
    """Tell whether a path names a memory dump on this machine."""
    try:
        with open_named(path) as file:
            return is_dump(file.read(HEAD))
    except (OSError, ValueError):
        return False


def log_of(path: str, head: bytes) -> IO[bytes]:
    """Return the log of a dump, open for reading.

    :param head: the first bytes of the file.
    :raises Unreadable: it could not be extracted.
    """
    if why := _SNAPSHOTS.get(head[:4]):
        raise Unreadable(path, why)
    try:
        return _by_makedumpfile(path, head)
    except Unreadable:
        from kpanic.shipper.vmcore import process  # noqa: PLC0415 - few files are dumps

        found = process.log_of(path, LARGEST, LONGEST) if process.installed() else None
        if found is None:
            raise
        return found


def _by_makedumpfile(path: str, head: bytes) -> IO[bytes]:
    import shutil  # noqa: PLC0415 - few files are dumps
    import signal  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    from kpanic.shipper.inputs import confined  # noqa: PLC0415

    if head.startswith(_FLATTENED):
        raise Unreadable(
            path,
            "is a flattened dump without its log beside it: drgn reads it, if it was not cut off before"
            " (kpanic[vmcore], Linux 5.10 and later); 'makedumpfile -R vmcore < FILE' makes a plain dump of a"
            " whole one",
        )
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unreadable(
            path,
            "is a memory dump without its log beside it: install makedumpfile, and its log is extracted"
            " (Red Hat before 10: kexec-tools)",
        )
    with (
        tempfile.TemporaryDirectory(prefix="kpanic-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as words,
    ):
        extract = [program, "--dump-dmesg", str(Path(path).absolute()), f"{folder}/{LOG}"]
        if os.geteuid() == 0:
            with contextlib.suppress(OSError):  # a container may forbid this, and then the change of user too
                os.chown(folder, confined.NOBODY, confined.NOBODY)
        process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            confined.command(MEMORY, LARGEST, max(1, int(LONGEST)), extract),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TMPDIR": folder},
            start_new_session=True,
        )
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            raise Unreadable(path, f"its log could not be extracted within {LONGEST:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            raise Unreadable(path, f"its log could not be extracted: {_reason(code, words)}")
        return _written(path, folder)


def _written(path: str, folder: str) -> IO[bytes]:
    """Open the extracted log; a hostile dump may have made the program leave something else in its place."""
    descriptor = open_folder(folder)
    try:
        return open_beneath(descriptor, LOG)
    except OSError as error:
        raise Unreadable(path, f"its log could not be extracted: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _reason(code: int, words: IO[bytes]) -> str:
    """Return the program's last message before its closing line, or the signal that ended it."""
    if code < 0:
        import signal  # noqa: PLC0415 - as above

        return f"{PROGRAM} was ended by {signal.Signals(-code).name}"
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - 2000))
    text = words.read().decode(errors="replace")
    lines = [
        line.strip() for line in text.splitlines() if line.strip(" .") not in ("", "makedumpfile Failed")
    ]
    return lines[-1][-200:] if lines else f"{PROGRAM} ended with {code}"
