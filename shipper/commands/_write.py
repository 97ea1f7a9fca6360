"""Writes a command's result to the file or folder of ``-o``."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic.shipper.cli import Failure
from kpanic.shipper.files import open_folder
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["write", "write_all"]

_DESCRIPTOR = re.compile(r"/dev/(?:stdout|stderr|fd/\d+)|/proc/(?:self|\d+)/fd/\d+")
"""Paths that the shell passes for ``>(…)``, and the standard streams."""


def write(target: str, text: str) -> None:
    """Write a file and print its path; ``-`` is standard output.

    A regular file is replaced by a new one, so that it is written whole or not at all. A symbolic link is
    replaced too, and its target left alone, because another user may have made the link. A device and a named
    pipe of this user are written to.

    :raises Failure: it cannot be written.
    """
    if target == "-":
        sys.stdout.write(text)
        return
    body = text.encode("utf-8", "replace")
    try:
        if _DESCRIPTOR.fullmatch(target):
            Path(target).write_bytes(body)
            return
        with _folder_of(target) as (folder, name):
            if _write_through(folder, name, body):
                return
            _replace(folder, name, body)
    except (OSError, ValueError) as error:
        raise Failure(f"{target}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    sys.stdout.write(visible(str(Path(target).absolute())) + "\n")


def write_all(folder: str, texts: Mapping[str, str]) -> None:
    """Write files into a folder, which is made if it is missing, and print their paths.

    :param texts: the texts by the names of the files.
    :raises Failure: one cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Failure(f"{folder}: is a file; expected a folder, as these are {len(texts)} files") from None
    except OSError as error:
        raise Failure(f"{folder}: cannot be made: {error.strerror}") from None
    for name, text in texts.items():
        write(str(Path(folder) / name), text)


@contextmanager
def _folder_of(target: str) -> Iterator[tuple[int, str]]:
    """Yield a descriptor of the folder that holds ``target``, and its name there."""
    path = Path(target)
    folder = open_folder(str(path.parent))
    try:
        yield folder, path.name
    finally:
        os.close(folder)


def _write_through(folder: int, name: str, body: bytes) -> bool:
    """Write into a device or pipe; return whether the target was one.

    :raises OSError: it is a folder, or a pipe of another user.
    """
    try:
        status = os.stat(name or ".", dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
        return False
    if stat.S_ISFIFO(status.st_mode) and status.st_uid != os.geteuid():
        raise PermissionError(0, "is another user's pipe")
    descriptor = os.open(name or ".", os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(body)
    return True


def _replace(folder: int, name: str, body: bytes) -> None:
    """Write a new file, and replace ``name`` in its folder with it."""
    new = f".{name[:200]}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(new, flags, 0o666, dir_fd=folder), "wb") as file:  # noqa: PTH123 - a descriptor
        try:
            file.write(body)
            file.flush()
            os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(new, dir_fd=folder)
            raise
