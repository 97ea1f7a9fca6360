"""Functions that are helpers by the file that defines them, and the generation of their table."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import helpers, parse
from kpanic.grammars.data import generate
from kpanic.grammars.data.generate import Classes, Release, classify
from kpanic.grammars.data.helper_files import RULES, SUSPECTS
from kpanic.grammars.suspect import base, passed_over

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = [line.split("\t") for line in helpers.TABLE.read_text(encoding="ascii").splitlines()[1:]]
RELEASES = helpers.TABLE.read_text(encoding="ascii").split("\n", 1)[0].split("\t")[2].split()


def release(version: str, declared: str = "", header: str = "", **files: str) -> Release:
    where = {name: set(paths.split()) for name, paths in files.items()}
    return Release(version, where, {name: {header} for name in declared.split()})


def rules(*releases: Release) -> dict[str, str]:
    return {name: RULES[number].name for name, (number, _) in classify(releases).items()}


def test_every_entry_of_the_table_is_found() -> None:
    assert sorted(ENTRIES, key="\t".join) == ENTRIES
    assert max(Counter(name for name, *_ in ENTRIES).values()) == 1
    for name, rule, *_ in ENTRIES:
        found = helpers.rule(name)
        assert found is not None
        assert found.name == rule


def test_every_entry_says_which_releases_have_it() -> None:
    assert len(RELEASES) >= 4
    for name, _, *eras in ENTRIES:
        assert not eras or set(eras[0].split()) < set(RELEASES), name


@pytest.mark.parametrize(
    "name", ["", "widget", "a", "~", "zzz_last", "#", "kfre", "kfreee", "ünïcode", "x" * 4096]
)
def test_a_function_outside_of_the_table_is_not_a_helper(name: str) -> None:
    assert helpers.rule(name) is None


def test_every_rule_has_a_reason_and_names_functions() -> None:
    named = {rule for _, rule, *_ in ENTRIES}
    for rule in RULES:
        assert rule.reason
        assert rule.name in named
    assert not {name for _, names in SUSPECTS for name in names.split()} & {name for name, *_ in ENTRIES}


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        ("__vunmap", "allocators"),  # mm/vmalloc.c
        ("get_free_pages_noprof", "allocators"),  # mm/page_alloc.c
        ("__set_page_owner", "debugging"),  # mm/page_owner.c
        ("dpm_sysfs_remove", "devices"),  # drivers/base/power/sysfs.c
        ("_atomic_dec_and_lock", "counting"),  # lib/dec_and_lock.c
        ("task_blocks_on_rt_mutex", "locking"),  # kernel/locking/rtmutex.c
        ("queued_write_lock_slowpath", "locking"),  # kernel/locking/qrwlock.c
        ("ioread32", "registers"),  # lib/iomap.c, and versions of machines
        ("asm_exc_page_fault", "faults"),  # defined by DEFINE_IDTENTRY in arch/x86/mm/fault.c
        ("__pfx_kfree", "allocators"),
        ("__pi_memcpy", "memory"),
    ],
)
def test_a_function_is_a_helper_by_the_file_that_defines_it(function: str, rule: str) -> None:
    found = helpers.rule(base(function))
    assert found is not None
    assert found.name == rule
    assert passed_over(function)


@pytest.mark.parametrize(
    "function",
    [
        "get_page_from_freelist",
        "__isolate_free_page",
        "deactivate_slab",
        "radix_tree_node_alloc",
        "timerqueue_del",
        "remove_wait_queue",
        "fs_reclaim_acquire",
        "__unwind_start",
        "clear_page",
        "set_next_entity",
        "xas_create",
        "driver_register",
        "__do_softirq",
        "process_srcu",
        "lockref_get",
        "ktime_get",
        "kvm_wait",
        "skb_unref",
        "sys_rt_sigreturn",
    ],
)
def test_code_that_keeps_state_of_its_own_is_not(function: str) -> None:
    assert helpers.rule(function) is None


def test_a_function_of_two_files_is_a_helper_only_if_both_are() -> None:
    found = rules(
        release("1", both="lib/string.c lib/hexdump.c", one="lib/string.c fs/inode.c", none="fs/inode.c")
    )
    assert set(found) == {"both"}


def test_a_header_counts_where_no_source_file_has_the_function() -> None:
    found = rules(
        release(
            "1",
            inlined="include/linux/list.h",
            stub="include/linux/slab.h fs/locks.c",
            other="include/net/tcp.h",
        )
    )
    assert found == {"inlined": "lists"}


def test_a_machines_own_version_of_a_helper_is_one() -> None:
    found = rules(
        release("1", memcpy="lib/string.c arch/widget/core/memcpy.S", fast="arch/widget/core/memcpy.S")
    )
    assert found == {"memcpy": "memory"}


def test_a_drivers_own_function_hides_no_helper_that_all_the_kernel_knows() -> None:
    found = rules(
        release(
            "1",
            declared="known",
            header="include/linux/string.h",
            known="lib/string.c drivers/widget.c",
            static="lib/string.c drivers/widget.c",
            list_add="include/linux/list.h drivers/widget/list.h",
        )
    )
    assert set(found) == {"known", "list_add"}


def test_only_the_interface_of_an_allocator_is_a_helper() -> None:
    found = rules(
        release(
            "1",
            declared="vunmap",
            header="include/linux/vmalloc.h",
            vunmap="mm/vmalloc.c",
            __vunmap="mm/vmalloc.c",
            purge_list="mm/vmalloc.c",
        ),
        release("2", declared="late", header="include/linux/mm.h", late="mm/vmalloc.c"),
    )
    assert set(found) == {"vunmap", "__vunmap"}


def test_a_function_is_a_helper_in_every_release_or_in_none() -> None:
    older = release("1", moved="lib/string.c", kept="lib/string.c", gone="lib/string.c")
    newer = release("2", moved="fs/inode.c", kept="lib/string.c")
    found = classify([older, newer])
    assert {name: versions for name, (_, versions) in found.items()} == {"kept": ["1", "2"], "gone": ["1"]}


@pytest.mark.parametrize(
    "file", ["tools/lib/string.c", "arch/x86/boot/string.c", "lib/tests/x.c", "lib/test_a.c"]
)
def test_programs_boot_loaders_and_tests_say_nothing(file: str) -> None:
    assert Classes().of_file(file) is None


@pytest.mark.process
@pytest.mark.skipif(shutil.which("ctags") is None, reason="needs Universal Ctags")
def test_the_table_is_made_from_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "linux-source-9.9"
    for name, text in {
        "lib/string.c": "noinline char *widget_chr(const char *s)\n{\n\treturn 0;\n}\n",
        "arch/x86/lib/memcpy_64.S": "SYM_FUNC_START(widget_copy)\n\tret\nSYM_FUNC_END(widget_copy)\n",
        "arch/x86/mm/fault.c": "DEFINE_IDTENTRY_RAW_ERRORCODE(exc_widget_fault)\n{\n}\n",
        "mm/vmalloc.c": "void *widget_alloc_noprof(int n)\n{\n}\nstatic void purge(void)\n{\n}\n",
        "include/linux/vmalloc.h": "void *widget_alloc_noprof(int n);\n",
        "fs/inode.c": "int widget_open(void)\n{\n\treturn 0;\n}\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    out = tmp_path / "helpers.tsv"
    monkeypatch.setattr("sys.argv", ["generate", str(tree), "--output", str(out)])
    generate.main()
    assert out.read_text().splitlines() == [
        "#\treleases\t9.9",
        "exc_widget_fault\tfaults",
        "widget_alloc\tallocators",
        "widget_chr\tmemory",
        "widget_copy\tmemory",
    ]


def test_the_table_costs_a_first_crash_no_five_milliseconds() -> None:
    names = [name for name, *_ in ENTRIES[::50]]

    def seconds() -> float:
        helpers._lines.cache_clear()  # noqa: SLF001
        helpers.rule.cache_clear()
        started = time.thread_time()
        for name in names:
            helpers.rule(name)
        return time.thread_time() - started

    # as many frames as are noted; other processes slow some of these calls, but not all
    assert any(seconds() / len(names) * 64 < 0.005 for _ in range(50))


def test_a_crash_says_why_a_helper_is_passed_over() -> None:
    (crash,) = parse(
        "[    1.000001] BUG: unable to handle page fault for address: ffff888000000000\n"
        "[    1.000001] RIP: 0010:queued_write_lock_slowpath+0x10/0x40\n"
        "[    1.000001] Call Trace:\n"
        "[    1.000001]  widget_close+0x10/0x40\n"
    )
    assert crash.blame.function == "widget_close"
    assert ("queued_write_lock_slowpath", "takes or releases locks for its callers") in crash.blame.skipped
