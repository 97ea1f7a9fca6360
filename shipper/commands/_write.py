"""Put a command's result where ``-o`` says."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic.shipper.cli import Failure
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write", "write_all"]


def write(target: str, text: str) -> None:
    """Write a regular file whole or not at all and print its path; anything else, and ``-``, as it comes.

    :raises Failure: it cannot be written.
    """
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(os.path.realpath(target))
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, a device
            path.write_text(text, encoding="utf-8", errors="replace")
            return
        _replace(path, text)
    except OSError as error:
        raise Failure(f"{target}: cannot be written: {error.strerror}") from None
    sys.stdout.write(visible(str(Path(target).absolute())) + "\n")


def write_all(folder: str, texts: Mapping[str, str]) -> None:
    """Write files into a folder, which is made if need be; print their paths.

    :raises Failure: it cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Failure(f"{folder}: is a file; expected a folder, as these are {len(texts)} files") from None
    except OSError as error:
        raise Failure(f"{folder}: cannot be made: {error.strerror}") from None
    for name, text in texts.items():
        write(str(Path(folder) / name), text)


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        os.unlink(name)  # noqa: PTH108
        raise
