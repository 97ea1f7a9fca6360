"""Prints every regular expression of the program as JSON lines: ``python -m tests.patterns``.

Importing all modules, reading the logs of the tests, and building all sentences compiles the patterns; a hook
in :mod:`re` records each with the module that asks for it.
"""

from __future__ import annotations

import functools
import gc
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kpanic.grammars import precompiled
from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

LOGS = Path(__file__).parent / "logs"
THROUGH = {"re", "functools", "enum", "pyparsing"}
"""Packages that compile patterns for their callers."""
SEARCHES = {"search", "finditer", "findall", "sub", "subn", "split"}
"""Methods that try a pattern at every position of a text."""


class Compiled(NamedTuple):
    """A pattern as it was given to :mod:`re`."""

    module: str
    pattern: str
    flags: int
    binary: bool
    searched: bool
    """Whether the program searches a text for it, and does not match it at one position."""

    def compile(self) -> re.Pattern[Any]:
        pattern: Any = self.pattern.encode("latin-1") if self.binary else self.pattern
        return re.compile(pattern, self.flags)


@functools.cache
def gathered() -> list[Compiled]:
    """Gather the patterns in a new process, which has compiled none yet."""
    command = [sys.executable, "-m", "tests.patterns"]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, stdout=subprocess.PIPE)
    return [Compiled(*json.loads(line)) for line in done.stdout.splitlines()]


class Recorder:
    """Records compiled patterns, and their callers."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str | bytes, int], str] = {}
        self.searched: set[str | bytes] = set()
        self._compile = re._compiler.compile  # type: ignore[attr-defined]  # noqa: SLF001
        re._compiler.compile = self.record  # type: ignore[attr-defined]  # noqa: SLF001

    def record(self, pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401
        frame = inspect.currentframe()
        functions = set()
        while frame := frame and frame.f_back:
            name = frame.f_globals.get("__name__", "")
            if name.partition(".")[0] not in THROUGH and name != precompiled.__name__:
                break
            functions.add(frame.f_code.co_name)
        if frame and name.startswith("kpanic"):
            self.seen.setdefault((pattern, int(flags)), name)
            if functions & SEARCHES:
                self.searched.add(pattern)
        return self._compile(pattern, flags)


def _modules() -> Iterator[ModuleType]:
    import kpanic  # noqa: PLC0415 - after the hook

    for found in pkgutil.walk_packages(kpanic.__path__, "kpanic."):
        if found.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(found.name)
        except ModuleNotFoundError as error:  # a module that writes artefacts needs an extra
            if (error.name or "").startswith("kpanic"):
                raise


PATTERNS: Final = (re.Pattern, type(regex("")))
"""Types of compiled patterns, and of patterns that are compiled on first use."""


def _searched(modules: list[ModuleType]) -> Iterator[str | bytes]:
    """Yield the patterns with a name, or in a container, of a module, which it searches for."""
    called = {module: _receivers(module) for module in modules}
    for module in modules:
        spaces = [vars(module)] + [vars(one) for one in vars(module).values() if inspect.isclass(one)]
        named = {name: value for space in spaces for name, value in space.items()}
        local = called[module] - named.keys()
        for name, value in named.items():
            if isinstance(value, PATTERNS):
                users = [one for one in modules if one is module or vars(one).get(name) is value]
                if any(name in called[user] for user in users):
                    yield value.pattern
            elif local:
                yield from (one.pattern for one in _held(value))


def _receivers(module: ModuleType) -> set[str]:
    """Return the names of objects whose searching methods a module calls."""
    return set(re.findall(rf"(\w+)\s*\.(?:{'|'.join(SEARCHES)})\(", inspect.getsource(module)))


def _held(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, PATTERNS):
        yield value
    elif isinstance(value, dict):
        yield from _held((*value.keys(), *value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _held(one)


def main() -> None:
    """Print one line for each pattern."""
    precompiled.PATTERNS.table = {}  # patterns that an installation keeps are not compiled
    recorder = Recorder()
    modules = list(_modules())
    from kpanic import document, parse  # noqa: PLC0415
    from kpanic.grammars.sentence import Sentence  # noqa: PLC0415

    for path in sorted(LOGS.rglob("*.*")):
        if path.is_file():
            for report in parse(path.read_bytes()):
                document(report)
    for sentence in [one for one in gc.get_objects() if isinstance(one, Sentence)]:
        assert sentence.regex
    recorder.searched |= set(_searched(modules))
    for (pattern, flags), module in sorted(recorder.seen.items(), key=lambda one: (one[1], repr(one[0]))):
        binary = isinstance(pattern, bytes)
        text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
        print(json.dumps(Compiled(module, text, flags, binary, pattern in recorder.searched)))  # noqa: T201


if __name__ == "__main__":
    main()
