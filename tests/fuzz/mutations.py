"""Fuzzes all steps with mutated crash logs: parse, document, explain in each format, report.

    python -m tests.fuzz.mutations --seconds 3600

It needs nothing but the program; ``--seconds`` are of its processor. Counts inputs, crashes, exceptions and
inputs that take longer than a second of a processor. An input that fails is written to the working directory
as ``mutation-SEED-NUMBER``; the same seed and number make it again (``--seed``, ``--first``).
"""

# ruff: noqa: S311, T201

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kpanic import dashboards, parse
from kpanic.grammars import faults
from kpanic.grammars.boot import READERS
from kpanic.grammars.registry import default
from kpanic.grammars.report import FAULT
from kpanic.shipper.document import build
from kpanic.shipper.explain import Explained, explanation
from kpanic.shipper.explain.head import head
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import encode, pack
from kpanic.shipper.redact import STANDARD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kpanic.grammars.model import CrashReport

TESTS: Final = Path(__file__).parents[1]
LONGEST: Final = 16_384
"""Maximum bytes of a seed, which is the end of a log with its crashes."""
SLOW: Final = 1.0
"""Maximum CPU seconds of an input."""
REPORTED: Final = 500
"""Number of documents of a report."""
ORIGIN: Final = Origin("file", "/fuzz", mtime=0.0, agent_host="fuzz")
FORMS: Final = ("text", "markdown", "html")
ODD: Final = (
    b"\0", b"\x1b[2J", b"\x9b", b"\xff\xfe", "\u202e".encode(), "\u200b".encode(), b"\r", b"\r\n", b"\t",
    b"<script>", b"'\"", b"{{", b"}}", b"%s", b"\\u0000", b"\\ud800", b"#012", b"] ", b"[  1.000000] ",
    b"<4>", b"0x", b"-1", b"9" * 40, b"1e999", b"NaN", b" " * 300, b"a" * 5000, b"::" * 500, b"(" * 500,
    b"+0x1/0x2",
)  # fmt: skip


def seeds() -> list[bytes]:
    """Return the ends of all logs of the tests."""
    folders = (TESTS / "logs", TESTS / "wild", TESTS / "grammars" / "reports")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [body for path in files if (body := path.read_bytes()[-LONGEST:])]


def words() -> list[bytes]:
    """Return the literals of the scan."""
    return [literal.encode() for literal, *_ in (*default().literals, *READERS)]


