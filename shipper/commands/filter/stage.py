"""The stage between the pipe's text and the written documents."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from kpanic.shipper.api import Stored, Unavailable
from kpanic.shipper.commands.filter.printing import FORMATS, documents
from kpanic.shipper.commands.filter.state import Clock, Known, State, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpanic.grammars.model import CrashReport
    from kpanic.shipper.api import Stop
    from kpanic.shipper.commands.filter.printing import Printed
    from kpanic.shipper.inputs.piped_lines import PipedLines, PipedRecords
    from kpanic.shipper.origin import Origin
    from kpanic.shipper.outputs.file import FileOutput

__all__ = ["Sink", "Stage", "to_file", "to_standard_output"]

RETRY_FILE: Final = 5.0
"""Seconds until a file that could not be written is tried again."""


class Sink(Protocol):
    """Writes documents; they are handed over on return."""

    def __call__(self, found: Sequence[Printed], /) -> None:
        """Write documents, or raise."""


def to_standard_output(form: str, tag: str) -> Sink:
    """Return a sink that writes to standard output in a format of :data:`FORMATS`."""
    out, encode = sys.stdout.buffer, FORMATS[form]

    def write(found: Sequence[Printed]) -> None:
        for one in found:
            out.write(encode(one.body, one.tagged(tag)))
        out.flush()  # the reader does not wait for the next crash

    return write


def to_file(output: FileOutput, tag: str, stop: Stop, say: Callable[[str], None]) -> Sink:
    """Return a sink that appends to a file, and that waits while the file cannot be written.

    Documents that cannot be written before the end are not handed over: Unavailable is raised.
    """

    def write(found: Sequence[Printed]) -> None:
        said = ""
        batch = [
            Stored(number, one.id, FORMATS["json"](one.body, one.tagged(tag)))
            for number, one in enumerate(found)
        ]
        while batch:
            try:
                output.send(batch)
            except Unavailable as error:
                if str(error) != said:
                    said = str(error)
                    say(f"{said}; trying again")
                if stop.wait(RETRY_FILE):
                    raise
            else:
                return

    return write


@dataclass
class Stage:
    """The parser that :func:`kpanic.shipper.inputs.piped_lines.follow_pipe` feeds.

    :ivar make: returns the parser for the pipe's format.
    :ivar sink: writes the documents.
    :ivar origin: what is known of every crash.
    :ivar signatures: whether each new signature is written as a document of its own.
    :ivar answer: writes a confirmation for each line that was taken; None without confirmations.
    :ivar say: logs a line for the operator.
    :ivar clock: the clock that measures silence.
    """

    make: Callable[[Callable[[list[tuple[str, CrashReport]]], None], Clock], PipedLines | PipedRecords]
    sink: Sink
    origin: Origin
    signatures: bool
    answer: Callable[[str], None] | None
    say: Callable[[str], None]
    state: State | None
    clock: Clock = field(init=False, default_factory=Clock)
    _known: Known = field(init=False)
    _lines: PipedLines | PipedRecords = field(init=False)
    _read_before: list[tuple[str, CrashReport]] | None = field(init=False, default=None)
    """Crashes that the journal completes; the journal's later entries say which of them were written."""
    _fresh: bool = field(init=False, default=True)
    _said: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._known = self.state.known if self.state else Known()
        self._lines = self.make(self._take, self.clock)

    def start(self) -> None:
        """Read the state of an earlier run, and confirm that lines may come.

        :raises StateError: the state cannot be read or written.
        """
        if self.state:
            self._read_before = []
            for seconds, chunk in self.state.read():
                self.clock.at = seconds
                self._lines.settle_all()
                self._feed(chunk)
            self._feed(b"")
            complete, self._read_before = self._read_before, None
            self._take(complete)
        self.clock.start()
        if self.state:
            self.state.take(self.clock(), b"")
        if self.answer:
            self.answer("OK")

    @property
    def wait(self) -> float | None:
        """Seconds until :meth:`settle` has something to do."""
        return self._lines.wait

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        # the sender repeats lines that were taken but not confirmed
        again = self._fresh and self.answer and self.state and chunk == self.state.last
        self._fresh = False
        trouble = "" if again else self._keep(chunk)
        if not again and not (trouble and self.answer):
            self._feed(chunk)
        if self.answer:
            for _ in range(chunk.count(b"\n")):
                self.answer(trouble or "OK")

    def settle(self) -> None:
        """Write the documents of crashes that are complete by now."""
        self._lines.settle()
        if self.state:
            try:
                self.state.trim(idle=not self._lines.open)
            except StateError as error:
                self._say_once(str(error))

    def flush(self) -> None:
        """Write the documents of all crashes; with a state, open crashes are left to the next filter.

        A product that ends or is killed closes the pipe in the middle of a crash, and starts another filter.
        """
        if self.state is None:
            self._lines.flush()
        elif self._lines.open:
            self.say(f"a crash is open; it is kept in {self.state.folder} for the next filter")

    def _keep(self, chunk: bytes) -> str:
        """Keep text; return why that is impossible, empty if it is kept."""
        if self.state:
            try:
                self.state.take(self.clock(), chunk)
            except StateError as error:
                self._say_once(str(error))
                return str(error)
            self._said = ""
        return ""

    def _feed(self, chunk: bytes) -> None:
        if chunk:
            self._lines.feed(chunk)
        else:  # a run began here: the rest of a line is lost
            self._lines.begin()

    def _take(self, complete: list[tuple[str, CrashReport]]) -> None:
        if self._read_before is not None:
            self._read_before += complete
            return
        for host, report in complete:
            origin = replace(self.origin, path="-", host_name=host, relayed=bool(host))
            if found := documents(report, origin, self._known, signatures=self.signatures):
                self.sink(found)
                self._note([one.id for one in found])

    def _note(self, names: list[str]) -> None:
        """Record that documents were written."""
        if not self.state:
            self._known.add(names)
            return
        try:
            self.state.written(names)
        except StateError as error:  # they may be written once more
            self._say_once(str(error))

    def _say_once(self, trouble: str) -> None:
        if trouble != self._said:
            self._said = trouble
            self.say(f"{trouble}; open crashes are lost if the filter is killed")
