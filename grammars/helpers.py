"""Looks up functions that are helpers because of the source file that defines them.

The table is read once, when the first crash needs it, and searched without parsing its lines.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from pathlib import Path
from typing import Final

from kpanic.grammars.data.helper_files import RULES, Rule
from kpanic.grammars.lazy import regex

TABLE: Final = Path(__file__).parent / "data" / "helpers.tsv"
"""Written by :mod:`kpanic.grammars.data.generate`: function, rule, and the releases if not all have it."""
_RULES: Final = {rule.name: rule for rule in RULES}


def folded(function: str) -> str:
    """Return a function's name without the additions of newer builds.

    ``__pfx_f`` and ``__cfi_f`` are the padding in front of f (include/linux/linkage.h, 6.2), ``f_noprof`` is
    f behind the macro that counts its allocations (include/linux/alloc_tag.h, 6.10).
    """
    if function.startswith("__"):
        if not function.startswith(CHECKS):
            function = function.removeprefix("__cfi_")
        function = function.removeprefix("__pfx_")
    return function.removesuffix("_noprof")


CHECKS: Final = ("__cfi_check", "__cfi_slowpath")
"""Functions of CFI itself (kernel/cfi.c, until 6.0), which keep their prefix."""
_COPY: Final = regex("asm_|__pi_")
"""Prefixes of entries in assembly (x86), and of position-independent copies (arm64, riscv, x86)."""


@functools.cache
def _lines() -> list[bytes]:
    """Return the lines of the table, sorted, without its head."""
    return TABLE.read_bytes().splitlines()[1:]


@functools.lru_cache(maxsize=16_384)
def rule(function: str) -> Rule | None:
    """Return the rule that makes a function a helper by the file that defines it; None if no rule does."""
    found = line(function)
    if not found and (copy := _COPY.match(function)):
        found = line(function[copy.end() :])
    return _RULES[found.split(b"\t", 2)[1].decode()] if found else None


def reason(function: str) -> str:
    """Return why a function is a helper by the file that defines it; empty if it is none."""
    found = rule(function)
    return found.reason if found else ""


def leaf(function: str) -> bool:
    """Tell whether a function is a helper that calls no others."""
    found = rule(function)
    return found is not None and found.leaf


def line(function: str) -> bytes:
    """Return a function's line of the table."""
    lines, name = _lines(), function.encode("utf-8", "replace") + b"\t"
    place = bisect_left(lines, name)
    return lines[place] if place < len(lines) and lines[place].startswith(name) else b""
