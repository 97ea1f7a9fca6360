"""Changes from root to the user of a service before writing into that service's store."""

from __future__ import annotations

import os
import pwd
import stat
from typing import TYPE_CHECKING

from kpanic.shipper.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from kpanic.shipper.config import Config

__all__ = ["become_owner"]


def become_owner(config: Config) -> None:
    """Continue as the owner of the store if this process is root's and the store another user's.

    The process's files then belong to the service, and it can write no file that only root may write. It
    keeps one of root's rights, to read any file, as the service has it. The owner of a folder is not trusted
    if a user other than root can replace the folder: the process then stays root's, and the store refuses the
    folder.
    """
    if os.geteuid() != 0:
        return
    try:
        folder = config.store_path().parent.resolve(strict=True)
        owner = folder.stat()
    except OSError:  # it is yet to be made
        return
    if owner.st_uid == 0 or not all(_of_root_alone(above) for above in folder.parents):
        return
    from kpanic.shipper.inputs.confined import become  # noqa: PLC0415

    try:
        user = pwd.getpwuid(owner.st_uid)
        name, gid = user.pw_name, user.pw_gid
        groups = os.getgrouplist(name, gid)
    except KeyError:
        name, gid, groups = f"uid {owner.st_uid}", owner.st_gid, []
    try:
        become(owner.st_uid, gid, groups)
    except PermissionError:
        return
    say(f"as {name}, who owns {folder}")


def _of_root_alone(folder: Path) -> bool:
    status = folder.stat()
    shared = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0)
    return status.st_uid == 0 and not status.st_mode & shared
