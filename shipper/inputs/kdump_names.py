"""What the names of kdump's folders and files say.

=========================  =================================================================
Red Hat, Fedora, Amazon    ``<ip>-2021-04-29-20:32:26/vmcore-dmesg.txt`` and ``vmcore``
Debian, Ubuntu             ``202104292032/dmesg.202104292032`` and ``dump.202104292032``
… over NFS or SSH         ``<ip>-202104292032/…``, or the host's name
… over FTP                ``<ip>-dmesg.202104292032``, no folder
SUSE                       ``2021-04-29-20:32/dmesg.txt`` and ``vmcore``
… since kdump 2.0         ``2021-04-29-20-32/dmesg`` and ``vmcore``; ``<host>-…`` over a network
=========================  =================================================================

The time in a name is the host's local time. ``vmcore-dmesg-incomplete.txt`` is renamed once all of the log is
saved, and stays where the rest was lost. ``kexec-dmesg.log`` is the log of the capture kernel, not of the
crash. Without a log beside it, the log is extracted from the dump.

:see: kdump-lib-initramfs.sh of kdump-utils 1.0, kdump-config of Debian's kdump-tools 1.8, kdump-save of
    SUSE's kdump 2.0
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import PurePath

from msgspec import Struct

from kpanic.shipper.inputs.memory_dump import PROGRAM

__all__ = ["Folder", "is_capture_log", "is_dump", "is_packed", "logs", "recognise"]

_DATED = (
    r"(?a:(?:(?P<host>[\w.:%-]{1,255}?)-)?"
    r"(?P<date>\d{4}-\d\d-\d\d)-(?P<hour>\d\d)[:.-](?P<minute>\d\d)(?:[:.-](?P<second>\d\d))?)"
)
_COMPACT = r"(?a:(?:(?P<host>[\w.:%-]{1,255}?)-)?(?P<date>\d{12})(?P<second>\d\d)?)"
SHORTEST = 12
"""Characters of a folder's name with a time."""
_PACKED = r"(?:\.(?:gz|xz|zst|bz2|lz4))"
_VMCORE_DMESG = rf"(?a:vmcore-dmesg[\w.-]*\.txt{_PACKED}?)"
_STAMPED_DMESG = rf"(?a:(?:(?P<host>[\w.:%-]{{1,255}})-)?dmesg\.(?P<stamp>\d{{12}}(?:\d\d)?){_PACKED}?)"
_DUMP = (
    r"(?a:(?:vmcore(?:-incomplete)?|dump-incomplete|dump\.\d{12})(?:\.\w{1,32})??"
    rf"(?P<packed>{_PACKED})?)"
)


class Folder(Struct, frozen=True):
    """What a folder's name says: the host, empty for this machine, and the time of the crash."""

    ip: str = ""
    host: str = ""
    epoch: float | None = None
    """Seconds since 1970 UTC; the local time in the name is read in this machine's zone."""


def recognise(path: str) -> Folder | None:
    """Return what the names of a log or dump of kdump and of its folder say; None for any other file."""
    where, name = os.path.split(path)
    folder = _folder(os.path.basename(where))  # noqa: PTH119
    if "dmesg" in name and (found := re.fullmatch(_STAMPED_DMESG, name)):
        return folder or _folder(f"{found['host'] or 'localhost'}-{found['stamp']}") or Folder()
    if _is_log(name) or is_dump(name) or (folder and name.split(".")[0] == "dmesg"):
        return folder or Folder()
    return None


def logs(folder: str, names: list[str]) -> list[str] | None:
    """Return the files of a folder that hold the crash's log; None if kdump did not make the folder.

    A dump replaces a missing log, unless the dump is compressed: then the result is empty.

    :param names: names of the files in the folder.
    """
    import shutil  # noqa: PLC0415 - slow to import, and a single file does not need it

    dumps = sorted(name for name in names if is_dump(name))
    if _folder(PurePath(folder).name) is None and not dumps:
        return None
    found = sorted(name for name in names if _is_log(name) or name.split(".")[0] == "dmesg")
    if not found and not dumps:
        return None
    readable = [name for name in dumps if not is_packed(name)]
    if found and not shutil.which(PROGRAM):
        readable = []
    for some in (found, readable):
        if whole := [name for name in some if "incomplete" not in name]:
            return whole
    return found or readable


def is_capture_log(folder: str, name: str) -> bool:
    """Tell whether a file is the log of the capture kernel in kdump's folder."""
    return name == "kexec-dmesg.log" and _folder(PurePath(folder).name) is not None


def is_dump(name: str) -> bool:
    """Tell whether a file of this name is a dump of kdump, in any folder."""
    return name.startswith(("vmcore", "dump")) and re.fullmatch(_DUMP, name) is not None


def is_packed(name: str) -> bool:
    """Tell whether a file of this name is a compressed dump."""
    found = re.fullmatch(_DUMP, name)
    return bool(found and found["packed"])


def _is_log(name: str) -> bool:
    return "dmesg" in name and bool(re.fullmatch(_VMCORE_DMESG, name) or re.fullmatch(_STAMPED_DMESG, name))


def _folder(name: str) -> Folder | None:
    if len(name) < SHORTEST:
        return None
    if found := re.fullmatch(_DATED, name):
        stamp = f"{found['date']} {found['hour']}:{found['minute']}:{found['second'] or '00'}"
        epoch = _local(stamp, "%Y-%m-%d %H:%M:%S")
    elif found := re.fullmatch(_COMPACT, name):
        epoch = _local(found["date"] + (found["second"] or "00"), "%Y%m%d%H%M%S")
    else:
        return None
    return None if epoch is None else _with_host(found["host"] or "", epoch)


def _with_host(host: str, epoch: float) -> Folder:
    import ipaddress  # noqa: PLC0415 - only the names of folders need it

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Folder(host="" if host == "localhost" else host, epoch=epoch)
    own = address.is_loopback or address.is_unspecified
    return Folder(ip="" if own else str(address), epoch=epoch)


def _local(stamp: str, form: str) -> float | None:
    try:
        return datetime.strptime(stamp, form).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None
