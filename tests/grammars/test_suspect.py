"""Who is passed over, and where the walk down a stack ends."""

from __future__ import annotations

import pytest

from kpanic.grammars import parse
from kpanic.grammars.data.skip import SKIP
from kpanic.grammars.names import Names
from kpanic.grammars.suspect import bare

RULES = Names(SKIP)
HELPERS = """
__asan_load8 kasan_report check_memory_region kmsan_copy_to_user __ubsan_handle_out_of_bounds
memcpy_orig strlcpy strncpy_from_user _copy_from_iter copy_user_generic_unrolled
csum_partial_copy_generic __kmalloc_node_track_caller_noprof kmem_cache_free ___slab_alloc kvfree
alloc_pages_mpol krealloc_noprof _raw_spin_lock_irqsave native_queued_spin_lock_slowpath
__mutex_lock_slowpath down_write_nested rwsem_wake __list_add_valid_or_report hlist_add_head_rcu
rb_insert_color xas_find bitmap_weight __set_bit_wrapper refcount_warn_saturate kref_get
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
    assert RULES.reason(function)


@pytest.mark.parametrize("function", OTHERS.split())
def test_what_only_looks_like_a_helper_is_not(function: str) -> None:
    assert not RULES.reason(function)


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
