"""Files to documents, in one process or several, in the order of the files and in bounded memory."""

from __future__ import annotations

import functools
import gc
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
SHARE = 16
"""Files that a process takes at a time."""
NUMBER = 8
"""Bytes of a share's number in what a process sends."""


class Parsed(NamedTuple):
    """Some of the documents of a file."""

    path: str
    """The file; of an archive, until it is complete, the one in it."""
    documents: list[Packed]
    fault: str = ""
    """Why the file could not be read, or not to its end; one line."""
    complete: bool = True
    """No more of this file follows."""


def parse_files(paths: Iterable[str], base: Origin, jobs: int = 1) -> Iterator[Parsed]:
    """Parse files, and yield what they hold in the order of ``paths``.

    :param paths: files, archives and URLs (:func:`.sources.sources`); one process asks for each
        when it reads it.
    :param base: what is known of every crash before its file is read.
    :param jobs: processes to parse with; they are started by the call.
    """
    from kpanic import grammars  # noqa: PLC0415 - the grammar is built on import

    grammars.Parser()  # the whole grammar is built before the processes part
    gc.freeze()  # it lives as long as the process: collecting garbage need not look through it
    parse = functools.partial(_parse_file, base=base)
    if jobs > 1:
        paths = list(paths)
        jobs = min(jobs, len(paths))
        if jobs > 1:
            return _side_by_side(parse, paths, jobs)
    return (parsed for path in paths for parsed in parse(path))


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
    parse: Callable[[str], Iterator[Parsed]], paths: Sequence[str], jobs: int
) -> Iterator[Parsed]:
    """Start processes that take the next few files each, until there are none.

    multiprocessing's own pool spends a tenth of a process on the threads that watch it.
    """
    import multiprocessing  # noqa: PLC0415 - most runs have one process
    import pickle  # noqa: PLC0415

    fork = multiprocessing.get_context("fork")
    size = max(1, min(SHARE, len(paths) // (4 * jobs)))
    shares = [paths[at : at + size] for at in range(0, len(paths), size)]
    turn = fork.Value("L", 0)
    processes = []
    readers: list[Connection] = []

    def process(results: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
        for reader in readers:  # else a child of a dead parent would not notice
            reader.close()
        while True:
            with turn.get_lock():
                number = turn.value
                turn.value += 1
            if number >= len(shares):
                return
            for path in shares[number]:
                for parsed in parse(path):
                    results.send_bytes(number.to_bytes(NUMBER) + pickle.dumps(parsed))

    for _ in range(jobs):
        reader, writer = fork.Pipe(duplex=False)
        readers.append(reader)
        processes.append(fork.Process(target=process, args=(writer,), daemon=True))
        processes[-1].start()
        writer.close()

    def collected() -> Iterator[Parsed]:
        try:
            yield from _in_order(shares, [_Worker(reader, pickle.loads) for reader in readers])
        finally:
            for one in processes:
                one.terminate()
                one.join()

    return collected()


class _Worker:
    """The parent's end of a process: what it has sent and is not yet due."""

    def __init__(self, reader: Connection, load: Callable[[bytes], Parsed]) -> None:
        self.reader = reader
        self._load = load
        self._held: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self.ended = False

    @property
    def may_send(self) -> bool:
        """Whether more is taken from the process now; without that it waits."""
        return not self.ended and self._bytes < AHEAD

    def receive(self) -> None:
        try:
            body = self.reader.recv_bytes()
        except EOFError:
            self.ended = True
            return
        self._held.append((int.from_bytes(body[:NUMBER]), body[NUMBER:]))
        self._bytes += len(body)

    def take(self, number: int) -> Iterator[Parsed]:
        """Yield what there is of a share."""
        while self._held and self._held[0][0] == number:
            _, body = self._held.popleft()
            self._bytes -= len(body)
            yield self._load(body)

    def holds(self, number: int) -> bool:
        return bool(self._held) and self._held[0][0] == number


def _in_order(shares: Sequence[Sequence[str]], workers: list[_Worker]) -> Iterator[Parsed]:
    """Yield what processes send, in the order of the shares; a process sends its shares in that order."""
    from multiprocessing.connection import wait  # noqa: PLC0415

    for number, share in enumerate(shares):
        left = list(share)
        while left:
            owner = next((worker for worker in workers if worker.holds(number)), None)
            for parsed in owner.take(number) if owner else ():
                if parsed.complete:
                    left.remove(parsed.path)
                yield parsed
            if owner is not None:
                continue
            sending = {worker.reader: worker for worker in workers if worker.may_send}
            if not sending:
                break
            for reader in wait(list(sending)):
                sending[reader].receive()  # type: ignore[index] # they are connections
        yield from (Parsed(path, [], "the process that read it died; try it alone") for path in left)
