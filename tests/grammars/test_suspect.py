"""The search for the suspect function: skipped functions, and the end of the walk down a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kpanic.grammars import parse
from kpanic.grammars.suspect import BEHIND, bare, base, passed_over

if TYPE_CHECKING:
    from kpanic.grammars.model import CrashReport

HELPERS = """
__asan_load8 kasan_report check_memory_region kmsan_copy_to_user __ubsan_handle_out_of_bounds
memcpy_orig strlcpy strncpy_from_user _copy_from_iter copy_user_generic_unrolled
csum_partial_copy_generic __kmalloc_node_track_caller_noprof kmem_cache_free ___slab_alloc kvfree
alloc_pages_mpol krealloc_noprof _raw_spin_lock_irqsave native_queued_spin_lock_slowpath
__mutex_lock_slowpath down_write_nested rwsem_wake __list_add_valid_or_report hlist_add_head_rcu
rb_insert_color xas_find bitmap_weight refcount_warn_saturate kref_get
atomic_dec_and_test test_and_set_bit _find_next_bit vprintk_emit vsnprintf dev_warn hex_string
print_hex_dump __dev_printk lock_acquire register_lock_class lockdep_init_map_type mark_held_locks
debug_print_object __might_resched dump_stack_lvl show_stack do_error_trap asm_exc_page_fault
queue_work_on __cancel_work_timer __mod_timer wait_for_completion kthread_stop kobject_put
device_add sysfs_remove_group usb_submit_urb dummy_urb_enqueue kfree_skb_reason iput dput ihold
readl crc32c_le panic fortify_panic rust_begin_unwind core::panicking::panic_fmt
"""
OTHERS = """
bitmap_ip_add irq_bypass_register_consumer page_cache_ra_unbounded list_lru_add rht_deferred_worker
copy_from_kernel_nofault get_page_from_freelist percpu_ref_switch_to_atomic
remove_wait_queue release_pages xas_create add_timer driver_register skb_segment block_write_full_page
process_one_work sysrq_handle_crash
"""


@pytest.mark.parametrize("function", HELPERS.split())
def test_a_helper_is_passed_over(function: str) -> None:
    assert passed_over(function)


@pytest.mark.parametrize("function", OTHERS.split())
def test_a_function_with_a_similar_name_is_not_a_helper(function: str) -> None:
    assert not passed_over(function)


@pytest.mark.parametrize(
    ("symbol", "function"),
    [
        ("__x64_sys_rmdir", "sys_rmdir"),
        ("__se_sys_rmdir", "rmdir"),
        ("__do_sys_rmdir", "rmdir"),
        ("SyS_rmdir", "rmdir"),
        ("sys_rmdir", "rmdir"),
        ("____sys_recvmsg", "recvmsg"),
        ("ksys_write", "write"),
        ("sysrq_handle_crash", "sysrq_handle_crash"),
    ],
)
def test_a_system_call_is_named_without_its_entry(symbol: str, function: str) -> None:
    assert bare(symbol) == function


def _stall(*functions: str) -> str:
    frames = "".join(f"[   60.000001]  {function}+0x10/0x40\n" for function in functions)
    (crash,) = parse(
        "[   60.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [worker:77]\n"
        "[   60.000001] CPU: 1 PID: 77 Comm: worker Not tainted 6.1.0 #1\n"
        "[   60.000001] RIP: 0010:_raw_spin_lock+0x10/0x40\n"
        "[   60.000001] Call Trace:\n"
        "[   60.000001]  <TASK>\n" + frames
    )
    return crash.blame.function


@pytest.mark.parametrize(
    ("stack", "function"),
    [
        (("widget_scan", "widget_ioctl", "__x64_sys_ioctl", "do_syscall_64"), "widget_ioctl"),
        (
            ("widget_fill_super", "vfs_get_tree", "path_mount", "__x64_sys_mount", "do_syscall_64"),
            "sys_mount",
        ),
        (("inet_bind", "__sys_bind", "__x64_sys_bind", "do_syscall_64"), "sys_bind"),
        (("exit_mmap", "do_exit", "__x64_sys_exit_group", "do_syscall_64"), "sys_exit_group"),
        (("widget_complete", "usb_hcd_giveback_urb", "dummy_timer", "call_timer_fn"), "dummy_timer"),
        (("widget_poll", "net_rx_action", "__do_softirq"), "net_rx_action"),
        (("handle_mm_fault", "do_page_fault", "page_fault"), "handle_mm_fault"),
        (("widget_work", "process_one_work", "worker_thread", "kthread"), "widget_work"),
    ],
)
def test_a_lockup_is_named_after_the_piece_of_work(stack: tuple[str, ...], function: str) -> None:
    assert _stall(*stack) == function


def _crash(*lines: str) -> CrashReport:
    (crash,) = parse("".join(f"[   60.000001] {line}\n" for line in lines))
    return crash


OOPS = "BUG: unable to handle page fault for address: ffffc900028de000"


def test_without_a_frame_the_instruction_pointer_names_the_crash() -> None:
    crash = _crash(
        OOPS,
        "RIP: 0010:__list_del_entry_valid+0x10/0x40",
        "Call Trace:",
        " kasan_report+0x10/0x40",
    )
    assert crash.title == "BUG: unable to handle kernel paging request in __list_del_entry_valid"
    assert (crash.status, crash.blame.function) == ("corrupted", "")
    assert crash.signature is not None
    assert crash.signature.quality == "weak"


def test_a_report_without_a_place_has_a_title_without_one() -> None:
    crash = _crash(OOPS, "Call Trace:", " kasan_report+0x10/0x40")
    assert crash.title == "BUG: unable to handle kernel paging request"
    assert crash.signature is None


def test_the_exception_handler_is_the_suspect_where_no_other_frame_is_left() -> None:
    crash = _crash(
        "BUG: using __this_cpu_read() in preemptible [00000000] code: widget/77",
        "caller is lockdep_hardirqs_on_prepare+0x5e/0x410",
        "Call Trace:",
        " dump_stack+0x107/0x163",
        " check_preemption_disabled+0x123/0x130",
        " lockdep_hardirqs_on_prepare+0x5e/0x410",
        " bad_area_nosemaphore+0xc6/0x400",
        " do_user_addr_fault+0x7d7/0xb40",
    )
    assert crash.blame.function == "bad_area_nosemaphore"
    assert crash.blame.rule == "no other frame of the call trace is left"


def test_the_address_behind_a_call_that_never_returns_is_no_frame() -> None:
    crash = _crash(
        "Bad mode in Error handler detected on CPU3, code 0xbf000002 -- SError",
        "Kernel panic - not syncing: bad mode",
        "Call trace:",
        " dump_backtrace+0x0/0x348",
        " dump_stack+0x11c/0x18c",
        " panic+0x2e4/0x5fc",
        " widget_unrelated+0x0/0x210",
        " el1_error_invalid+0x7c/0x9c",
        " widget_probe+0xa8/0x228",
    )
    assert crash.blame.function == "widget_probe"
    assert ("widget_unrelated", BEHIND) in crash.blame.skipped


@pytest.mark.parametrize("leaf", ["ioread32", "memcpy", "src_unaligned_dst_aligned", "kfree"])
def test_the_caller_of_a_leaf_helper_is_in_the_link_register(leaf: str) -> None:
    crash = _crash(
        "Data bus error, epc == 80221c28, ra == 83314e60",
        "Oops[#1]:",
        f"epc   : 80221c28 {leaf}+0x8/0x10",
        "ra    : 83314e60 widget_loadnf+0x88/0x520 [widget]",
        "Call Trace:",
        f" [<80221c28>] {leaf}+0x8/0x10",
        " [<80179404>] widget_reset+0x118/0x224",
    )
    assert crash.blame.function == "widget_loadnf"


def test_the_return_address_of_a_sanitizers_check_is_not_asked() -> None:
    crash = _crash(
        "Unable to handle kernel paging request at virtual address ffff000000000000",
        "pc : __hwasan_check_x0_67043363+0x4/0x30",
        "lr : widget_inlined+0x7c/0x3d4",
        "Call trace:",
        " __hwasan_check_x0_67043363+0x4/0x30",
        " widget_write+0xb0/0x174",
    )
    assert crash.blame.function == "widget_write"


def _spin(*frames: str) -> str:
    return _crash(
        "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [widgetd:77]",
        "RIP: 0010:native_queued_spin_lock_slowpath+0x10/0x40",
        "Call Trace:",
        *(f" {frame}+0x10/0x40" for frame in frames),
    ).blame.function


def test_a_thread_that_waits_for_a_lock_is_named_by_the_caller_of_the_lock() -> None:
    assert _spin("_raw_spin_lock", "widget_scan", "widget_thread", "kthread") == "widget_scan"
    assert _spin("_raw_spin_lock", "widget_scan", "widget_ioctl", "__x64_sys_ioctl", "do_syscall_64") == (
        "widget_ioctl"
    )


@pytest.mark.parametrize(
    ("symbol", "function"),
    [
        ("kmalloc_noprof", "kmalloc"),
        ("__pfx_widget_open", "widget_open"),
        ("__cfi_widget_open", "widget_open"),
        ("widget_open.cold", "widget_open"),
        ("widget_open.isra.0.cold", "widget_open"),
        ("__se_sys_mremap", "mremap"),
        ("__do_sys_mremap", "mremap"),
        ("SyS_mremap", "mremap"),
    ],
)
def test_new_spellings_of_a_function_are_one(symbol: str, function: str) -> None:
    assert bare(base(symbol)) == function


def test_the_hash_of_a_bpf_program_is_not_part_of_the_signature() -> None:
    def signed(program: str) -> str:
        crash = _crash(OOPS, f"RIP: 0010:{program}+0x10/0x40", "Call Trace:", " widget_run+0x10/0x40")
        assert crash.signature is not None
        return crash.signature.id

    assert signed("bpf_prog_6deef7357e7b4530_F") == signed("bpf_prog_0123456789abcdef_F")
    assert signed("bpf_prog_6deef7357e7b4530_F") != signed("bpf_prog_6deef7357e7b4530_G")


@pytest.mark.parametrize(
    "assertion", ["lbug_with_loc", "assfail", "assertfail", "spl_panic", "btrfs_assertfail"]
)
def test_the_asserting_function_is_named_not_the_assertion(assertion: str) -> None:
    crash = _crash(
        "Kernel panic - not syncing: LBUG",
        "Call Trace:",
        " panic+0x107/0x2bb",
        f" {assertion}.cold+0x18/0x18 [libwidget]",
        " widget_ddelete+0x11b/0x120 [widget]",
    )
    assert crash.blame.function == "widget_ddelete"


POSTED = {
    "force_qs_rnp": """
        NMI watchdog: Watchdog detected hard LOCKUP on cpu 10
        RIP: 0010:native_queued_spin_lock_slowpath+0x65/0x1e0
        Call Trace:
         _raw_spin_lock_irqsave+0x30/0x40
         force_qs_rnp+0xa8/0x160
         rcu_gp_kthread+0x7b2/0xfa0
         ? __schedule+0x305/0x750
         kthread+0x10d/0x130
         ret_from_fork+0x35/0x40
        """,
    "vm_munmap": """
        general protection fault: 0000 [#1] SMP
        RIP: 0010:[<ffffffff810a61d0>]  [<ffffffff810a61d0>] __rwsem_do_wake+0x80/0x160
        Call Trace:
         [<ffffffff810a6386>] rwsem_wake+0x36/0x70
         [<ffffffff8130cca4>] call_rwsem_wake+0x14/0x20
         [<ffffffff8118b2d1>] vm_munmap+0x51/0x60
         [<ffffffff8118c1b2>] SyS_munmap+0x22/0x30
        """,
    "bfq_deactivate_entity": """
        BUG: unable to handle page fault for address: 0000000100000008
        RIP: 0010:rb_next+0x21/0x50
        Call Trace:
         rb_insert_color+0x21/0x170
         bfq_deactivate_entity+0x50/0xc0
         bfq_bfqq_expire+0x3b0/0x950
        """,
    "kdbus_pool_slice_free": """
        BUG: unable to handle kernel NULL pointer dereference at           (null)
        IP: [<ffffffff8128bd8b>] rb_erase+0x19b/0x360
        RIP: 0010:[<ffffffff8128bd8b>]  [<ffffffff8128bd8b>] rb_erase+0x19b/0x360
        Call Trace:
         [<ffffffff8159f882>] kdbus_pool_slice_free+0x92/0x120
        """,
    "page_vma_mapped_walk": """
        BUG: unable to handle page fault for address: ffff8b4cd6855000
        RIP: 0010:do_raw_spin_lock+0x6/0xb0
        Call Trace:
         page_vma_mapped_walk+0x1c5/0x2d0
         page_referenced_one+0xa5/0x130
        """,
    "lod_object_write": """
        kernel BUG at mm/slub.c:305!
        RIP: 0010:__slab_free+0x2ff/0x4a0
        Call Trace:
         kfree+0x3b4/0x440
         kvfree_sensitive+0x24/0x40
         lod_object_write+0x141/0x2a0 [lod]
        """,
    "tcp_connect": """
        WARNING: CPU: 0 PID: 1 at lib/refcount.c:28 refcount_warn_saturate+0xe7/0xf0
        RIP: 0010:refcount_warn_saturate+0xe7/0xf0
        Call Trace:
         tcp_connect+0x141/0x2a0
        """,
    "ext4_put_super": """
        WARNING: CPU: 3 PID: 77 at mm/percpu.c:2111 free_percpu+0x1a3/0x3b0
        RIP: 0010:free_percpu+0x1a3/0x3b0
        Call Trace:
         percpu_counter_destroy_many+0x141/0x2a0
         ext4_put_super+0x141/0x2a0
        """,
    "nvme_remove": """
        BUG: unable to handle kernel NULL pointer dereference at 0000000000000008
        RIP: 0010:mutex_spin_on_owner+0x30/0x90
        Call Trace:
         __mutex_lock.isra.5+0x1af/0x4e0
         device_del+0x3c/0x390
         nvme_remove+0x5b/0x140 [nvme]
        """,
    "xhci_irq": """
        Unable to handle kernel paging request at virtual address ffff000012345678
        pc : readl+0x4/0x10
        lr : xhci_irq+0x7c/0x3d4
        Call trace:
         readl+0x4/0x10
         usb_hcd_irq+0xb0/0x174
        """,
}
"""The suspect function and the report, shortened, as people post it."""


@pytest.mark.parametrize("function", POSTED)
def test_the_suspect_function_of_a_posted_report_is_the_caller_of_a_helper(function: str) -> None:
    lines = [line.removeprefix(" " * 8) for line in POSTED[function].strip("\n").splitlines()]
    assert _crash(*lines[:-1]).blame.function == function


def test_the_check_of_an_indirect_call_keeps_its_name() -> None:
    assert base("__cfi_check_fail") == "__cfi_check_fail"
    assert base("__cfi_widget_read") == "widget_read"


def test_a_driver_may_find_what_it_is_asked_for() -> None:
    (crash,) = parse(
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000050\n"
        "IP: [<ffffffffc0896809>] _find_widget_device+0x99/0x130 [widget]\n"
        "Oops: 0000 [#1] SMP\n"
    )
    assert crash.blame.function == "_find_widget_device"
    assert passed_over("_find_next_bit")


def test_a_header_names_the_place_of_a_warning_without_a_trace() -> None:
    (crash,) = parse(
        "WARNING: CPU: 0 PID: 16624 at mm/vmalloc.c:1494 __vunmap+0xb8/0xdc\nModules linked in: widget\n"
    )
    assert (crash.title, crash.blame.function, crash.status) == ("WARNING in __vunmap", "", "corrupted")


def test_the_beginning_of_a_recursion_is_named_at_any_depth() -> None:
    turns = "".join(" audit_branch+0xd/0x20 [ledger]\n audit_books+0x11/0x20 [ledger]\n" for _ in range(496))
    text = (
        "BUG: TASK stack guard page was hit at 0000000012345678 (stack is 1234..5678)\n"
        "CPU: 0 PID: 29 Comm: busybox Tainted: G           O       6.1.192 #1\n"
        "RIP: 0010:audit_branch+0x0/0x20 [ledger]\n"
        f"Call Trace:\n <TASK>\n{turns} commit_deep+0x7/0x10 [ledger]\n param_attr_store+0x57/0x90\n"
        " ksys_write+0x56/0xd0\n do_syscall_64+0x2b/0x50\n </TASK>\nModules linked in: ledger(O)\n"
    )
    (report,) = parse([text.encode()])
    assert report.title == "BUG: stack guard page was hit in commit_deep"
