"""Modules whose import is prevented because they are not needed."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.outputs.hidden_imports import hidden

if TYPE_CHECKING:
    from pathlib import Path


def test_a_hidden_module_is_not_there_for_this_thread_and_is_there_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("large", "small"):
        tmp_path.joinpath(f"kpanic_{name}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with ThreadPoolExecutor(1) as other, hidden("kpanic_large"):
        with pytest.raises(ModuleNotFoundError, match="kpanic_large"):
            importlib.import_module("kpanic_large")
        importlib.import_module("kpanic_small")
        other.submit(importlib.import_module, "kpanic_large").result()
        importlib.import_module("kpanic_large")  # it has been imported already
    del sys.modules["kpanic_large"]
    importlib.import_module("kpanic_large")
