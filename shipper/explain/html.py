"""Readings as one self-contained page without script and network; the template escapes all text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kpanic.shipper.explain import shown
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.shipper.explain import Explained, Pair

__all__ = ["crashes", "pair"]


def _page(**values: Any) -> None:  # noqa: ANN401 - what the template asks for
    environment = Environment(
        loader=PackageLoader("kpanic.shipper.explain", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["shown"] = shown
    text = environment.get_template("page.html.j2").render(**values)
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    sys.stdout.flush()


def crashes(found: Iterable[Explained]) -> None:
    """Print a page with readings one after the other."""
    _page(crashes=list(found), pair=None)


def pair(found: Pair) -> None:
    """Print a page with two crashes side by side, and both readings."""
    _page(crashes=[found.left, found.right], pair=found)
