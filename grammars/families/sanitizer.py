"""UBSAN, slab debugging, leaks, Rust, fortify (lib/ubsan.c, mm/slub.c, mm/kmemleak.c, lib/string_helpers.c).

::

    UBSAN: array-index-out-of-bounds in drivers/x.c:12:3   UBSAN: Undefined behaviour in x.c:12:3 before 5.11
    BUG kmalloc-64 (Tainted: G    B  OE): Poison overwritten
    BUG: memory leak / unreferenced object 0xffff… (size 32):
    detected buffer overflow in memcpy
    rust_kernel: panicked at file.rs:60:5:
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import SYMBOL, Family, Form, head, later

if TYPE_CHECKING:
    from collections.abc import Mapping

UBSAN = Family(
    name="ubsan",
    literals=("UBSAN: ", "Internal error: UBSAN: "),
    ignore="UBSAN: panic_on_warn",
    forms=(
        Form(  # CONFIG_UBSAN_TRAP: a trap of the compiler's (report_ubsan_failure)
            head(
                rf"(?:Internal error: )?UBSAN: (?P<what>[\w -]+?)(?:: [0-9a-f]+ \[#[^\n]*| at {SYMBOL}[^\n]*)"
            ),
            title="UBSAN: {what} in {function}",
            kind="sanitizer",
            cause="undefined-behavior",
            walk="ip",
            detail="{what}",
        ),
        Form(
            head(r"UBSAN: Undefined behaviour in [^\n]*"),
            title="UBSAN: undefined-behaviour in {function}",
            kind="sanitizer",
            cause="undefined-behavior",
            skip=(("ubsan|overflow", "reports for others"),),
        ),
        Form(
            head(r"UBSAN: (?P<what>[\w-]+) in [^\n]*"),
            title="UBSAN: {what} in {function}",
            kind="sanitizer",
            cause="undefined-behavior",
            skip=(("ubsan|overflow", "reports for others"),),
            detail="{what}",
        ),
    ),
)

_SLAB: Final = (
    ("Poison", "use-after-free"),
    ("Redzone", "out-of-bounds"),
    ("padding", "out-of-bounds"),
    ("already free", "double-free"),
    ("double free", "double-free"),
)


def _slab(fields: Mapping[str, str]) -> str:
    return next((slug for word, slug in _SLAB if word.lower() in fields["what"].lower()), "slab-corruption")


SLAB = Family(
    name="slab",
    literals=(
        "=== BUG ",
        "BUG kmalloc-",
        *(
            f"[{what} overwritten] 0x"
            for what in ("Poison", "Right Redzone", "Left Redzone", "Object padding")
        ),
        *(
            f"): {what}"
            for what in (
                "Poison overwritten",
                "Redzone overwritten",
                "Right Redzone overwritten",
                "Left Redzone overwritten",
                "Object already free",
                "Object padding overwritten",
                "Padding overwritten",
                "Freelist corrupt",
                "Freepointer corrupt",
                "Object corrupt",
                "Freechain corrupt",
                "Wrong object count",
                "Invalid object pointer",
                "Attempt to free object",
                "Objects remaining in",
                "objects remaining in",
                "Wrong slab",
                "SLAB_",
                "Not a valid slab page",
                "Double free",
            )
        ),
    ),
    forms=(
        Form(  # since 7.x, before the report
            head(r"\[(?P<what>[A-Z][\w ]+ overwritten)\] 0x[^\n]*"),
            title="BUG: {what}",
            kind="sanitizer",
            cause=_slab,
            walk="trace",
            skip=(
                (
                    "slab|^print_trailer|^object_err|^check_|^free_(?:debug|consistency)|^(?:__)?kfree|^alloc_debug|^init_object|^setup_object|^on_freelist|^get_(?:from_)?partial|_alloc|kmem_cache",
                    "checks for others",
                ),
            ),
            detail="{what}",
        ),
        Form(
            head(
                r"(?:=== )?(?:BUG [^\n]{1,120}?)?\): (?P<what>[A-Za-z_][^\n]*?)(?: on "
                r"__kmem_cache_shutdown\(\)|\s+0x[0-9a-f]+[^\n]*|\.\.[^\n]*)?(?:\n|$)"
            ),
            title="BUG: {what}",
            kind="sanitizer",
            cause=_slab,
            walk="trace",
            skip=(
                (
                    "slab|^print_trailer|^object_err|^check_|^free_(?:debug|consistency)|^(?:__)?kfree|^alloc_debug|^init_object|^setup_object|^on_freelist|^get_(?:from_)?partial|_alloc|kmem_cache",
                    "checks for others",
                ),
            ),
            detail="{what}",
        ),
        Form(
            head(r"BUG (?P<what>kmalloc-\d+)[^\n]*"),
            title="BUG: {what}",
            kind="sanitizer",
            cause="slab-corruption",
        ),
    ),
)

LEAK = Family(
    name="leak",
    literals=("BUG: memory leak",),
    forms=(
        Form(
            head(r"BUG: memory leak") + later("unreferenced object", within=3),
            title="memory leak in {function}",
            kind="leak",
            cause="memory-leak",
            skip=(
                (
                    "alloc|kmem|slab|mmap|^create_object|^pcpu_create|^__?get_free|strn?dup|memdup|asprintf|^idr_get|list_lru_init",
                    "allocates for others",
                ),
            ),
        ),
    ),
)

FORTIFY = Family(
    name="fortify",
    literals=(
        "detected buffer overflow in ",
        "detected buffer overflow: ",
        "fortify: detected",
        "detected field-spanning write",
        "buffer overflow detected in ",
    ),
    forms=(
        Form(
            head(r"detected (?:field-spanning write|buffer overflow: )[^\n]*")
            + later(rf"WARNING: [^\n]*?\bat (?:\S+:\d+ )?(?:at )?{SYMBOL}", within=3),
            title="WARNING in {function}",
            kind="warning",
            cause="fortify",
            walk="named",
        ),
        Form(
            head(r"(?:fortify: )?detected buffer overflow(?: in (?P<what>\w+))?[^\n]*"),
            title="kernel BUG in {function}",
            kind="bug",
            cause="fortify",
            walk="trace",
            skip=(("fortify", "checks for others"),),
            detail="{what}",
        ),
    ),
)

RUST = Family(
    name="rust",
    literals=("panicked at ",),
    forms=(
        Form(
            head(r"panicked at \S+\.rs:\d+:\d+:") + later(r"(?P<what>[^\n]+)", within=1),
            title="{what} in {function}",
            kind="bug",
            cause="bug",
        ),
        Form(
            head(r"panicked at '(?P<what>[^\n]*?)', \S+\.rs:\d+[^\n]*"),
            title="{what} in {function}",
            kind="bug",
            cause="bug",
        ),
    ),
)
