"""UBSAN, slab debugging, leaks, fortify, Rust (lib/{ubsan,string_helpers}.c, mm/{slub,kmemleak}.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import ByWord, Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

REPORTS: Final = (("ubsan|overflow", "reports undefined behaviour"),)
CHECKS_SLABS: Final = (
    (
        "slab|^print_trailer|^object_err|^check_|^free_(?:debug|consistency)|^(?:__)?kfree|^alloc_debug|^init_object|^setup_object|^on_freelist|^get_(?:from_)?partial|_alloc|kmem_cache",
        "is a debug check",
    ),
)

ubsan = Family("ubsan", ignore="UBSAN: panic_on_warn")
_ubsan = partial(ubsan.form, kind="sanitizer", cause="undefined-behavior")


@_ubsan(title="UBSAN: {what} in {function}", walk="ip", detail="{what}")
def trap() -> ParserElement:
    """UBSAN: array index out of bounds: 0000 [#1] SMP

    Internal error: UBSAN: array index out of bounds: 00000000f2005512 [#1] SMP

    UBSAN: integer subtraction overflow at boom_trap+0x10/0x20
    """  # CONFIG_UBSAN_TRAP: a trap instruction of the compiler (report_ubsan_failure)
    oops = ": " + k.hex_number + " [#"
    place = " at " + k.symbol
    words = k.Combine(k.OneOrMore(~(oops | place) + k.Regex(r"[\w -]")))
    return k.one_of("UBSAN: ", "Internal error: UBSAN: ") + words("what") + (oops | place) + k.rest_of_line


@_ubsan(title="UBSAN: undefined-behaviour in {function}", skip=REPORTS)
def undefined_behaviour() -> ParserElement:
    """UBSAN: Undefined behaviour in drivers/char/boom.c:12:3"""  # before 5.11
    return "UBSAN: Undefined behaviour in " + k.rest_of_line


@_ubsan(title="UBSAN: {what} in {function}", skip=REPORTS, detail="{what}")
def kind_of_behaviour() -> ParserElement:
    """UBSAN: array-index-out-of-bounds in drivers/char/boom.c:12:3"""
    return "UBSAN: " + k.Regex(r"[\w-]+")("what") + " in " + k.rest_of_line


slab = Family("slab")
_slab = partial(
    slab.form,
    kind="sanitizer",
    skip=CHECKS_SLABS,
    detail="{what}",
    cause=ByWord(
        "what",
        (
            ("Poison", "use-after-free"),
            ("Redzone", "out-of-bounds"),
            ("padding", "out-of-bounds"),
            ("already free", "double-free"),
            ("double free", "double-free"),
        ),
        default="slab-corruption",
    ),
)


@_slab(title="BUG: {what}")
def overwritten() -> ParserElement:
    """[Poison overwritten] 0xffff888012345678-0xffff888012345678 @offset=1234"""  # since 7.x
    what = k.one_of("Poison", "Right Redzone", "Left Redzone", "Object padding")
    return "[" + k.Combine(what + " overwritten")("what") + "] 0x" + k.rest_of_line


def _fault_of_object() -> ParserElement:
    """Return the fault of a slab object, without the addresses after it."""
    end = k.one_of(" on __kmem_cache_shutdown()", "..") | k.Regex(
        r"\s{1,64}+0x[0-9a-f]|[^\S\n]{0,64}+(?:\n|\Z)"
    )
    return k.Combine(k.letter + k.UpTo(end))("what")


@_slab(title="BUG: {what}")
def cache() -> ParserElement:
    """=== BUG kmalloc-64 (Tainted: G    B  OE): Poison overwritten

    BUG kmalloc-64 (Not tainted): Objects remaining in kmalloc-64 on __kmem_cache_shutdown()
    """
    return (
        k.one_of("=== BUG ", "BUG kmalloc-")
        + k.UpTo("): ", least=1, most=120)
        + "): "
        + _fault_of_object()
        + k.rest_of_line
    )


@_slab(title="BUG: {what}")
def object_of_cache() -> ParserElement:
    """): Right Redzone overwritten

    ): Freelist corrupt
    """  # the end of "BUG ext4_inode_cache (Not tainted): …", for any cache
    what = k.one_of(
        *("Poison overwritten", "Redzone overwritten", "Right Redzone overwritten"),
        *("Left Redzone overwritten", "Object already free", "Object padding overwritten"),
        *("Padding overwritten", "Freelist corrupt", "Freepointer corrupt", "Object corrupt"),
        *("Freechain corrupt", "Wrong object count", "Invalid object pointer", "Attempt to free object"),
        *("Objects remaining in", "objects remaining in", "Wrong slab", "SLAB_", "Not a valid slab page"),
        "Double free",
    )
    return "): " + k.FollowedBy(what) + _fault_of_object() + k.rest_of_line


@slab.form(title="BUG: {what}", kind="sanitizer", cause="slab-corruption")
def cache_cut_off() -> ParserElement:
    """BUG kmalloc-64"""
    return "BUG " + k.Combine("kmalloc-" + k.number)("what") + k.rest_of_line


leak = Family("leak")


@leak.form(
    title="memory leak in {function}",
    kind="leak",
    cause="memory-leak",
    skip=(
        (
            "alloc|kmem|slab|mmap|^create_object|^pcpu_create|^__?get_free|strn?dup|memdup|asprintf|^idr_get|list_lru_init",
            "allocates memory for its callers",
        ),
    ),
)
def unreferenced() -> ParserElement:
    """BUG: memory leak
    unreferenced object 0xffff888012345678 (size 32):
    """
    return "BUG: memory leak" + k.later("unreferenced object", within=4)


fortify = Family("fortify")


@fortify.form(title="WARNING in {function}", kind="warning", cause="fortify", walk="named")
def only_warned() -> ParserElement:
    """detected field-spanning write (size 8) of single field "p->a" at drivers/char/boom.c:12 (size 4)
    WARNING: CPU: 0 PID: 1 at drivers/char/boom.c:12 boom_write+0x1/0x2 [boom]
    """
    at = k.one_of(" at ", ":at ")
    place = at + k.Opt(k.Regex(r"[^\s:]+:[0-9]+ ") + k.Opt("at ")) + k.symbol + ~k.Literal(":")
    warning = "WARNING: " + k.UpTo(place) + place
    return k.one_of("detected field-spanning write", "detected buffer overflow: ") + k.later(
        warning, within=4
    )


@fortify.form(
    title="kernel BUG in {function}",
    kind="bug",
    cause="fortify",
    skip=(("fortify", "is a debug check"),),
    detail="{what}",
)
def buffer_overflow() -> ParserElement:
    """detected buffer overflow in memcpy

    fortify: detected buffer overflow

    buffer overflow detected in strcpy
    """  # the last before 4.20
    new = k.one_of("fortify: detected buffer overflow", "detected buffer overflow")
    return (
        new + k.Opt(" in " + k.name("what")) | "buffer overflow detected in " + k.name("what")
    ) + k.rest_of_line


rust = Family("rust")
_rust = partial(rust.form, kind="bug", cause="bug")


@_rust(title="{what} in {function}")
def panicked() -> ParserElement:
    """panicked at samples/rust/rust_minimal.rs:60:5:
    attempt to divide by zero
    """
    where = k.Regex(r"\S+\.rs:[0-9]+:[0-9]+:")
    return "panicked at " + where + k.rest_of_line + "\n" + k.Regex(r"\n?") + k.any_text("what")


@_rust(title="{what} in {function}")
def panicked_before() -> ParserElement:
    """panicked at 'attempt to divide by zero', samples/rust/rust_minimal.rs:60:5"""  # before Rust 1.73
    where = "', " + k.Regex(r"\S+\.rs:[0-9]+")
    return "panicked at '" + k.UpTo(where, least=1)("what") + where + k.rest_of_line
