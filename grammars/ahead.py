"""Reads in a thread, so that reading, counting and scanning run in parallel."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kpanic.grammars.scan.block import line_breaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["read_ahead"]


def read_ahead(chunks: Iterable[bytes], least: int) -> Iterator[tuple[bytes, int | None]]:
    """Yield chunks, from the second on with the number of their line breaks.

    A thread reads and counts the next chunks meanwhile, once a chunk has ``least`` bytes: less is not worth
    it.
    """
    source = iter(chunks)
    for chunk in source:
        yield chunk, None
        if len(chunk) >= least:
            break
    else:
        return
    import queue  # noqa: PLC0415 - most logs are small

    taken: queue.SimpleQueue[tuple[bytes, int] | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore(2)
    ended = False

    def read() -> None:
        try:
            for chunk in source:
                room.acquire()
                if ended:
                    return
                taken.put((chunk, line_breaks(chunk)))
            taken.put(None)
        except BaseException as error:  # noqa: BLE001 - raised in the consumer of the chunks
            taken.put(error)

    thread = threading.Thread(target=read, name="read ahead")
    thread.start()
    try:
        while (found := taken.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            room.release()
            yield found
    finally:
        ended = True
        room.release()
        thread.join()
