"""BUG(), corrupted lists, bad usercopies, OpenZFS's VERIFY (lib/{bug,list_debug}.c, mm/usercopy.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

CHECKS_COPY: Final = (("usercopy|check_(?:heap|object|copy)", "checks the copy"),)

bug = Family("bug")


@bug.form(title="kernel BUG in {function}", kind="bug", cause="filesystem", walk="ip")
def filesystem() -> ParserElement:
    """kernel BUG at fs/ext4/inode.c:2721!"""
    filesystems = k.one_of(
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "reiserfs", "jfs", "ocfs2"),
        *("gfs2", "nilfs2", "jbd2", "bcachefs"),
    )
    file = k.Combine("fs/" + filesystems + "/" + k.path)("file")
    return k.sentence("kernel BUG at ") + file + ":" + k.number("line") + ("!" | k.end_of_line)


@bug.form(title="BUG: corrupted list in {function}", kind="bug", cause="list-corruption", walk="ip")
def list_debug() -> ParserElement:
    """kernel BUG at lib/list_debug.c:26!"""
    return k.sentence("kernel BUG at ") + "lib/list_debug.c:" + k.number + "!"


@bug.form(title="BUG: bad usercopy in {function}", kind="bug", cause="usercopy", walk="ip")
def usercopy() -> ParserElement:
    """kernel BUG at mm/usercopy.c:102!"""
    return k.sentence("kernel BUG at ") + "mm/usercopy.c:" + k.number + "!"


@bug.form(
    title="kernel BUG in {function}",
    kind="bug",
    cause="bug",
    walk="ip",
    skip=(("^skb_", "works on packets of its callers"),),
)
def file_and_line() -> ParserElement:
    """kernel BUG at net/core/skbuff.c:110!

    kernel BUG at drivers/char/boom.c:12
    """  # 2.6.18 prints no exclamation mark
    return k.sentence("kernel BUG at ") + k.source + ("!" | k.end_of_line)


@bug.form(title="kernel BUG in {function}", kind="bug", cause="bug", walk="named")
def without_debug_info() -> ParserElement:
    """Kernel BUG at boom_bug+0x1/0x2 [verbose debug info unavailable]"""
    return k.sentence("kernel BUG at ") + k.symbol


@bug.form(title="kernel BUG in {function}", kind="bug", cause="bug", walk="named")
def function_and_line() -> ParserElement:
    """kernel BUG in grow_buffers at fs/buffer.c:1195!"""  # powerpc, before 2.6.13
    return k.sentence("kernel BUG in ") + k.function("function") + " at " + k.source + "!"


@bug.form(title="kernel BUG in {function}", kind="bug", cause="bug", walk="ip")
def without_place() -> ParserElement:
    """kernel BUG [#1]

    Kernel bug detected[#1]:
    """  # riscv; mips
    return k.sentence("kernel ") + k.one_of("BUG ", "bug detected[#") + k.rest_of_line


verify = Family("verify")


@verify.form(title="VERIFY failed in {function}", kind="bug", cause="bug", walk="named", detail="{what}")
def spl_panic() -> ParserElement:
    """VERIFY3(0 == remove_reference(hdr, hdr)) failed (0 == 1)
    PANIC at arc.c:6624:arc_write_done()
    """  # OpenZFS, module/os/linux/spl/spl-err.c: the asserting thread sleeps forever
    panic = "PANIC at " + k.path + ":" + k.number + ":"
    what = k.Combine(k.one_of("VERIFY3", "VERIFY(", "ASSERT3", "ASSERT(") + k.rest_of_line)("what")
    return what + k.Later(panic, within=1) + panic + k.function("function") + "()"


@verify.form(title="VERIFY failed in {function}", kind="bug", cause="bug", walk="named", detail="{what}")
def spl_error() -> ParserElement:
    """SPLError: 14243:0:(dnode_sync.c:484:dnode_sync_free()) VERIFY3(dn->dn_bonus == 0) failed (1 == 0)"""
    place = "(" + k.path + ":" + k.number + ":" + k.function("function") + "()) "
    what = k.Combine(k.one_of("VERIFY", "ASSERT") + k.rest_of_line)("what")
    return "SPLError: " + k.number + ":" + k.number + ":" + place + what  # before OpenZFS 0.6.4


corrupted_list = Family("list")


@corrupted_list.form(
    title="BUG: corrupted list in {function}", kind="bug", cause="list-corruption", walk="ip", detail="{what}"
)
def corruption() -> ParserElement:
    """list_add corruption. prev->next should be next (ffff8880), but was ffff8881.

    list_del corruption, ffff888012345678->next is LIST_POISON1 (dead000000000100)

    list_add double add: new=ffff8880, prev=ffff8880, next=ffff8881.
    """
    what = k.Combine(
        k.one_of("list_add", "list_del", "list_replace") + k.one_of(" corruption", " double add")
    )
    return what("what") + k.rest_of_line


bad_usercopy = Family("usercopy")


@bad_usercopy.form(
    title="BUG: bad usercopy in {function}",
    kind="bug",
    cause="usercopy",
    skip=CHECKS_COPY,
    detail="kernel memory {what}",
)
def attempt() -> ParserElement:
    """usercopy: Kernel memory overwrite attempt detected to SLUB object 'filp' (offset 0, size 12)!"""
    direction = k.one_of("to ", "from ")
    return (
        "usercopy: "
        + k.sentence("kernel memory ")
        + k.one_of("overwrite", "exposure")("what")
        + " attempt detected "
        + direction
        + k.rest_of_line
    )


@bad_usercopy.form(
    title="WARNING: bad usercopy in {function}", kind="warning", cause="usercopy", skip=CHECKS_COPY
)
def whitelist() -> ParserElement:
    """Bad or missing usercopy whitelist? Kernel memory exposure attempt detected from SLUB object 'x'!"""
    return "Bad or missing usercopy whitelist" + k.rest_of_line
