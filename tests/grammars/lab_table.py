"""Prints the reading and the answer of every console of the lab: ``python -m tests.grammars.lab_table``."""

from __future__ import annotations

import sys

from tests.grammars.test_lab import CONSOLES, Answer, answer, read


def rows() -> list[tuple[str, str, str]]:
    """Return the console, the reading, and the differences from the answer."""
    found = []
    for console in CONSOLES:
        reports, expected = read(console), answer(console)
        got = [
            Answer(
                report.fatal,
                report.cause,
                report.blame.function,
                report.title,
                report.kernel.release,
                report.kernel.architecture,
            )
            for report in reports
        ]
        words = (
            "; ".join(f"{one.cause}: {one.title} ({one.release}, {one.machine})" for one in got) or "silent"
        )
        wrong = "" if got == ([expected] if expected else []) else f"expected {expected or 'silence'}"
        found.append((console.stem, words, wrong))
    return found


def main() -> int:
    """Print the table; return 1 if a row is wrong."""
    table = rows()
    for console, words, wrong in table:
        sys.stdout.write(f"{'WRONG' if wrong else 'right'}  {console:45} {words} {wrong}\n")
    bad = sum(bool(wrong) for *_, wrong in table)
    sys.stdout.write(f"{len(table) - bad} right, {bad} wrong of {len(table)}\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
