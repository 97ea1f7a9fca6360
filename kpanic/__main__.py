"""The command ``kpanic``, also as ``python -m kpanic``."""

from __future__ import annotations

import atexit
import gc

COLLECTED = 50_000
"""New objects before Python looks for cycles: a start makes many lasting objects, but few cycles."""


def main() -> None:
    """Run the command line, see :mod:`kpanic.shipper.cli`."""
    gc.set_threshold(COLLECTED)
    atexit.register(gc.freeze)  # Python looks for cycles once more when it ends, and all memory goes anyway
    from kpanic.shipper.cli import main as run  # noqa: PLC0415 - its imports are the objects

    run()


if __name__ == "__main__":
    main()
