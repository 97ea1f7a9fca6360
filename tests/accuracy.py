"""Writes ACCURACY.md: the right and wrong answers on syzbot's logs, the lab's consoles and posted texts.

    python -m tests.accuracy [--home FOLDER] [--wild FOLDER]...

``--home``: logs of syzbot's form, the answer above the log. ``--wild``: folders of texts with ``answers.tsv``
(:mod:`tests.wild_answers`) beside this repository's own. Both may be left out. Reasons are kept by case in
``tests/accuracy.toml``.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import kpanic
from tests.grammars.test_lab import CONSOLES, answer, read
from tests.wild_answers import Answer, answers, cases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parent / "ACCURACY.md"
_FUNCTION: Final = re.compile(r".* in ((?:<[\w: ]+>)?[\w:]+)")
_HEAD: Final = """# Accuracy

Written by `python -m tests.accuracy`. **Home**: logs of syzbot's kernels, the first that the grammar read.
**Lab**: consoles of Debian's kernels, crashed on purpose ([the whole table](tests/lab/ACCURACY.md)).
**Wild**: texts that people posted or log stores exported, with which the rules were corrected; of the fields
of a new such text 80 to 94 % are right at the first reading. The right answers are written before that; the
few that a text turns out not to prove are withdrawn.

| where | texts | field | right | of | % |
|---|---|---|---|---|---|
"""


class Place(NamedTuple):
    """Answers of one kind of texts."""

    name: str
    answers: Sequence[Answer]


def wild(folder: Path) -> Iterator[Answer]:
    """Yield the answers on a folder of texts."""
    for case, rows in cases(folder).items():
        yield from answers(folder, case, rows)


def lab() -> Iterator[Answer]:
    """Yield the answers on the lab's consoles in this repository."""
    for console in CONSOLES:
        reports, expected = read(console), answer(console)
        yield Answer(console.stem, "count", str(len(reports)), ("1" if expected else "0",))
        if expected and reports:
            first = reports[0]
            yield Answer(console.stem, "title", first.title, (expected.title,))
            yield Answer(console.stem, "cause", first.cause, (expected.cause,))
            yield Answer(console.stem, "function", first.blame.function, (expected.function,))
            yield Answer(console.stem, "kernel", first.kernel.release, (expected.release,))
            yield Answer(console.stem, "arch", first.kernel.architecture, (expected.machine,))


def home(folder: Path) -> Iterator[Answer]:
    """Yield the answers on logs with syzbot's answer in front: titles and functions of complete reports."""
    for path in sorted(folder.iterdir()):
        head, _, log = path.read_bytes().replace(b"\r", b"").partition(b"\n\n")
        said = dict(line.partition(": ")[::2] for line in head.decode("utf-8", "replace").split("\n"))
        log = log.partition(b"\n\nREPORT:\n")[0]
        title = said.get("TITLE", "")
        reports = list(kpanic.parse(log))
        if not title:
            yield Answer(path.name, "count", str(len(reports)), ("0",))
        elif said.get("CORRUPTED") != "Y":
            got = reports[0] if reports else None
            yield Answer(path.name, "title", got.title if got else "no document", (title,))
            if found := _FUNCTION.match(title):
                yield Answer(path.name, "function", got.blame.function if got else "no document", (found[1],))


def page(places: Iterable[Place], reasons: dict[str, str]) -> str:
    """Return the page."""
    table, wrong = "", ""
    for name, given in places:
        texts = len({one.case for one in given})
        total, right = Counter(one.field for one in given), Counter(one.field for one in given if one.right)
        for field, count in total.items():
            share = 100 * right[field] / count
            table += f"| {name} | {texts} | {field} | {right[field]} | {count} | {share:.1f} |\n"
        bad: dict[str, list[Answer]] = defaultdict(list)
        for one in given:
            if not one.right:
                bad[one.case].append(one)
        for case, of_case in sorted(bad.items()):
            said = "; ".join(f"{one.field} `{one.got}`, not `{one.wanted[0]}`" for one in of_case)
            wrong += f"- **{case}** ({name}): {said}. {reasons.get(case, 'Not investigated.')}\n"
    return f"{_HEAD}{table}\n## Wrong answers, and why\n\n{wrong or 'Nothing.'}"


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--home", type=Path)
    options.add_argument("--wild", type=Path, action="append", default=[])
    given = options.parse_args()
    places = [Place("home", list(home(given.home)))] if given.home else []
    places.append(Place("lab", list(lab())))
    texts = [one for folder in (HERE / "wild", *given.wild) for one in wild(folder)]
    places.append(Place("wild", texts))
    reasons = tomllib.loads((HERE / "accuracy.toml").read_text(encoding="utf-8"))["why"]
    PAGE.write_text(page(places, reasons), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
