"""Source files whose functions the search for the suspect function skips.

A function is a helper because of the file that defines it: code that serves every subsystem crashes because
of its arguments. Each rule has a reason, which a report gives for every skipped frame, and glob patterns of
files in the kernel's tree. :mod:`kpanic.grammars.data.generate` applies the rules to kernel sources and
writes ``helpers.tsv``; a file that two rules match belongs to the first.

General code with state of its own is not a helper: if the scheduler, the page allocator's free lists, a radix
tree or RCU's callbacks are corrupt, no caller is a better suspect. syzbot names such functions too.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kpanic.grammars.data import reasons


class Rule(Struct, frozen=True):
    """A kind of helper, by the files that define it."""

    name: str
    """Name of the rule in the table."""
    reason: str
    """Why its functions are skipped: a predicate, which reports contain."""
    files: str
    """Glob patterns, separated by white space; ``*`` stops at a slash, ``**`` does not."""
    interface: str = ""
    """Glob patterns of headers: only functions that they declare are helpers, with or without leading
    underscores; the other functions work on state of the file. Empty if all functions are helpers."""
    leaf: bool = False
    """Whether its functions call no others, so that the link register still points into their caller."""
    last_resort: bool = False
    """Whether the first such function is the suspect function if no other frame is left."""


RULES: Final = (
    Rule(
        "sanitizer",
        reasons.SANITIZER,
        """
            mm/kasan/*.c mm/kasan/*.h mm/kmsan/* mm/kfence/*.c kernel/kcsan/*.c lib/ubsan.c
            kernel/kcov.c include/linux/kasan*.h include/linux/kcsan*.h include/linux/kmsan*.h
            include/linux/kfence.h include/linux/instrumented.h
        """,
    ),
    Rule(
        "debugging",
        "is a debug check",
        """
            mm/page_owner.c mm/page_ext.c mm/page_poison.c mm/debug.c mm/debug_page_alloc.c
            mm/usercopy.c mm/mmap_lock.c lib/debugobjects.c lib/list_debug.c lib/smp_processor_id.c
            include/linux/debugobjects.h include/linux/page_owner.h include/linux/mmdebug.h
        """,
    ),
    Rule(
        "fault-injection",
        "injects faults",
        """
            lib/fault-inject*.c mm/failslab.c mm/fail_page_alloc.c lib/error-inject.c
            include/linux/fault-inject*.h
        """,
    ),
    Rule(
        "stack",
        reasons.WALKS,
        """
            lib/dump_stack.c lib/stackdepot.c lib/nmi_backtrace.c kernel/stacktrace.c
            arch/*/kernel/dumpstack*.c arch/*/kernel/stacktrace*.c include/linux/stackdepot.h
        """,
    ),
    Rule(
        "panic",
        reasons.STOPS,
        """
            kernel/panic.c lib/bug.c
        """,
    ),
    Rule(
        "watchdog",
        reasons.REPORTS,
        """
            kernel/watchdog*.c kernel/hung_task.c kernel/rcu/tree_stall.h
        """,
    ),
    Rule(
        "printk",
        "prints messages of its callers",
        """
            kernel/printk/*.c kernel/printk/*.h kernel/printk.c include/linux/printk.h
            include/linux/dev_printk.h lib/dynamic_debug.c
        """,
    ),
    Rule(
        "text",
        "formats text",
        """
            lib/vsprintf.c lib/kasprintf.c lib/hexdump.c lib/kstrtox.c lib/seq_buf.c
        """,
    ),
    Rule(
        "lockdep",
        "is lockdep",
        """
            kernel/locking/lockdep* kernel/lockdep* include/linux/lockdep*.h lib/debug_locks.c
        """,
    ),
    Rule(
        "locking",
        reasons.LOCKS,
        """
            kernel/locking/*.c kernel/locking/*.h kernel/rtmutex*.c kernel/rwsem.c kernel/mutex*.c
            drivers/tty/tty_ldsem.c fs/reiserfs/lock.c kernel/semaphore.c kernel/spinlock.c
            lib/spinlock_debug.c lib/rwsem*.c
            include/linux/*spinlock*.h include/linux/*rwlock*.h include/linux/*seqlock*.h
            include/linux/*mutex*.h include/linux/*rwsem*.h include/linux/osq_lock.h
            include/linux/local_lock*.h include/linux/mmap_lock.h include/linux/hwspinlock.h
            include/linux/semaphore.h include/asm-generic/*lock*.h arch/*/include/asm/*spinlock*.h
            arch/*/include/asm/*rwlock*.h arch/*/include/asm/qspinlock*.h
            arch/x86/kernel/paravirt-spinlocks.c arch/*/lib/*lock*.c arch/*/lib/*lock*.S
            arch/powerpc/lib/qspinlock.c
        """,
    ),
    Rule(
        "completion",
        "wakes tasks or waits for them",
        """
            kernel/sched/completion.c include/linux/completion.h
        """,
    ),
    Rule(
        "context",
        "enters or leaves a critical section",
        """
            include/linux/bottom_half.h include/linux/irqflags.h include/linux/preempt.h
            include/asm-generic/preempt.h include/asm-generic/irqflags.h
            arch/*/include/asm/irqflags.h arch/*/include/asm/preempt.h
            kernel/trace/trace_preemptirq.c include/linux/rcupdate*.h include/linux/srcu*.h
            include/linux/rcutiny.h include/linux/rcutree.h include/linux/percpu-defs.h
            arch/*/include/asm/percpu.h include/asm-generic/percpu.h
        """,
    ),
    Rule(
        "counting",
        "counts for its callers",
        """
            lib/refcount.c lib/rcuref.c lib/dec_and_lock.c lib/atomic64.c lib/ref_tracker.c
            lib/percpu_counter.c include/linux/*refcount*.h include/linux/kref.h
            include/linux/rcuref.h include/linux/ref_tracker.h include/linux/atomic*.h
            include/linux/atomic/*.h include/asm-generic/*atomic*.h include/asm-generic/cmpxchg*.h
            arch/*/include/asm/*atomic*.h arch/*/include/asm/cmpxchg*.h arch/*/lib/*atomic*
            lib/cmpxchg-emu.c
        """,
    ),
    Rule(
        "lists",
        "links list entries for its callers",
        """
            include/linux/*list*.h lib/llist.c lib/plist.c lib/klist.c lib/list_sort.c lib/sort.c
            lib/bsearch.c
        """,
    ),
    Rule(
        "trees",
        "stores entries for its callers",
        """
            lib/rbtree.c include/linux/rbtree*.h
        """,
    ),
    Rule(
        "bits",
        "works on bitmaps of its callers",
        """
            lib/find_bit.c lib/bitmap*.c lib/hweight.c lib/cpumask.c include/linux/bitops.h
            include/linux/bitmap.h include/linux/find.h include/linux/cpumask.h
            include/linux/nodemask.h include/asm-generic/bitops/*.h arch/*/include/asm/bitops*.h
            arch/*/lib/bitops*.c arch/*/lib/*bit*.S arch/*/lib/find*.c
        """,
        leaf=True,
    ),
    Rule(
        "memory",
        "works on memory of its callers",
        """
            lib/string*.c lib/memcat_p.c lib/memweight.c lib/ctype.c lib/siphash.c
            include/linux/string*.h include/linux/fortify-string.h include/linux/unaligned*.h
            include/asm-generic/unaligned.h arch/*/include/asm/string*.h arch/*/lib/mem*
            arch/*/lib/str* arch/*/lib/xor*
        """,
        leaf=True,
    ),
    Rule(
        "checksums",
        "computes for its callers",
        """
            lib/crc* lib/crc/* lib/checksum.c arch/*/lib/csum* arch/*/lib/checksum* arch/*/lib/*crc*
            lib/xxhash.c include/linux/crc*.h include/asm-generic/checksum.h
            arch/*/include/asm/checksum*.h arch/*/lib/div* lib/math/*.c lib/crypto/chacha*.c
        """,
        leaf=True,
    ),
    Rule(
        "user-copies",
        "copies memory for its callers",
        """
            lib/usercopy.c lib/strn*_user.c include/linux/uaccess.h include/asm-generic/uaccess.h
            include/linux/sockptr.h arch/*/include/asm/uaccess*.h arch/*/lib/*user*
            arch/*/lib/copy_* arch/*/lib/uaccess*
        """,
        leaf=True,
    ),
    Rule(
        "registers",
        "accesses device registers for its callers",
        """
            lib/iomap*.c lib/logic_*.c lib/iomem*.c lib/trace_readwrite.c include/asm-generic/io*.h
            include/asm-generic/logic_io.h include/linux/io.h include/linux/io-64*.h
            include/linux/logic_pio.h arch/*/include/asm/io.h arch/*/include/asm/io_*.h
            arch/*/kernel/io.c arch/*/lib/io*.c arch/*/lib/io*.S arch/*/lib/delay* lib/iomap_copy.c
        """,
        leaf=True,
    ),
    Rule(
        "allocators",
        "allocates or frees memory for its callers",
        """
            mm/util.c mm/vmalloc.c mm/page_alloc.c mm/mempool.c mm/dmapool.c mm/percpu.c mm/nommu.c
            mm/page_frag*.c
        """,
        interface="""
            include/linux/slab.h include/linux/gfp*.h include/linux/vmalloc.h include/linux/percpu.h
            include/linux/mempool.h include/linux/dmapool.h include/linux/string.h
        """,
    ),
    Rule(
        "allocators",
        "allocates or frees memory for its callers",
        """
            mm/slab.c mm/slub.c mm/slob.c mm/slab_common.c mm/slab.h include/linux/slab.h
            include/linux/gfp*.h include/linux/vmalloc.h include/linux/alloc_tag.h
            include/linux/percpu.h include/linux/mempool.h include/linux/overflow.h
        """,
    ),
    Rule(
        "pages",
        "looks up pages for its callers",
        """
            include/linux/page_ref.h include/linux/page-flags.h include/linux/pfn*.h
            include/linux/mmzone.h include/linux/mm.h include/asm-generic/memory_model.h
            arch/*/include/asm/page*.h arch/*/mm/physaddr.c include/linux/highmem*.h
        """,
    ),
    Rule(
        "work-queues",
        "queues work for its callers",
        """
            kernel/workqueue.c
        """,
        interface="include/linux/workqueue.h",
    ),
    Rule(
        "work-queues",
        "queues work for its callers",
        """
            include/linux/workqueue.h
        """,
    ),
    Rule(
        "timers",
        "manages timers for its callers",
        """
            include/linux/timer.h
        """,
    ),
    Rule(
        "objects",
        "manages kobjects for its callers",
        """
            lib/kobject*.c include/linux/kobject*.h drivers/base/map.c
        """,
    ),
    Rule(
        "devices",
        "manages devices for its callers",
        """
            drivers/base/core.c drivers/base/devres.c drivers/base/class.c
            drivers/base/power/sysfs.c lib/devres.c include/linux/device.h include/linux/device/*.h
        """,
    ),
    Rule(
        "compiler",
        "is generated by the compiler",
        """
            arch/*/lib/retpoline.S arch/*/kernel/cfi.c kernel/cfi.c
        """,
    ),
    Rule(
        "general",
        "is too general to be the suspect function",
        """
            include/linux/err.h include/linux/compiler*.h include/linux/kernel.h
            include/linux/jump_label*.h include/linux/ktime.h include/linux/math*.h
            include/linux/log2.h include/linux/hash.h include/linux/minmax.h
            include/linux/container_of.h include/asm-generic/*.h
        """,
    ),
    Rule(
        "traps",
        "handles the exception",
        """
            arch/*/kernel/traps*.c arch/*/mm/extable.c lib/extable.c kernel/extable.c
            arch/*/kernel/nmi.c arch/arm64/kernel/debug-monitors.c arch/s390/kernel/pgm_check.S
        """,
    ),
    Rule(
        "faults",
        "handles the exception",
        """
            arch/*/mm/fault*.c arch/*/kernel/entry*.S arch/*/kernel/entry*.c arch/x86/entry/*.S
            arch/*/kernel/*exception*.S arch/*/kernel/genex.S arch/*/mm/tlbex*.S
            arch/powerpc/kernel/interrupt*
        """,
        last_resort=True,
    ),
)
"""The kinds of helpers."""

IGNORED: Final = """
    tools/** scripts/** **/tools/** drivers/video/logo/** lib/gen_* samples/** Documentation/**
    usr/** certs/** arch/*/boot/** arch/*/purgatory/** **/vdso/** arch/*/realmode/** arch/um/**
    drivers/firmware/efi/libstub/** lib/test*.c lib/*test*.c lib/*kunit* lib/raid6/**
    lib/decompress* lib/dhry* arch/*/math-emu/** arch/*/lib/*test* **selftest**
    kernel/locking/*torture* kernel/locking/test-* mm/kasan/*test* mm/kfence/*test* mm/kmsan/*test*
    kernel/kcsan/*test* **/tests/** arch/*/kernel/vdso** drivers/misc/lkdtm/**
"""
"""Files that are not part of the running kernel: programs, boot loaders, tests."""

SUSPECTS: Final = (
    (
        "annotates memory reclaim for lockdep: it is one side of the lock order itself",
        "fs_reclaim_acquire fs_reclaim_release",
    ),
    (
        "accesses pages whose memory may be faulty",
        "clear_page copy_page",
    ),
    (
        "works on slabs long after their use: a corrupt freelist is detected there",
        """
            deactivate_slab put_cpu_partial put_partials __put_partials unfreeze_partials
            __unfreeze_partials flush_cpu_slab flush_all __flush_cpu_slab drain_alien_cache drain_array
            cache_reap free_block
        """,
    ),
)
"""Functions of the files above that are not helpers: a reason, and names."""
