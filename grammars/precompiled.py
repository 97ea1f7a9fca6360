"""Caches compiled regular expressions and Hyperscan's literals in an installation, like its modules.

:mod:`re` compiles in Python: compiling the patterns for a few hundred crashes takes as long as Python's
start. The result is kept in ``__pycache__``, by the rules of compiled modules (PEP 3147): for one version of
Python, where the folder can be written and ``PYTHONDONTWRITEBYTECODE`` is not set.
:mod:`kpanic.grammars.precompile` writes the file. Without it each process compiles what it needs.

Of a pattern the file holds the arguments of ``_sre.compile``, with which ``compile`` of Lib/re/_compiler.py
ends (CPython 3.11 to 3.14). A test compares each pattern with what :mod:`re` makes of it.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import marshal
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, AnyStr, Final, cast

from kpanic.grammars import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATTERNS", "Patterns", "compile"]

Key = tuple[object, ...]
"""A pattern and its flags, or the arguments of another compilation."""
Arguments = tuple[int, bytes, int, dict[str, int], tuple[str | None, ...]]
"""Flags, code, number of groups, numbers of the groups by name, names by number."""


class Patterns:
    """Compiled patterns of one file.

    :param path: the file, which need not exist.
    :ivar missed: patterns that were compiled because the file lacks them, each with the function that makes
        its entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.missed: dict[Key, Callable[[], Any]] = {}

    @functools.cached_property
    def table(self) -> dict[Key, Any]:
        """The content of the file; empty if it is damaged, or another Python or another kpanic wrote it."""
        try:
            made_for, table = marshal.loads(self._path.read_bytes())  # noqa: S302 - as trusted as modules
        except (OSError, ValueError, EOFError, TypeError):
            return {}
        return cast("dict[Key, Any]", table) if made_for == _made_for() else {}

    def kept(self, key: Key) -> Any | None:  # noqa: ANN401 - any type of entry
        """Return the entry of a key; None if the file lacks it."""
        return self.table.get(key)

    def keep(self, key: Key, make: Callable[[], Any]) -> None:
        """Add an entry to those that :meth:`write` writes.

        :param make: returns the entry, in types that :mod:`marshal` knows.
        """
        self.missed[key] = make

    def compile(self, pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
        """Compile a pattern like :func:`re.compile`, or return the kept one.

        :raises re.error: the pattern is invalid.
        """
        key = (pattern, int(flags))
        kept: Arguments | None = self.kept(key)
        if kept is None:
            found = re.compile(pattern, flags)
            self.keep(key, functools.partial(_arguments, pattern, int(flags)))
            return found
        own, code, groups, numbers, names = kept
        words = memoryview(code).cast("I").tolist()
        return cast("re.Pattern[AnyStr]", _engine().compile(pattern, own, words, groups, numbers, names))

    @property
    def wanted(self) -> bool:
        """Whether patterns were compiled, none are kept, and Python would keep a compiled module there."""
        if not self.missed or self.table or sys.dont_write_bytecode:
            return False
        folder = self._path.parent
        while not folder.exists():
            folder = folder.parent
        return os.access(folder, os.W_OK)

    def write(self) -> None:
        """Write the compiled entries. Several processes may do so at the same time.

        :raises OSError: the file cannot be written.
        """
        import tempfile  # noqa: PLC0415 - once for an installation

        table = self.table | {key: make() for key, make in self.missed.items()}
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=folder, prefix=self._path.name)
        new = Path(name)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(marshal.dumps(cast("Any", (_made_for(), table))))
            new.chmod(0o644)
            new.replace(self._path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _made_for() -> tuple[object, ...]:
    status = os.stat(compiled.__file__)  # noqa: PTH116 - pathlib is slower, at each start
    return sys.version, sys.byteorder, status.st_mtime_ns, status.st_size


@functools.cache
def _engine() -> Any:  # noqa: ANN401 - a module without types
    return importlib.import_module("_sre")


def _arguments(pattern: str | bytes, flags: int) -> Arguments:
    """Return the arguments that Lib/re/_compiler.py passes to ``_sre.compile``."""
    parsed = importlib.import_module("re._parser").parse(pattern, flags)
    code = importlib.import_module("re._compiler")._code(parsed, flags)  # noqa: SLF001
    numbers = parsed.state.groupdict
    names: list[str | None] = [None] * parsed.state.groups
    for name, number in numbers.items():
        names[number] = name
    data = b"".join(word.to_bytes(4, sys.byteorder) for word in code)
    return flags | parsed.state.flags, data, parsed.state.groups - 1, dict(numbers), tuple(names)


PATTERNS: Final = Patterns(Path(importlib.util.cache_from_source(__file__)).with_suffix(".patterns"))
"""The patterns of this installation and this Python."""
compile = PATTERNS.compile  # noqa: A001 - named like re.compile
