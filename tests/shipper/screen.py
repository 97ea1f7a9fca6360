"""Runs a command in a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def shown(command: Sequence[str], environment: Mapping[str, str], *, output: bool = True) -> str:
    """Return the output of a command on a terminal, optionally without standard output."""
    inside, outside = pty.openpty()
    stdout = outside if output else subprocess.DEVNULL
    with subprocess.Popen(command, stdout=stdout, stderr=outside, env=environment) as process:
        os.close(outside)
        text = b""
        while select.select([inside], [], [], 300)[0]:
            try:
                text += os.read(inside, 65536)
            except OSError:
                break
        process.wait()
    os.close(inside)
    return text.decode()
