"""The names that other programs import, and the examples in the documentation of the packages."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import kpanic

HEAVY = {"pyparsing", "msgspec", "kpanic.grammars", "kpanic.shipper", "kpanic.dashboards"}
MODULES = [
    found.name
    for found in pkgutil.walk_packages(kpanic.__path__, "kpanic.")
    if not found.name.endswith("__main__")
]


def has_examples(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and ">>> " in Path(spec.origin).read_text()


EXAMPLES = [name for name in ("kpanic", *MODULES) if has_examples(name)]


def test_every_public_name_is_there() -> None:
    assert kpanic.__all__ == ["CrashReport", "__version__", "document", "parse"]
    for name in kpanic.__all__:
        assert getattr(kpanic, name)
    assert set(kpanic.__all__) <= set(dir(kpanic))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'kpanic' has no attribute 'prase'"):
        _ = kpanic.prase


@pytest.mark.process
def test_importing_it_imports_nothing_else() -> None:
    script = "import json, sys, kpanic; kpanic.__version__; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert HEAVY & set(json.loads(done.stdout)) == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert tried > 0


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10
