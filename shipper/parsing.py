"""Files to documents, in one process or several, in the order of the files and in bounded memory."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from kpanic.shipper.api import Unreadable
from kpanic.shipper.batch import Batch
from kpanic.shipper.document import documented
from kpanic.shipper.executors import Died, executor
from kpanic.shipper.inputs.log_file import STANDARD_INPUT
from kpanic.shipper.inputs.sources import sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kpanic.shipper.executors import Executor, Run
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed

__all__ = ["Parsed", "parse_files"]

FEW_FILES, FEW_BYTES = 48, 1 << 20
"""Up to so many files, if none of them is larger, are read sooner than processes start."""
MOST_JOBS = 8
"""Processes unless more are asked for; one process prints or stores what all of them read."""


class Parsed(NamedTuple):
    """Some of the documents of a file."""

    path: str
    """The file; of an archive, until it is complete, the one in it."""
    documents: list[Packed]
    fault: str = ""
    """Why the file could not be read, or not to its end; one line."""
    complete: bool = True
    """No more of this file follows."""


def parse_files(paths: Iterable[str], base: Origin, on: int | str | None = 1) -> Iterator[Parsed]:
    """Parse files, and yield what they hold in the order of ``paths``.

    :param paths: files, archives and URLs (:func:`.sources.sources`); each is asked for when it is about to
        be read.
    :param base: what is known of every crash before its file is read.
    :param on: processes to parse with, which are started by the call, or the address of a Dask scheduler.
        None is one process for each available processor if there is enough to read.
    :raises OperatorError: the scheduler cannot be used.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    grammars.Parser()  # the whole grammar is built before the processes part
    gc.freeze()  # it lives as long as the process: collecting garbage need not look through it
    work = functools.partial(_parse_file, base=base)
    if not isinstance(on, str) and on != 1:
        paths = iter(paths)
        first = list(itertools.islice(paths, max(FEW_FILES + 1, on or 0)))
        if on is None:
            on = min(MOST_JOBS, len(os.sched_getaffinity(0))) if is_much(first) else 1
        on = min(on, len(first))
        paths = itertools.chain(first, paths)
    if isinstance(on, int) and on <= 1:
        return (parsed for path in paths for parsed in work(path))
    return _in_order(executor(work, on), iter(paths), work)


def is_much(paths: Sequence[str]) -> bool:
    """Tell whether there is so much to read that processes side by side end sooner."""
    if len(paths) > FEW_FILES:
        return True
    for path in paths:
        with contextlib.suppress(OSError, ValueError):  # a URL; or what is said when it is read
            if os.stat(path).st_size > FEW_BYTES:  # noqa: PTH116
                return True
    return False


def _parse_file(path: str, base: Origin) -> Iterator[Parsed]:
    batch = Batch()
    fault = ""
    try:
        for source in sources(path, base):
            try:
                for report, origin in source.crashes:
                    if batch.add([documented(report, origin)]):
                        yield Parsed(source.path, batch.empty(), complete=False)
            except Unreadable as error:
                if source.path == path:
                    raise
                yield Parsed(source.path, batch.empty(), error.reason, complete=False)
            if batch.documents and source.path != path:
                yield Parsed(source.path, batch.empty(), complete=False)
    except Unreadable as error:
        fault = error.reason
    yield Parsed(path, batch.empty(), fault)


class _Here:
    """A file that this process reads itself."""

    def __init__(self, parts: Iterator[Parsed]) -> None:
        self._parts = parts
        self.ended = False

    def take(self) -> Parsed | None:
        """Return the next part; None behind the last one."""
        parsed = next(self._parts, None)
        self.ended = parsed is None
        return parsed


def _in_order(
    elsewhere: Executor[Parsed], paths: Iterator[str], work: Callable[[str], Iterator[Parsed]]
) -> Iterator[Parsed]:
    """Yield what an executor reads, in the order of the files."""
    due: deque[tuple[str, Run[Parsed]]] = deque()
    try:
        while True:
            while elsewhere.has_room and (path := next(paths, None)) is not None:
                run = _Here(work(path)) if path == STANDARD_INPUT else elsewhere.submit(path)
                due.append((path, run))
            if not due:
                return
            path, run = due[0]
            try:
                if (parsed := run.take()) is not None:
                    yield parsed
                    continue
            except Died as error:
                yield Parsed(path, [], str(error))
                due.popleft()
                continue
            if run.ended:
                due.popleft()
            else:
                elsewhere.wait(run)
    finally:
        elsewhere.close()
