"""Files to documents, here or elsewhere, in the order of the files and in bounded memory."""

from __future__ import annotations

import functools
import gc
import itertools
import os
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from kpanic.shipper.api import Unreadable, hide_secrets
from kpanic.shipper.batch import Batch
from kpanic.shipper.document import documented
from kpanic.shipper.executors import Died, executor
from kpanic.shipper.inputs.log_file import STANDARD_INPUT
from kpanic.shipper.inputs.sources import sources
from kpanic.shipper.parts import Joined, Piece, Range, local_size, ranges, read_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kpanic.shipper.executors import Executor, Run
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed

    _Work = Callable[[str | Range], Iterator["Parsed | Piece"]]

__all__ = ["Parsed", "parse_files"]

FEW_FILES, FEW_BYTES = 1000, 1 << 25
"""One process reads up to so many files, unless one is large. The start of each further process takes a sixth
of a second of processor time."""
MOST_JOBS = 8
"""Processes unless more are asked for; one process prints or stores what all of them read."""


class Parsed(Struct, frozen=True):
    """Some of the documents of a file."""

    path: str
    """The file; of an archive that is not complete, the file in it."""
    documents: list[Packed]
    fault: str = ""
    """Why the file could not be read to its end, or not at all; one line."""
    complete: bool = True
    """No more of this file follows."""
    read: int = 0
    """Bytes of a large file that were read so far; 0 if it is not known."""
    undelivered: str = ""
    """Why some documents were not delivered where they were read; empty if all were, or none had to be."""


