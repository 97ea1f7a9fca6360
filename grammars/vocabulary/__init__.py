"""The elements of the kernel's sentences, in pyparsing.

A grammar imports this module under the name ``k`` and writes sentences with it::

    "kernel BUG at " + k.path("file") + ":" + k.number("line") + "!"

The elements are defined in :mod:`~kpanic.grammars.vocabulary.elements`, those of a report's body in
:mod:`~kpanic.grammars.vocabulary.body`. They are imported when the first one is used:
the built-in grammar is compiled ahead of time (:mod:`kpanic.grammars.compiled`), and importing pyparsing
takes longer than reading a crash.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpanic.grammars.vocabulary.body import *  # noqa: F403
    from kpanic.grammars.vocabulary.elements import *  # noqa: F403


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each element has its own type
    if name.startswith("__"):
        raise AttributeError(name)
    module = import_module("kpanic.grammars.vocabulary.elements")
    if not hasattr(module, name):
        module = import_module("kpanic.grammars.vocabulary.body")
    return getattr(module, name)
