"""BUG() and what code calls a BUG (lib/bug.c, mm/usercopy.c, lib/list_debug.c, mm/page_alloc.c, fs/dcache.c).

::

    kernel BUG at fs/ext4/inode.c:2721!                       without a mark in 2.6.18
    Kernel BUG at f+0x1/0x2 [verbose debug info unavailable]
    list_add corruption. prev->next should be next (…), but was …
    list_del corruption, ffff…->next is LIST_POISON1 (dead000000000100)
    usercopy: Kernel memory overwrite attempt detected to SLUB object 'filp' (offset 0, size 12)!
    BUG: Bad page state in process bash  pfn:12345
"""

from __future__ import annotations

from kpanic.grammars.family import SYMBOL, Family, Form, head

_FILESYSTEMS = r"fs/(?:ext[234]|xfs|btrfs|f2fs|reiserfs|jfs|ocfs2|gfs2|nilfs2|jbd2|bcachefs)/"

BUG = Family(
    name="bug",
    literals=("kernel BUG at ", "Kernel BUG at ", "Kernel BUG ", "kernel BUG [", "Kernel bug detected[#"),
    forms=(
        Form(
            head(rf"[kK]ernel BUG at {_FILESYSTEMS}(?P<file>\S+?):(?P<line>\d+)(?=!|\n)"),
            title="kernel BUG in {function}",
            kind="bug",
            cause="filesystem",
            walk="ip",
        ),
        Form(
            head(r"[kK]ernel BUG at lib/list_debug\.c:\d+!"),
            title="BUG: corrupted list in {function}",
            kind="bug",
            cause="list-corruption",
            walk="ip",
        ),
        Form(
            head(r"[kK]ernel BUG at mm/usercopy\.c:\d+!"),
            title="BUG: bad usercopy in {function}",
            kind="bug",
            cause="usercopy",
            walk="ip",
        ),
        Form(
            head(r"[kK]ernel BUG at (?P<file>[\w./-]+\.[chS]):(?P<line>\d+)(?=!|\n)"),
            title="kernel BUG in {function}",
            kind="bug",
            cause="bug",
            walk="ip",
            skip=(("^skb_", "works on the packets that it is given"),),
        ),
        Form(
            head(rf"[kK]ernel BUG at {SYMBOL}"),
            title="kernel BUG in {function}",
            kind="bug",
            cause="bug",
            walk="named",
        ),
        Form(
            head(r"[kK]ernel (?:BUG|bug detected)[^\n]*"),
            title="kernel BUG in {function}",
            kind="bug",
            cause="bug",
            walk="ip",
        ),
    ),
)

LIST = Family(
    name="list",
    literals=("list_add corruption", "list_del corruption", "list_add double add", "list_replace corruption"),
    forms=(
        Form(
            head(r"(?P<what>list_(?:add|del|replace) (?:corruption|double add))[^\n]*"),
            title="BUG: corrupted list in {function}",
            kind="bug",
            cause="list-corruption",
            walk="ip",
            detail="{what}",
        ),
    ),
)

USERCOPY = Family(
    name="usercopy",
    literals=("usercopy: Kernel memory ", "usercopy: kernel memory ", "Bad or missing usercopy whitelist"),
    forms=(
        Form(
            head(
                r"usercopy: [kK]ernel memory (?P<what>overwrite|exposure) attempt detected (?:to|from) [^\n]*"
            ),
            title="BUG: bad usercopy in {function}",
            kind="bug",
            cause="usercopy",
            walk="trace",
            skip=(("usercopy|check_(?:heap|object|copy)", "checks the copy"),),
            detail="kernel memory {what}",
        ),
        Form(
            head(r"Bad or missing usercopy whitelist[^\n]*"),
            title="WARNING: bad usercopy in {function}",
            kind="warning",
            cause="usercopy",
            walk="trace",
            skip=(("usercopy|check_(?:heap|object|copy)", "checks the copy"),),
        ),
    ),
)
