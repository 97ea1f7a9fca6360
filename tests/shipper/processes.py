"""Runs ``kpanic`` as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
KPANIC = [sys.executable, "-c", "from kpanic.shipper.cli import main; main()"]


@contextmanager
def service(config: Path, errors: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service; kill it at the end.

    :param errors: what it says is appended there.
    """
    with (
        errors.open("ab") as said,
        subprocess.Popen(
            [*KPANIC, "run", "-c", str(config)], stderr=said, cwd=ROOT, env={**os.environ, **environment}
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
