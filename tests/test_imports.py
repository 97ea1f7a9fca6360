"""The modules of the packages import each other in one direction."""

from __future__ import annotations

import ast
import functools
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
LAYERS = {"grammars": {"shipper", "dashboards"}, "dashboards": {"shipper", "grammars"}}
"""Packages, each with those that it does not import."""


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["kpanic", *(part for part in parts if part not in {"__init__", "kpanic"})])


MODULES = {
    name(path): path
    for folder in ("grammars", "shipper", "dashboards", "kpanic")
    for path in (ROOT / folder).rglob("*.py")  # the links in kpanic are not followed
}


def statements(tree: ast.AST, *, deferred: bool) -> Iterator[ast.stmt]:
    """Yield what is run on import, without what only type checkers read.

    :param deferred: what functions run, too.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt):
            yield node
        if deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(node, deferred=deferred)


@functools.cache
def imports(module: str, *, deferred: bool = False) -> frozenset[str]:
    """Return the modules of the packages that a module imports."""
    found: set[str] = set()
    for node in statements(ast.parse(MODULES[module].read_text()), deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            inner = {f"{node.module}.{one.name}" for one in node.names}
            found |= (inner & MODULES.keys()) or {str(node.module)}
    return frozenset(found & MODULES.keys() - {module})


def test_no_module_imports_itself_in_a_circle() -> None:
    order = TopologicalSorter({module: imports(module) for module in MODULES})
    assert len(list(order.static_order())) == len(MODULES) > 300


def test_a_private_module_is_imported_in_its_own_package_alone() -> None:
    found = {
        f"{module} imports {private}"
        for module in MODULES
        for private in imports(module, deferred=True)
        if (at := private.find("._")) >= 0 and not f"{module}.".startswith(f"{private[:at]}.")
    }
    assert found == set()


def test_grammars_and_dashboards_import_nothing_of_the_others() -> None:
    found = {
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module, deferred=True)
        if f"{other}.".split(".")[1] in LAYERS.get(f"{module}.".split(".")[1], set())
    }
    assert found == set()
