"""KASAN: the kernel's address sanitizer (mm/kasan/report.c).

::

    BUG: KASAN: slab-use-after-free in chrdev_open+0x5f/0x3a0
    Read of size 8 at addr ffff888012345678 by task bash/123
    BUG: KASAN: double-free in kfree+0x5f/0x3a0                  Free of addr ffff…
    BUG: KASAN: invalid-access in f+0x1/0x2                      tag based; Write at addr …
    BUG: KASAN: use-after-free on address ffff…                  before 4.4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import SYMBOL, Family, Form, head, later

if TYPE_CHECKING:
    from collections.abc import Mapping

CAUSES: Final = (
    ("double-free", "double-free"),
    ("use-after", "use-after-free"),
    ("null", "null-dereference"),
    ("user-memory", "user-memory-access"),
    ("wild", "bad-pointer"),
    ("free", "double-free"),
    ("invalid-access", "use-after-free"),
)


def cause(fields: Mapping[str, str]) -> str:
    """Name the cause after the sanitizer's own word."""
    return next((slug for word, slug in CAUSES if word in fields["what"]), "out-of-bounds")


_ACCESS: Final = r"\b(?P<access>Read|Write)\b (?:of size|at addr)"

KASAN = Family(
    name="kasan",
    literals=("BUG: KASAN: ",),
    forms=(
        Form(
            head(rf"BUG: KASAN: (?P<what>double-free or invalid-free|double-free|invalid-free) in {SYMBOL}"),
            title="KASAN: invalid-free in {function}",
            kind="sanitizer",
            cause="double-free",
            walk="named",
            skip=(("kfree|vfree|^vunmap|slab_|free_bulk", "frees what it is told to"),),
        ),
        Form(
            head(rf"BUG: KASAN: (?P<what>[a-z\-]+) in {SYMBOL}") + later(_ACCESS, within=8),
            title="KASAN: {what} {access} in {function}",
            kind="sanitizer",
            cause=cause,
            walk="named",
            detail="{what}, {access}",
        ),
        Form(
            head(r"BUG: KASAN: (?P<what>[a-z\-]+) in [^\n]*") + later(_ACCESS, within=8),
            title="KASAN: {what} {access} in {function}",
            kind="sanitizer",
            cause=cause,
            walk="trace",
            detail="{what}, {access}",
        ),
        Form(
            head(r"BUG: KASAN: (?P<what>[a-z\-]+) (?:on|at) addr(?:ess)?[^\n]*") + later(_ACCESS, within=8),
            title="KASAN: {what} {access}",
            kind="sanitizer",
            cause=cause,
            corrupted="the report names no function",
        ),
        Form(
            head(r"BUG: KASAN: (?P<what>[^\n]*)"),
            title="KASAN: {what}",
            kind="sanitizer",
            cause=cause,
            corrupted="the report does not say what was accessed",
        ),
    ),
)
