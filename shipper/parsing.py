"""Files to documents, in one process or several, in the order of the files and in bounded memory."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import pickle
import signal
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from kpanic.shipper.api import Unreadable
from kpanic.shipper.batch import Batch
from kpanic.shipper.document import documented
from kpanic.shipper.inputs.sources import sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from kpanic.shipper.origin import Origin
    from kpanic.shipper.packed import Packed

__all__ = ["Parsed", "parse_files"]

AHEAD = 1 << 23
"""Bytes that each process may be ahead of the file whose turn it is."""
GIVEN = 4
"""Files that a process is given ahead, so that it need not wait for the next one."""
FEW_FILES, FEW_BYTES = 48, 1 << 20
"""Up to so many files, if none of them is larger, are read sooner than processes start."""
MOST_JOBS = 8
"""Processes without ``--jobs``; one process prints what all of them read."""
PARTIAL, COMPLETE = b"-", b"."
"""What a process sends before each :class:`Parsed`."""


class Parsed(NamedTuple):
    """Some of the documents of a file."""

    path: str
    """The file; of an archive, until it is complete, the one in it."""
    documents: list[Packed]
    fault: str = ""
    """Why the file could not be read, or not to its end; one line."""
    complete: bool = True
    """No more of this file follows."""


def parse_files(paths: Iterable[str], base: Origin, jobs: int | None = 1) -> Iterator[Parsed]:
    """Parse files, and yield what they hold in the order of ``paths``.

    :param paths: files, archives and URLs (:func:`.sources.sources`); each is asked for when it is about to
        be read.
    :param base: what is known of every crash before its file is read.
    :param jobs: processes to parse with; they are started by the call. None is one for each available
        processor if there is enough to read.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    grammars.Parser()  # the whole grammar is built before the processes part
    gc.freeze()  # it lives as long as the process: collecting garbage need not look through it
    parse = functools.partial(_parse_file, base=base)
    if jobs != 1:
        paths = iter(paths)
        first = list(itertools.islice(paths, max(FEW_FILES + 1, jobs or 0)))
        if jobs is None:
            jobs = min(MOST_JOBS, len(os.sched_getaffinity(0))) if is_much(first) else 1
        jobs = min(jobs, len(first))
        paths = itertools.chain(first, paths)
        if jobs > 1:
            return _side_by_side(parse, paths, jobs)
    return (parsed for path in paths for parsed in parse(path))


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


def _side_by_side(
    parse: Callable[[str], Iterator[Parsed]], paths: Iterable[str], jobs: int
) -> Iterator[Parsed]:
    """Start processes, and give each the next file when it has nearly done with those before.

    multiprocessing's own pool spends a tenth of a process on the threads that watch it.
    """
    import multiprocessing  # noqa: PLC0415 - a service has one process

    fork = multiprocessing.get_context("fork")
    workers: list[_Worker] = []

    def process(pipe: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
        for worker in workers:  # else a child of a dead parent would not notice
            worker.pipe.close()
        with contextlib.suppress(EOFError):
            while True:
                for parsed in parse(os.fsdecode(pipe.recv_bytes())):
                    pipe.send_bytes((COMPLETE if parsed.complete else PARTIAL) + pickle.dumps(parsed))

    processes = []
    for _ in range(jobs):
        ours, theirs = fork.Pipe()
        workers.append(_Worker(ours))
        processes.append(fork.Process(target=process, args=(theirs,), daemon=True))
        processes[-1].start()
        theirs.close()

    def collected() -> Iterator[Parsed]:
        try:
            yield from _in_order(parse, iter(paths), workers)
        finally:
            for one in processes:
                one.terminate()
                one.join()

    return collected()


class _Worker:
    """The parent's end of a process: what it is to read, and what it has sent and is not yet due."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.given = 0
        """Files that it was given and has not completed."""
        self.ended = False
        self.blamed = False
        """The file that it died of is known."""
        self._held: deque[bytes] = deque()
        self._bytes = 0

    @property
    def may_send(self) -> bool:
        """Whether more is taken from the process now; without that it waits."""
        return not self.ended and self._bytes < AHEAD

    def give(self, path: str) -> None:
        self.given += 1
        with contextlib.suppress(BrokenPipeError):  # it died, which shows when this file is due
            self.pipe.send_bytes(os.fsencode(path))

    def receive(self) -> None:
        try:
            body = self.pipe.recv_bytes()
        except (EOFError, ConnectionResetError):
            self.ended = True
            return
        self.given -= body.startswith(COMPLETE)
        self._held.append(body)
        self._bytes += len(body)

    def take(self) -> Parsed | None:
        """Return the next of what it sent; None if there is nothing yet."""
        if not self._held:
            return None
        body = self._held.popleft()
        self._bytes -= len(body)
        parsed: Parsed = pickle.loads(body[1:])  # noqa: S301 - of a process of ours
        return parsed


def _in_order(
    parse: Callable[[str], Iterator[Parsed]], paths: Iterator[str], workers: Sequence[_Worker]
) -> Iterator[Parsed]:
    """Yield what processes send, in the order of the files.

    A process that dies costs the file that it was reading. The parent reads the others that it was given.
    """
    from multiprocessing.connection import wait  # noqa: PLC0415

    order: deque[tuple[str, _Worker]] = deque()
    while True:
        while idle := [one for one in workers if not one.ended and one.given < GIVEN]:
            path = next(paths, None)
            if path is None:
                break
            worker = min(idle, key=lambda one: one.given)
            worker.give(path)
            order.append((path, worker))
        if not order:
            yield from (parsed for path in paths for parsed in parse(path))  # no process is left
            return
        path, worker = order[0]
        parsed = worker.take()
        if parsed is not None:
            if parsed.complete:
                order.popleft()
            yield parsed
        elif worker.ended:
            order.popleft()
            if worker.blamed:
                yield from parse(path)
            else:
                worker.blamed = True
                yield Parsed(path, [], "the process that read it died; try it alone")
        else:
            sending = {one.pipe: one for one in workers if one.may_send}
            for pipe in wait(list(sending)):
                sending[pipe].receive()  # type: ignore[index] # they are connections
