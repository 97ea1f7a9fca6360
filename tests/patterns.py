"""Every regular expression of the program, as JSON lines: ``python -m tests.patterns``.

Importing all modules, reading the logs of the lab, and explaining them compiles the patterns; a hook in
:mod:`re` records each with the module that asked for it.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOGS = Path(__file__).parent / "logs"
THROUGH = {"re", "functools", "enum", "pyparsing"}
"""What compiles for somebody else."""


class Compiled(NamedTuple):
    """A pattern as it was given to :mod:`re`."""

    module: str
    pattern: str
    flags: int
    binary: bool

    def compile(self) -> re.Pattern[Any]:
        pattern: Any = self.pattern.encode("latin-1") if self.binary else self.pattern
        return re.compile(pattern, self.flags)


@functools.cache
def gathered() -> list[Compiled]:
    """Gather the patterns in a process of its own, where nothing is compiled yet."""
    command = [sys.executable, "-m", "tests.patterns"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, stdout=subprocess.PIPE)
    return [Compiled(*json.loads(line)) for line in done.stdout.splitlines()]


def _asked_by() -> str:
    """Return the module of the program that is compiling, or an empty string."""
    frame = sys._getframe(2)  # noqa: SLF001
    while frame:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in THROUGH:
            return name if name.startswith("kpanic") else ""
        frame = frame.f_back
    return ""


def _modules() -> None:
    import kpanic  # noqa: PLC0415 - after the hook

    for found in pkgutil.walk_packages(kpanic.__path__, "kpanic."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def main() -> None:
    """Print one line a pattern."""
    seen: set[Compiled] = set()
    inner = re._compiler.compile  # type: ignore[attr-defined]  # noqa: SLF001

    def record(pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401
        if module := _asked_by():
            binary = isinstance(pattern, bytes)
            seen.add(Compiled(module, pattern.decode("latin-1") if binary else pattern, int(flags), binary))
        return inner(pattern, flags)

    re._compiler.compile = record  # type: ignore[attr-defined]  # noqa: SLF001
    _modules()
    from kpanic import document, parse  # noqa: PLC0415

    for path in sorted(LOGS.rglob("*.*")):
        if path.is_file():
            for report in parse(path.read_bytes()):
                document(report)
    for one in sorted(seen):
        print(json.dumps(one))  # noqa: T201


if __name__ == "__main__":
    main()
