"""The public names, and the examples in docstrings of the packages."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kpanic

HEAVY = {"pyparsing", "msgspec", "kpanic.grammars", "kpanic.shipper", "kpanic.dashboards"}
FOLDER = Path(kpanic.__file__).parent


def module(path: Path) -> str:
    parts = path.relative_to(FOLDER.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


EXAMPLES = sorted(
    {
        module(path)
        for folder in (FOLDER, *FOLDER.glob("*/"))  # ** does not follow symbolic links
        for path in folder.rglob("*.py")
        if ">>> " in path.read_text()
    }
)


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
