"""Pages and dentries in a bad state, counters that do not add up, memory that is gone (mm/, fs/dcache.c)."""

from __future__ import annotations

from kpanic.grammars.family import Family, Form, head

PAGE = Family(
    name="page",
    literals=("BUG: Bad page ", "BUG: Bad rss-counter", "BUG: non-zero ", "BUG: Dentry "),
    forms=(
        Form(
            head(r"BUG: Bad page (?P<what>state|cache) in process[^\n]*"),
            title="BUG: Bad page {what} in {function}",
            kind="bug",
            cause="bad-page",
            walk="chain",
            skip=(
                (
                    "^bad_page|get_page_from|page_alloc|free_(?:page|pcp|unref|hot|one|frozen|folio)|_prepare|prep_|rmqueue|^folios?_put|^__?put_|^put_page|^release_pages|page_pool|^pagecache_|^filemap_|^skb_(?:release|free|page)|^__page_cache|^napi_|^kfree_skb|^sk_skb|^tlb_|^shmem_|^truncate_|^xdp_return|^__xdp_return|^skb_|pages?_(?:fast|slow)?path",
                    "frees or hands out pages for others",
                ),
            ),
        ),
        Form(
            head(r"BUG: Bad page map in process[^\n]*"),
            title="BUG: Bad page map",
            kind="bug",
            cause="bad-page",
            skip=(("^print_bad|^vm_normal|^dump_page", "checks pages for others"),),
        ),
        Form(
            head(r"BUG: Bad page map[^\n]*"),
            title="BUG: Bad page map",
            kind="bug",
            cause="bad-page",
            corrupted="the report's first line is cut off",
        ),
        Form(
            head(r"BUG: Bad rss-counter state[^\n]*"),
            title="BUG: Bad rss-counter state",
            kind="bug",
            cause="bad-page",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"BUG: non-zero (?P<what>nr_ptes|nr_pmds|pgtables_bytes) on freeing mm[^\n]*"),
            title="BUG: non-zero {what} on freeing mm",
            kind="bug",
            cause="bad-page",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"BUG: Dentry [^\n]{1,200}?still in use \(\d+\) \[unmount of[^\n]*"),
            title="BUG: Dentry still in use in unmount",
            kind="bug",
            cause="filesystem",
            walk="trace",
            skip=(("umount_check|^d_walk|^do_one_tree", "walks for others"),),
        ),
    ),
)

VFS = Family(
    name="vfs",
    literals=("VFS: Busy inodes after unmount", "VFS: Close: file count is"),
    forms=(
        Form(
            head(r"VFS: Busy inodes after unmount[^\n]*"),
            title="VFS: Busy inodes after unmount (use-after-free)",
            kind="bug",
            cause="filesystem",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"VFS: Close: file count is (?:0|zero)[^\n]*"),
            title="VFS: Close: file count is zero (use-after-free)",
            kind="bug",
            cause="filesystem",
            walk="none",
            traceless=True,
        ),
    ),
)

ALLOCATION = Family(
    name="allocation",
    literals=("page allocation failure",),
    # What the OOM killer has just killed gets no page to die with (7.x): part of the kill, and no crash.
    ignore_after=r"Killed process \d+ \(|oom_reaper: reaped process",
    forms=(
        Form(
            head(r"page allocation failure[.:][^\n]*"),
            title="page allocation failure in {function}",
            kind="warning",
            cause="allocation-failure",
        ),
    ),
)
