"""Railroad diagrams of the grammar: ``python -m kpanic.grammars.diagram OUT.html``.

The page has one diagram per sentence, with the kernel's text: the forms that head a report, by family, with
kpanic's title of the crash; the blocks below a header, by kind and machine; a boot's messages about itself.
Needs ``pyparsing[diagrams]``.
"""

from __future__ import annotations

import io
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment
from pyparsing import diagram as railroad

from kpanic.grammars import body, registry
from kpanic.grammars.blocks import boot
from kpanic.grammars.vocabulary import elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyparsing as pp

    from kpanic.grammars.family import Family
    from kpanic.grammars.sentence import Sentence

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
<nav><b>{{ forms }} forms, {{ blocks }} blocks</b>
{% for module, families in modules %}<a href="#{{ module }}"><b>{{ module }}</b></a>
{% for family in families %}<a class="family" href="#{{ family.name }}">{{ family.name }}</a>
{% endfor %}{% endfor %}{% for module in parts %}<a href="#block-{{ module }}"><b>{{ module }}</b></a>
{% endfor %}<a href="#words"><b>words</b></a></nav>
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
{% for module, sentences in parts.items() %}<h2 id="block-{{ module }}">{{ module }}</h2>
<p>{{ docs[module] }}</p>
{% for one in sentences %}<section class="block"><h3>{{ one.key }}</h3>
<pre>{{ one.examples | join("\n\n") }}</pre>
<div class="rail">{{ drawn[one.key] | safe }}</div></section>
{% endfor %}{% endfor %}
<h2 id="words">Words</h2><p>Elements that the forms share.</p>
{% for name, svg in words.items() %}<section><h3>{{ name }}</h3>
<div class="rail">{{ svg | safe }}</div></section>
{% endfor %}</main>
"""


def draw(path: Path) -> int:
    """Write the page and return how many sentences it shows.

    :raises OSError: the file cannot be written.
    """
    families = registry.default().families
    forms = [form for family in families for form in family.forms]
    parts = [one for block in body.blocks() for one in block.sentences] + list(boot.SENTENCES)
    drawn = {one.key: one for one in (*(form.sentence for form in forms), *parts)}
    page = Environment(autoescape=True).from_string(_PAGE)
    path.write_text(
        page.render(
            forms=len(forms),
            blocks=len(drawn) - len(forms),
            modules=[(name, list(group)) for name, group in groupby(families, key=_of_family)],
            parts=_by_module(list({one.key: one for one in parts}.values())),
            docs={_module(one): _doc(one) for one in drawn.values()},
            drawn={key: _drawn(one) for key, one in drawn.items()},
            words=dict(_words()),
        ),
        encoding="utf-8",
    )
    return len(drawn)


def _module(sentence: Sentence) -> str:
    return sentence.module.rpartition(".")[2]


def _of_family(family: Family) -> str:
    return _module(family.forms[0].sentence)


def _by_module(sentences: Sequence[Sentence]) -> dict[str, list[Sentence]]:
    found: dict[str, list[Sentence]] = {}
    for one in sentences:
        found.setdefault(_module(one), []).append(one)
    return found


def _doc(sentence: Sentence) -> str:
    return (sys.modules[sentence.module].__doc__ or "").partition("\n")[0]


def _drawn(sentence: Sentence) -> str:
    """Return the diagram of a sentence as SVG."""
    return _svg(railroad.to_railroad(sentence.expression, vertical=5, show_results_names=True)[0].diagram)


def _words() -> Iterator[tuple[str, str]]:
    """Yield the shared elements and their diagrams."""
    for name in elements.__all__:
        element: pp.ParserElement | Any = getattr(elements, name)
        if hasattr(element, "exprs"):
            drawn = railroad.to_railroad(element, vertical=5, show_results_names=True)
            yield name, _svg(drawn[0].diagram)


def _svg(diagram: Any) -> str:  # noqa: ANN401 - railroad has no types
    written = io.StringIO()
    diagram.writeSvg(written.write)
    return written.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        sys.exit("usage: python -m kpanic.grammars.diagram OUT.html")
    draw(Path(sys.argv[1]))
