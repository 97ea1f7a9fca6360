"""Railroad diagrams of the grammar: ``python -m kpanic.grammars.diagram OUT.html``."""

from __future__ import annotations

import sys
from pathlib import Path

import pyparsing as pp

from kpanic.grammars import body, registry


def draw(path: Path) -> None:
    """Write railroad diagrams of every family's headers and of the lines of a report to an HTML file."""
    families = [
        pp.MatchFirst([form.grammar.copy().set_name(form.title) for form in family.forms]).set_name(
            family.name
        )
        for family in registry.default().families
    ]
    header = pp.MatchFirst(families).set_name("header")
    report = (header + pp.ZeroOrMore(body.line.copy().set_name("line"))).set_name("report")
    report.create_diagram(str(path), vertical=8, show_results_names=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m kpanic.grammars.diagram OUT.html")
    draw(Path(sys.argv[1]))