class Mutator:
    """Makes inputs from the seeds; a number always gives the same input."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seeds = seeds()
        self._words = words()
        self._ways: Sequence[Callable[[random.Random, bytearray], None]] = (
            self._flip, self._remove, self._repeat, self._odd, self._word, self._splice, self._digit,
            self._move_line, self._repeat_line, self._join,
        )  # fmt: skip

    def made(self, number: int) -> bytes:
        """Return the input with a number."""
        chance = random.Random(f"{self._seed} {number}")
        body = bytearray(chance.choice(self._seeds))
        for _ in range(1 + int(chance.expovariate(0.25))):
            chance.choice(self._ways)(chance, body)
            del body[4 * LONGEST :]  # a line that is repeated without limit would fill the memory
        return bytes(body)

    @staticmethod
    def _span(chance: random.Random, body: bytearray, longest: int = 400) -> slice:
        start = chance.randrange(len(body) + 1)
        return slice(start, start + 1 + int(chance.random() ** 3 * longest))

    @staticmethod
    def _line(chance: random.Random, body: bytearray) -> slice:
        at = chance.randrange(len(body) + 1)
        end = body.find(b"\n", at)
        return slice(body.rfind(b"\n", 0, at) + 1, len(body) if end < 0 else end + 1)

    def _flip(self, chance: random.Random, body: bytearray) -> None:
        for _ in range(chance.choice((1, 1, 5, 50))):
            if body:
                body[chance.randrange(len(body))] = chance.randrange(256)

    def _remove(self, chance: random.Random, body: bytearray) -> None:
        del body[self._span(chance, body)]

    def _repeat(self, chance: random.Random, body: bytearray) -> None:
        span = self._span(chance, body, 60)
        body[span.start : span.start] = body[span] * chance.choice((1, 2, 20, 200))

    def _odd(self, chance: random.Random, body: bytearray) -> None:
        body[self._span(chance, body, 20)] = chance.choice(ODD)

    def _word(self, chance: random.Random, body: bytearray) -> None:
        at = self._line(chance, body).start if chance.random() < 0.5 else chance.randrange(len(body) + 1)
        body[at:at] = chance.choice(self._words) + chance.choice((b"", b" ", b"\n"))

    def _splice(self, chance: random.Random, body: bytearray) -> None:
        other = bytearray(chance.choice(self._seeds))
        body[self._span(chance, body, 4000)] = other[self._span(chance, other, 4000)]

    def _digit(self, chance: random.Random, body: bytearray) -> None:
        digits = [at for at, byte in enumerate(body) if chr(byte) in "0123456789abcdef"]
        for at in chance.sample(digits, min(len(digits), chance.choice((1, 8)))):
            body[at] = chance.choice(b"0123456789abcdefx-")

    def _move_line(self, chance: random.Random, body: bytearray) -> None:
        line = self._line(chance, body)
        text = body[line]
        del body[line]
        at = self._line(chance, body).start
        body[at:at] = text

    def _repeat_line(self, chance: random.Random, body: bytearray) -> None:
        line = self._line(chance, body)
        body[line.start : line.start] = body[line] * chance.choice((1, 3, 40))

    def _join(self, chance: random.Random, body: bytearray) -> None:
        end = self._line(chance, body).stop
        if chance.random() < 0.5:
            del body[end - 1 : end]
        else:
            body[end - 1 : end - 1] = b"\n"


def way(body: bytes) -> list[dict[str, Any]]:
    """Pass an input through all steps except the report; return its documents.

    :raises AssertionError: the grammar had a fault, which it only counts.
    """
    before = faults.counts()
    documents = []
    explained = []
    for report in parse(body):
        assert not report.doubt.startswith(FAULT), report.doubt
        packed = pack(build(report, ORIGIN))
        assert b"\n" not in packed.body
        documents.append(json.loads(packed.body))
        explained.append(_explained(report))
    for form in FORMS if explained else ():
        printer = importlib.import_module(f"kpanic.shipper.explain.{form}")
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")):
            printer.crashes(iter(explained))
    assert faults.counts() == before, faults.counts()
    return documents


def _explained(report: CrashReport) -> Explained:
    shown = STANDARD.report(report)
    crash = Explained("/fuzz", shown, head(shown, ORIGIN, None))
    json.loads(encode(explanation(crash)))
    return crash


class Fuzz:
    """A run.

    :ivar counts: inputs, crashes, exceptions and slow inputs.
    """

    def __init__(self, seed: int, where: Path) -> None:
        self.counts: Counter[str] = Counter(inputs=0, crashes=0, exceptions=0, slow=0)
        self.slowest = 0.0
        self._seed = seed
        self._where = where
        self._mutator = Mutator(seed)
        self._documents: list[dict[str, Any]] = []

    def run(self, numbers: Iterator[int] | range) -> None:
        """Pass inputs through all steps, then write the report of their documents."""
        for number in numbers:
            self._one(number)
        self._report()

    def _one(self, number: int) -> None:
        body = self._mutator.made(number)
        began = time.thread_time()
        try:
            documents = way(body)
        except Exception as error:  # noqa: BLE001 - counted and shown
            self._found("exceptions", number, body, repr(error))
            return
        taken = time.thread_time() - began
        self.slowest = max(self.slowest, taken)
        if taken > SLOW:
            self._found("slow", number, body, f"{taken:.2f} s")
        self.counts["inputs"] += 1
        self.counts["crashes"] += len(documents)
        self._documents += documents[:REPORTED]
        if len(self._documents) > REPORTED:
            self._report()

    def _report(self) -> None:
        documents, self._documents = self._documents, []
        try:
            dashboards.render_report(dashboards.gather(documents, dashboards.REPORTED))
        except Exception as error:  # noqa: BLE001 - counted and shown
            self._found("exceptions", -1, json.dumps(documents).encode(), f"report: {error!r}")

    def _found(self, what: str, number: int, body: bytes, why: str) -> None:
        self.counts[what] += 1
        name = f"mutation-{self._seed}-{number}"
        print(f"{name}: {what}: {why}", flush=True)
        (self._where / name).write_bytes(body)


def main() -> None:
    """Fuzz for a number of CPU seconds, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    fuzz = Fuzz(options.seed, Path.cwd())
    until = time.process_time() + options.seconds

    def numbers() -> Iterator[int]:
        number = options.first
        while time.process_time() < until:
            yield number
            number += 1
            if number % 5000 == 0:
                print(dict(fuzz.counts), f"slowest {fuzz.slowest:.2f} s", flush=True)

    fuzz.run(numbers())
    print(dict(fuzz.counts), f"slowest {fuzz.slowest:.2f} s")


if __name__ == "__main__":
    main()
