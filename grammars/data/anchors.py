"""Functions at which one piece of work ends and the next begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex

if TYPE_CHECKING:
    import re

PREFIXES: Final = (
    "__x64_",
    "__ia32_",
    "__arm64_",
    "__riscv_",
    "__s390x_",
    "__s390_",
    "SYSC_",
    "SyS_",
    "sys_",
    "____sys_",
    "___sys_",
    "__sys_",
    "__se_sys_",
    "__se_",
    "__do_sys_",
    "ksys_",
    "compat_SYSC_",
    "compat_SyS_",
)
"""Prefixes of the functions of system calls, by release and machine (include/linux/syscalls.h)."""

DISPATCHERS: Final[tuple[tuple[str, str], ...]] = (
    (
        "runs work queues",
        "process_one_work process_scheduled_works worker_thread",
    ),
    (
        "enters system calls on x86",
        (
            "do_syscall_ do_fast_syscall_ do_int80_ sysenter_dispatch tracesys_phase2 entry_SYS"
            r" system_call_fastpath stub_\w+"
        ),
    ),
    (
        "enters system calls on other machines",
        (
            "el0_svc el0_sync invoke_syscall ret_fast_syscall ^__sys_trace_return system_call_common"
            " system_call_exception ^__do_syscall ^system_call$ handle_syscall ^do_trap_ecall"
            " sysc_"
        ),
    ),
    (
        "hands packets up",
        "netif_receive_skb",
    ),
    (
        "runs softirqs",
        "do_softirq ^handle_softirqs ^__softirq ^run_ksoftirqd ^irq_exit",
    ),
    (
        "runs timers",
        "call_timer_fn _run_timers run_timer_softirq hrtimer_run ^expire_timers ^run_timer_base",
    ),
    (
        "runs tasklets",
        "tasklet_action tasklet_hi_action",
    ),
    (
        "starts threads",
        (
            "^smpboot_thread_fn ^kthread$ ^kthread_worker_fn ^ret_from_fork ^start_secondary"
            " ^cpu_startup_entry ^do_idle ^kernel_thread_helper ^rest_init"
        ),
    ),
    (
        "calls into files: read, write and ioctl alone are not specific",
        (
            "^_*vfs_(?:write|read|iter_read|iter_write|ioctl|open)"
            " ^do_(?:iter_read|iter_write|iter_readv_writev|loop_readv_writev)"
            " ^do_(?:dentry_open|vfs_ioctl)"
            " ^(?:new|do)_sync_(?:read|write) ^call_(?:read|write)_iter"
            " ^ksys_ioctl ^compat_ksys_ioctl ^__?do_compat_sys_ioctl ^do_compat_ioctl"
        ),
    ),
    (
        "calls into files and sockets",
        (
            "^(?:__)?(?:x64_|ia32_|se_|do_|arm64_|compat_)*(?:compat_)?(?:sys|SyS|SYSC)_"
            "(?:ioctl|connect|socketpair|listen|accept|setsockopt)$"
        ),
    ),
    (
        "calls into block devices",
        "blkdev_(?:driver_)?ioctl compat_ioctl",
    ),
    (
        "maps memory",
        "^call_mmap ^_*mmap_region ^do_mmap ^mmap_file",
    ),
    (
        "brings pages in",
        "^__do_fault ^_*do_page_fault ^page_fault$",
    ),
    (
        "calls into sockets",
        (
            "^sock_(?:sendmsg|recvmsg|release|mmap|ioctl|do_ioctl) ^__sock_release ^sk_common_release"
            " ^sock_common_setsockopt ^do_sock_setsockopt ^kernel_(?:setsockopt|listen|accept)"
        ),
    ),
    (
        "hands netlink messages on",
        "^rtnetlink_rcv_msg ^nfnetlink_rcv_msg ^netlink_dump",
    ),
    (
        "closes files",
        "^__fput ^____fput ^task_work_run ^delayed_fput ^exit_task_work",
    ),
    (
        "goes back to user mode",
        "exit_to_usermode",
    ),
    (
        "initialises",
        "^do_one_initcall ^do_initcall ^kernel_init$ ^kernel_init_freeable",
    ),
    (
        "runs interrupt handlers",
        (
            "^handle_irq_event ^__handle_irq_event ^generic_handle ^handle_(?:edge|fasteoi|level|percpu)"
            " ^do_IRQ ^common_interrupt ^__common_interrupt ^gic_handle_irq"
        ),
    ),
    (
        "runs RCU's callbacks",
        "^rcu_do_batch ^rcu_core ^rcu_process_callbacks ^invoke_rcu ^rcu_nocb_cb ^rcu_reclaim",
    ),
)
"""The purpose of the functions, and patterns of their names, separated by spaces."""
ANCHORS: Final = regex("|".join("|".join(patterns.split()) for _, patterns in DISPATCHERS))

STARTS: Final = regex("|".join(dict(DISPATCHERS)["starts threads"].split()))
"""Functions that start a thread: the frame above them is the thread's main loop."""

