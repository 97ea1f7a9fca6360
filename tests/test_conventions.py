"""Conventions of all files of the tests."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
SLEEPS = {TESTS / "waiting.py", *(TESTS / "benchmarks").glob("*.py")}
"""The helper that waits for a condition, and the programs that measure idle services."""


def sleeps(tree: ast.AST) -> list[int]:
    """Return the lines of calls to a function called ``sleep``."""
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [one.lineno for one in called if "sleep" in {getattr(one, "attr", None), getattr(one, "id", None)}]


def test_a_call_of_sleep_is_found() -> None:
    assert sleeps(ast.parse("time.sleep(1)\nsleep(2)\nself.sleeping()\n")) == [1, 2]


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    files = set(TESTS.rglob("*.py")) - SLEEPS
    assert len(files) > 50
    found = {
        f"{path.relative_to(TESTS)}:{line}" for path in files for line in sleeps(ast.parse(path.read_text()))
    }
    assert found == set()
