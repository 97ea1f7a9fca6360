"""Writes the page of right and wrong answers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .verdict import Expected

FIELDS = {
    "cause": "cause",
    "function": "function to blame",
    "title": "title",
    "release": "kernel's release",
    "machine": "machine",
}
"""The compared fields of a crash, and their names on the page."""


class Result(NamedTuple):
    """The result of one crash."""

    kind: str
    expected: Expected
    wrong: dict[str, tuple[str, str]]
    """Field: (expected, got)."""


def page(results: Sequence[Result], gone: Sequence[str], broken: Sequence[str]) -> str:
    """Return the page in Markdown.

    :param gone: kernels that the archive does not have now, and why.
    :param broken: what could not be crashed, and why.
    """
    return "\n".join(
        [
            "# Accuracy in the lab",
            "",
            "Debian's kernels were crashed on purpose in QEMU ([how](README.md)). The answers of",
            "`kpanic parse` are compared with the expected ones. `python -m tests.lab` prints this page.",
            "",
            *_fields(results),
            "",
            *_kernels(results),
            "",
            *_causes(results),
            "",
            *_wrong(results),
            *_list("Kernels that the archive does not have now", gone),
            *_list("Kernels that could not be crashed", broken),
        ]
    )


def _fields(results: Sequence[Result]) -> Iterator[str]:
    yield from _head("what", "expected", "right", "%")
    for field, name in FIELDS.items():
        asked = [
            result for result in results if not result.expected.silent and getattr(result.expected, field)
        ]
        yield _share(
            name, asked, [result for result in asked if not {field, "documents"} & result.wrong.keys()]
        )
    silent = [result for result in results if result.expected.silent]
    yield _share("silence: nothing crashed", silent, [result for result in silent if not result.wrong])
    yield _share("everything of a console", results, [result for result in results if not result.wrong])


def _share(name: str, asked: Sequence[Result], right: Sequence[Result]) -> str:
    share = f"{100 * len(right) / len(asked):.1f}" if asked else "-"
    return _row(name, len(asked), len(right), share)


def _kernels(results: Sequence[Result]) -> Iterator[str]:
    yield from _head("kernel", "machine", "consoles", "wrong")
    asked = Counter((result.expected.release, result.expected.machine) for result in results)
    wrong = Counter((result.expected.release, result.expected.machine) for result in results if result.wrong)
    for kernel, number in asked.items():
        yield _row(*kernel, number, wrong[kernel])


def _causes(results: Sequence[Result]) -> Iterator[str]:
    yield from _head("cause", "consoles", "wrong", "provoked by")
    kinds: dict[str, dict[str, None]] = {}
    for result in results:
        kinds.setdefault(_cause(result), {})[result.kind] = None
    asked = Counter(map(_cause, results))
    wrong = Counter(_cause(result) for result in results if result.wrong)
    for cause in sorted(kinds):
        yield _row(cause, asked[cause], wrong[cause], " ".join(kinds[cause]))


def _cause(result: Result) -> str:
    if result.expected.silent:
        return "(none)"
    return result.expected.cause or "(any)"


def _wrong(results: Sequence[Result]) -> Iterator[str]:
    if not any(result.wrong for result in results):
        yield "Nothing was wrong."
        return
    yield from _head("kernel", "machine", "kind", "field", "asked for", "read")
    for result in results:
        for field, (value, got) in result.wrong.items():
            where = (result.expected.release, result.expected.machine, result.kind)
            yield _row(*where, field, value or "-", got or "-")


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    for number, item in enumerate(items):
        if not number:
            yield from ("", f"{title}:", "")
        yield f"- {' '.join(item.split())[:300]}"


def _head(*names: str) -> tuple[str, str]:
    return _row(*names), "|" + "---|" * len(names)


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"