INTERRUPTS: Final[tuple[tuple[str, str], ...]] = (
    (
        "enters interrupts on x86",
        """
            apic_timer_interrupt ^asm_(?:sysvec|common) ^(?:common|ret_from)_(?:interrupt|intr) ^retint_
            ^reschedule_interrupt ^call_function_(?:single_)?interrupt ^irq_work_interrupt
        """,
    ),
    ("enters NMIs on x86", "^(?:asm_)?exc_nmi ^end_repeat_nmi ^nmi$"),
    ("enters interrupts on arm", r"^el1_irq ^el1h?_\w*irq ^el1_interrupt ^__irq_svc"),
    ("enters interrupts on powerpc", "^decrementer ^timer_interrupt ^hardware_interrupt"),
    ("enters interrupts on s390", "^ext_int_handler"),
    ("enters interrupts on mips, riscv and others", "^do_irq$ ^handle_exception$ ^ret_from_exception$"),
)
"""The purpose of the functions, and patterns of their names, separated by white space."""
ENTRIES: Final = regex("|".join("|".join(patterns.split()) for _, patterns in INTERRUPTS))
"""Entries of interrupts: the frames below them are of the interrupted code."""

STALL_SKIP: Final[tuple[tuple[str, str], ...]] = (
    (r"^run_timer_softirq|^asm_|^sysvec_|^__sysvec|^smp_\w*apic|^idtentry|^irqentry", "enters an interrupt"),
)
"""Functions that are skipped in stalls, in addition to those that are always skipped."""

GROUPS: Final[tuple[tuple[str, str, str], ...]] = (
    ("smp_call_function", "smp_call_function", "it waits for other CPUs"),
)
"""Functions that are named as a group, because their names depend on the release: beginning, name, reason."""

BLOCKERS: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = (
    (
        regex(r"rtnl_lock|^rtnetlink_rcv_msg"),
        "rtnl_lock",
        "every change to the network configuration takes this lock: a task that waits for it is a victim",
    ),
    (
        regex(r"synchronize_(?:s?rcu|sched|net)"),
        "synchronize_rcu",
        "a grace period waits for all CPUs: a task that waits for it is a victim",
    ),
)
"""Waits that block many tasks at once: the wait is the suspect function; and why."""

WAITING: Final[tuple[tuple[str, str], ...]] = (
    ("gives up the CPU", "sched ^io_schedule context_switch __switch_to"),
    ("waits for a lock", "_lock _slowlock down rwsem mutex"),
    ("waits for an event", "completion wait"),
    ("waits for work or threads", "kthread flush_work cancel_delayed_work"),
    ("waits for a grace period", "synchronize rcu_barrier"),
    ("waits for a page", "^do_read_cache"),
    ("throttles writers for its callers", "^_*rq_qos_"),
    ("waits for a device's answer", "^usb_(?:start_wait|control_msg|bulk_msg|kill_urb)"),
)
"""First functions of a blocked task's stack: a reason, and patterns, separated by spaces."""
WAITS: Final = tuple(("|".join(patterns.split()), reason) for reason, patterns in WAITING)
"""The reasons of ``WAITING``, each with one pattern."""
