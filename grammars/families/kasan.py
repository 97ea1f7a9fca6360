"""KASAN: the kernel's address sanitizer (mm/kasan/report.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import ByWord, Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

kasan = Family("kasan")
_form = partial(
    kasan.form,
    kind="sanitizer",
    cause=ByWord(
        "what",
        (
            ("double-free", "double-free"),
            ("use-after", "use-after-free"),
            ("null", "null-dereference"),
            ("user-memory", "user-memory-access"),
            ("wild", "bad-pointer"),
            ("free", "double-free"),
            ("invalid-access", "use-after-free"),
        ),
        default="out-of-bounds",
    ),
)


def _access() -> ParserElement:
    """Return the line that names the access and its address."""
    return k.later(k.one_of("Read", "Write")("access") + k.one_of(" of size", " at addr"), within=9)


@_form(
    title="KASAN: invalid-free in {function}",
    walk="named",
    skip=(("kfree|vfree|^vunmap|slab_|free_bulk", "frees memory for its callers"),),
)
def invalid_free() -> ParserElement:
    """BUG: KASAN: double-free in kfree+0x5f/0x3a0"""
    what = k.one_of("double-free or invalid-free", "double-free", "invalid-free")
    return "BUG: KASAN: " + what("what") + " in " + k.symbol


@_form(title="KASAN: {what} {access} in {function}", walk="named", detail="{what}, {access}")
def access_in_function() -> ParserElement:
    """BUG: KASAN: slab-use-after-free in chrdev_open+0x5f/0x3a0
    Read of size 8 at addr ffff888012345678 by task bash/123

    BUG: KASAN: invalid-access in f+0x1/0x2
    Write at addr f7ff000001234567 by task bash/123
    """  # the second by tag-based KASAN
    return "BUG: KASAN: " + k.kebab("what") + " in " + k.symbol + _access()


@_form(title="KASAN: {what} {access} in {function}", detail="{what}, {access}")
def access_somewhere() -> ParserElement:
    """BUG: KASAN: null-ptr-deref in (null)
    Read of size 8 at addr 0000000000000010 by task bash/123
    """
    return "BUG: KASAN: " + k.kebab("what") + " in " + _access()


@_form(title="KASAN: {what} {access}", corrupted="the report names no function")
def access_on_address() -> ParserElement:
    """BUG: KASAN: use-after-free on address ffff880012345678
    Read of size 8 by task bash/123
    """  # before 4.4
    return "BUG: KASAN: " + k.kebab("what") + k.one_of(" on addr", " at addr") + _access()


@_form(title="KASAN: {what}", corrupted="the report does not say what was accessed")
def incomplete() -> ParserElement:
    """BUG: KASAN: use-after-free in"""
    return "BUG: KASAN: " + k.rest_of_line("what")
