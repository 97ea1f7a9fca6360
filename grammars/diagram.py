"""Railroad diagrams of the grammar: ``python -m kpanic.grammars.diagram OUT.html``.

The page has one diagram a form, by family, beside what the kernel prints and what kpanic calls it. Needs
``pyparsing[diagrams]``.
"""

from __future__ import annotations

import io
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment
from pyparsing import diagram as railroad

from kpanic.grammars import registry
from kpanic.grammars.vocabulary import elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyparsing as pp

    from kpanic.grammars.family import Family, Form

_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The grammar of kpanic</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0; color: #1b1f24; background: #fff }
  nav { position: fixed; inset: 0 auto 0 0; width: 15rem; overflow: auto; padding: 1rem; background: #f3f5f8;
        box-sizing: border-box }
  nav a { display: block; color: inherit; text-decoration: none }
  nav .family { padding-left: .8rem }
  main { margin-left: 15rem; padding: 1rem 2rem; max-width: 75rem }
  section { border-top: 1px solid #d7dde5; padding: .6rem 0 }
  h3 { margin: .4rem 0; font: 600 15px ui-monospace, monospace }
  pre { margin: .3rem 0; padding: .5rem .7rem; background: #12151a; color: #d8dee6; overflow: auto }
  p { margin: .3rem 0 } .call { color: #57606a }
  .rail { overflow: auto }
  svg.railroad-diagram { background: none }
  svg.railroad-diagram path { stroke-width: 2; stroke: #57606a; fill: none }
  svg.railroad-diagram text { font: 13px ui-monospace, monospace; text-anchor: middle; white-space: pre }
  svg.railroad-diagram rect { stroke-width: 1.5; stroke: #57606a; fill: #e7f0ff }
  svg.railroad-diagram .terminal rect { fill: #e6f6e8 }
  svg.railroad-diagram rect.group-box { stroke: #8c959f; stroke-dasharray: 6 4; fill: none }
  @media print { nav { display: none } main { margin: 0 } }
</style>
<nav><b>{{ forms }} forms</b>
{% for module, families in modules %}<a href="#{{ module }}"><b>{{ module }}</b></a>
{% for family in families %}<a class="family" href="#{{ family.name }}">{{ family.name }}</a>
{% endfor %}{% endfor %}<a href="#words"><b>words</b></a></nav>
<main><h1>What Linux prints when it crashes</h1>
<p>A form matches from the beginning of a report's header on. Round boxes are the kernel's own words, square
ones are elements; a dashed box names the field that its text becomes. The first form of a family that matches
names the crash.</p>
{% for module, families in modules %}<h2 id="{{ module }}">{{ module }}</h2><p>{{ docs[module] }}</p>
{% for family in families %}<h3 id="{{ family.name }}">{{ family.name }}</h3>
{% for form in family.forms %}<section class="form"><h3>{{ form.sentence.key }}</h3>
<pre>{{ form.sentence.examples | join("\n\n") }}</pre>
<p class="call">{{ form.title }}</p>
<div class="rail">{{ drawn[form.sentence.key] | safe }}</div></section>
{% endfor %}{% endfor %}{% endfor %}
<h2 id="words">Words</h2><p>Elements that the forms share.</p>
{% for name, svg in words.items() %}<section><h3>{{ name }}</h3>
<div class="rail">{{ svg | safe }}</div></section>
{% endfor %}</main>
"""


def draw(path: Path) -> int:
    """Write the page and return how many forms it shows.

    :raises OSError: the file cannot be written.
    """
    families = registry.default().families
    forms = [form for family in families for form in family.forms]
    grouped = [(name, list(group)) for name, group in groupby(families, key=_module)]
    page = Environment(autoescape=True).from_string(_PAGE)
    path.write_text(
        page.render(
            forms=len(forms),
            modules=grouped,
            docs={name: _doc(group[0].forms[0]) for name, group in grouped},
            drawn={form.sentence.key: _form(form) for form in forms},
            words=dict(_words()),
        ),
        encoding="utf-8",
    )
    return len(forms)


def _module(family: Family) -> str:
    return family.forms[0].sentence.module.rpartition(".")[2]


def _doc(form: Form) -> str:
    return (sys.modules[form.sentence.module].__doc__ or "").partition("\n")[0]


def _form(form: Form) -> str:
    """Return the diagram of a form as SVG."""
    return _svg(
        railroad.to_railroad(form.sentence.expression, vertical=2, show_results_names=True)[0].diagram
    )


def _words() -> Iterator[tuple[str, str]]:
    """Yield the shared elements and their diagrams."""
    for name in elements.__all__:
        element: pp.ParserElement | Any = getattr(elements, name)
        if hasattr(element, "exprs"):
            drawn = railroad.to_railroad(element, vertical=2, show_results_names=True)
            yield name, _svg(drawn[0].diagram)


def _svg(diagram: Any) -> str:  # noqa: ANN401 - railroad has no types
    written = io.StringIO()
    diagram.writeSvg(written.write)
    return written.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m kpanic.grammars.diagram OUT.html")
    draw(Path(sys.argv[1]))
