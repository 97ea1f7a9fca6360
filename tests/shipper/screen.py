"""A pseudo-terminal to run a command in."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def shown(command: Sequence[str], environment: Mapping[str, str], *, output: bool = True) -> str:
    """Return what a command shows on a terminal; without its output, which goes elsewhere, if told so."""
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