def parse_files(  # noqa: PLR0913 - they are independent
    paths: Iterable[str],
    base: Origin,
    on: int | str | None = 1,
    size_of: Callable[[str], int] = local_size,
    *,
    kept: bool = True,
    deliver: Callable[[Parsed], Parsed] | None = None,
) -> Iterator[Parsed]:
    """Parse files, and yield their documents in the order of ``paths``.

    :param paths: files, archives and URLs (:func:`.sources.sources`); each is taken
        right before it is read.
    :param base: what is known of every crash before its file is read.
    :param on: processes to parse with, which are started by the call, or the address of a Dask scheduler.
        None is one process for each available processor if there is enough to read.
    :param size_of: returns the size of a file in bytes; 0 for one that has to be read by one process.
    :param kept: the store takes the documents; otherwise they are only printed.
    :param deliver: is called with a file's documents, in the process that reads the file. Those of a file
        that is read in parts are numbered here instead, and left out.
    :raises OperatorError: the scheduler cannot be used.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    grammars.Parser()  # the whole grammar is built before the processes part
    gc.freeze()  # it lives as long as the process: the garbage collector may skip it
    work = functools.partial(_work, base=base, kept=kept, deliver=deliver)
    read = functools.partial(_parse_file, base=base, kept=kept, deliver=deliver)
    if on == 1:
        return (parsed for path in paths for parsed in read(path))
    tasks = _tasks(paths, size_of)
    if not isinstance(on, str):
        first = list(itertools.islice(tasks, FEW_FILES + 1 if on is None else on))
        if on is None:
            much = len(first) > FEW_FILES or any(task.size > FEW_BYTES for task in first)
            on = min(MOST_JOBS, len(os.sched_getaffinity(0))) if much else 1
        on = min(on, len(first))
        tasks = itertools.chain(first, tasks)
        if on <= 1:
            whole = (task.path for task in tasks if task.part is None or not task.part.begin)
            return (parsed for path in whole for parsed in read(path))
    return _in_order(executor(work, on), tasks, work)


class _Task(Struct, frozen=True):
    """A file, or a part of one."""

    path: str
    size: int
    """Bytes of the file; 0 if it is not known."""
    part: Range | None = None
    joined: Joined | None = None
    """The file of the part."""
    last: bool = True
    """The file has no more parts."""

    @property
    def is_needless(self) -> bool:
        """Whether the file ended before this part; only the last part tells."""
        return self.joined is not None and self.joined.ended and not self.last

    def failed(self, fault: str) -> Iterator[Parsed]:
        """Yield the end of a file that could not be read."""
        if self.joined is None:
            yield Parsed(self.path, [], fault)
        else:
            self.joined.fail(fault)
            yield from self.complete()

    def again(self) -> Range | None:
        """Return the next part to be read, out of order."""
        if self.joined is None:
            return None
        if self.last:
            self.joined.end()
        return self.joined.repeated()

    def complete(self) -> Iterator[Parsed]:
        """Yield the end of a file that was read in parts."""
        if self.joined is not None and self.last:
            yield Parsed(self.path, [], self.joined.fault)


def _tasks(paths: Iterable[str], size_of: Callable[[str], int]) -> Iterator[_Task]:
    for path in paths:
        size = size_of(path)
        parts = ranges(path, size)
        if not parts:
            yield _Task(path, size)
            continue
        joined = Joined(path)
        for part in parts:
            yield _Task(path, size, part, joined, last=part.end is None)


def _work(
    task: str | Range, base: Origin, *, kept: bool, deliver: Callable[[Parsed], Parsed] | None
) -> Iterator[Parsed | Piece]:
    if isinstance(task, str):
        return _parse_file(task, base, kept=kept, deliver=deliver)
    return read_range(task, base, kept=kept)


def _parse_file(
    path: str, base: Origin, *, kept: bool, deliver: Callable[[Parsed], Parsed] | None
) -> Iterator[Parsed]:
    found = _parsed_file(path, base, kept=kept)
    return map(deliver, found) if deliver else found


def _parsed_file(path: str, base: Origin, *, kept: bool) -> Iterator[Parsed]:
    batch = Batch()
    fault = ""
    try:
        for source in sources(path, base):
            try:
                for report, origin in source.crashes:
                    if batch.add([documented(report, origin, kept=kept)]):
                        yield Parsed(source.path, batch.empty(), complete=False)
            except Unreadable as error:
                if source.path == path:
                    raise
                yield Parsed(source.path, batch.empty(), error.reason, complete=False)
            if batch.documents and source.path != path:
                yield Parsed(source.path, batch.empty(), complete=False)
    except Unreadable as error:
        fault = error.reason
    except Exception as error:  # noqa: BLE001 - it costs this file, not those behind it
        said = hide_secrets(f"{type(error).__name__}: {error}")
        fault = f"a fault of kpanic ends the reading ({said}); please report it"
    yield Parsed(path, batch.empty(), fault)


class _Here:
    """A file that this process reads itself."""

    def __init__(self, parts: Iterator[Parsed | Piece]) -> None:
        self._parts = parts
        self.ended = False

    def take(self) -> Parsed | Piece | None:
        """Return the next part; None after the last one."""
        parsed = next(self._parts, None)
        self.ended = parsed is None
        return parsed


def _in_order(elsewhere: Executor[Parsed | Piece], tasks: Iterator[_Task], work: _Work) -> Iterator[Parsed]:
    """Yield what an executor reads, in the order of the files.

    :param work: the executor's function, which is called here for standard input.
    """
    due: deque[tuple[_Task, Run[Parsed | Piece]]] = deque()
    try:
        while True:
            while elsewhere.has_room and (task := next(tasks, None)) is not None:
                if not task.is_needless:
                    due.append((task, _run(task, elsewhere, work)))
            if not due:
                return
            task, run = due[0]
            try:
                sent = run.take()
            except Died as error:
                due.popleft()
                yield from task.failed(str(error))
                continue
            if sent is not None:
                yield from _parsed(task, sent)
            elif not run.ended:
                elsewhere.wait(run)
            else:
                due.popleft()
                if part := task.again():
                    task = structs.replace(task, part=part)
                    due.appendleft((task, _run(task, elsewhere, work)))
                else:
                    yield from task.complete()
    finally:
        elsewhere.close()


def _run(task: _Task, elsewhere: Executor[Parsed | Piece], work: _Work) -> Run[Parsed | Piece]:
    if task.path == STANDARD_INPUT:
        return _Here(work(task.path))
    return elsewhere.submit(task.part or task.path)


def _parsed(task: _Task, sent: Parsed | Piece) -> Iterator[Parsed]:
    if isinstance(sent, Parsed):
        yield sent
    elif task.joined is not None and task.part is not None:
        documents = task.joined.documents(task.part, sent)
        if documents or sent.part is not None:
            yield Parsed(task.path, documents, complete=False, read=task.joined.read)
