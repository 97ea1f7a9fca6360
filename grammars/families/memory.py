"""Bad pages, busy dentries and inodes, wrong counters, failed allocations (mm/, fs/dcache.c, fs/super.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

page = Family("page")
_form = partial(page.form, kind="bug", cause="bad-page")


@_form(
    title="BUG: Bad page {what} in {function}",
    walk="chain",
    skip=(
        (
            "^bad_page|get_page_from|page_alloc|free_(?:page|pcp|unref|hot|one|frozen|folio)|_prepare|prep_|rmqueue|^folios?_put|^__?put_|^put_page|^release_pages|page_pool|^pagecache_|^filemap_|^skb_(?:release|free|page)|^__page_cache|^napi_|^kfree_skb|^sk_skb|^tlb_|^shmem_|^truncate_|^xdp_return|^__xdp_return|^skb_|pages?_(?:fast|slow)?path",
            "allocates or frees pages for its callers",
        ),
    ),
)
def state() -> ParserElement:
    """BUG: Bad page state in process bash  pfn:12345"""
    comm = k.Opt(" " + k.UpTo("  pfn:", least=1, most=16)("comm") + "  pfn:")
    return "BUG: Bad page " + k.one_of("state", "cache")("what") + " in process" + comm + k.rest_of_line


@_form(
    title="BUG: Bad page map", skip=(("^print_bad|^vm_normal|^dump_page", "checks pages for its callers"),)
)
def page_map() -> ParserElement:
    """BUG: Bad page map in process bash  pte:800000012345 pmd:12345067"""
    comm = k.Opt(" " + k.UpTo("  pte:", least=1, most=16)("comm") + "  pte:")
    return "BUG: Bad page map in process" + comm + k.rest_of_line


@_form(title="BUG: Bad page map", corrupted="the report's first line is cut off")
def page_map_cut_off() -> ParserElement:
    """BUG: Bad page map"""
    return "BUG: Bad page map" + k.rest_of_line


@_form(title="BUG: Bad rss-counter state", walk="none", traceless=True)
def rss_counter() -> ParserElement:
    """BUG: Bad rss-counter state mm:ffff888012345678 idx:1 val:2"""
    return "BUG: Bad rss-counter state" + k.rest_of_line


@_form(title="BUG: non-zero {what} on freeing mm", walk="none", traceless=True)
def page_tables() -> ParserElement:
    """BUG: non-zero pgtables_bytes on freeing mm: 4096"""
    what = k.one_of("nr_ptes", "nr_pmds", "pgtables_bytes")
    return "BUG: non-zero " + what("what") + " on freeing mm" + k.rest_of_line


@page.form(
    title="BUG: Dentry still in use in unmount",
    kind="bug",
    cause="filesystem",
    skip=(("umount_check|^d_walk|^do_one_tree", "walks dentries for its callers"),),
)
def dentry() -> ParserElement:
    """BUG: Dentry ffff888012345678{i=1,n=/} still in use (1) [unmount of ext4 sda1]"""
    in_use = "still in use (" + k.number + ") [unmount of"
    return "BUG: Dentry " + k.UpTo(in_use, least=1, most=200) + in_use + k.rest_of_line


vfs = Family("vfs")
_vfs = partial(vfs.form, kind="bug", cause="filesystem", walk="none", traceless=True)


@_vfs(title="VFS: Busy inodes after unmount (use-after-free)")
def busy_inodes() -> ParserElement:
    """VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.  Have a nice day..."""
    return "VFS: Busy inodes after unmount" + k.rest_of_line


@_vfs(title="VFS: Close: file count is zero (use-after-free)")
def file_count() -> ParserElement:
    """VFS: Close: file count is 0 (f_op=ext4_file_operations)

    VFS: Close: file count is zero
    """
    return "VFS: Close: file count is " + k.one_of("0", "zero") + k.rest_of_line


allocation = Family(
    "allocation",
    # A victim of the OOM killer may fail to allocate a page while it exits (7.x): this is part of the kill.
    ignore_after=r"Killed process \d+ \(|oom_reaper: reaped process",
)


@allocation.form(title="page allocation failure in {function}", kind="warning", cause="allocation-failure")
def failure() -> ParserElement:
    """page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)

    page allocation failure. order:4, mode:0xd0
    """  # the second before 3.0
    return k.one_of("page allocation failure:", "page allocation failure.") + k.rest_of_line
