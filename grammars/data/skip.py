"""Functions that the search for the suspect function skips by their name.

Most helpers are known by their source file (:mod:`kpanic.grammars.data.helper_files`). This module has the
others: names that macros, compilers and tracers generate, helpers in other files, out-of-tree modules, and
helpers of kernels whose sources are no longer packaged. An entry is a reason, which reports contain for every
skipped frame, and regular expressions that are searched in the function's name without compiler suffixes.
"""

from __future__ import annotations

from typing import Final

from kpanic.grammars.data import reasons

HELPERS: Final[tuple[tuple[str, str], ...]] = (
    (
        reasons.PRINTS,
        r"""
            ^unwind_backtrace
        """,
    ),
    (
        "walks the stack",
        r"""
            stack_trace ^__save_stack ^depot_
        """,
    ),
    (
        reasons.STOPS,
        r"""
            ^_*crash_kexec ^machine_kexec panic
        """,
    ),
    (
        "prints messages of its callers",
        r"""
            printk ^_*netdev_(?:info|notice|warn|err|alert|crit|emerg)
        """,
    ),
    (
        "formats text",
        r"""
            _string$
        """,
    ),
    (
        reasons.SANITIZER,
        r"""
            __asan kasan hwasan __msan kcsan __tsan ^__hwasan
        """,
    ),
    (
        "checks memory accesses",
        r"""
            (?:read|write)_once_.*nocheck
        """,
    ),
    (
        "handles the exception",
        r"""
            ^do_(?:trap|general_protection|divide_error|invalid_op|int3|page_fault|double_fault|stack_segment|alignment)
            ^exc_ ^asm_exc_
        """,
    ),
    (
        "traps for its callers",  # a function on mips, if the compiler does not inline it
        r"""
            ^BUG$
        """,
    ),
    (
        "handles the exception on powerpc",
        r"""
            ^handle_page_fault ^do_hash_fault
        """,
    ),
    (
        "handles the exception on arm",
        r"""
            ^el[01]_(?!irq) ^el[01][th]_
        """,
    ),
    (
        "checks the context",
        r"""
            ^___?might_ ^__might
        """,
    ),
    (
        "checks objects (debugobjects)",
        r"""
            ^(?:timer|work|hrtimer|rcuhead)_is_static_object ^timer_fixup ^work_fixup
        """,
    ),
    (
        "is lockdep",
        r"""
            lockdep
            ^check_(?:prev|deadlock|noncircular|usage|irq_usage|wait_context|flags|chain|path|redundant)
            ^trace_hardirqs
        """,
    ),
    (
        "is a tracing hook",
        r"""
            perf_trace ^trace_event_raw ^trace_event_buffer ^__traceiter ^__bpf_trace ^bpf_trace_run
            ^trace_raw_output ^fentry
        """,
    ),
    (
        "injects faults",
        r"""
            fault_inject
        """,
    ),
    (
        "prints the state of tasks",
        r"""
            ^sched_show_task ^_sched_show ^show_state ^dump_cpu_task
        """,
    ),
    (
        "panics for its callers",
        r"""
            rust_helper ^<?(?:core|alloc|__rustc):: rust_begin_unwind ^rust_panic
        """,
    ),
    (
        "allocates pages",
        r"""
            alloc_page ^alloc_frozen ^__alloc_frozen ^folio_alloc ^filemap_alloc_folio ^vma_alloc
        """,
    ),
    (
        "allocates memory",
        r"""
            ^_*page_frag_(?:alloc|refill) ^_*(?:netdev|napi)_alloc_(?:frag|skb)
            k?v?(?:m|z|c)alloc(?!_to_) ^kvrealloc ^post_alloc_hook ^_*memcg_slab_ ^k?v?memdup
        """,
    ),
    (
        "frees memory for its callers",
        r"""
            ^kvfree ^page_frag_free ^__?free_pages
        """,
    ),
    (
        "works on memory of its callers",
        r"""
            ^rep_stos
        """,
    ),
    (
        "copies memory for its callers",
        r"""
            copy_(?:from|to|in)_user ^_copy_ ^__copy_ copyin copyout ^simple_copy_to_iter
            ^copy_(?:page_)?(?:from|to)_iter ^_copy_(?:from|to)_iter ^(?:csum|hash)_and_copy_
            ^check_object_size usercopy copy_folio_to_iter
            ^extract_(?:user|iter)_to_sg
        """,
    ),
    (
        reasons.LOCKS,
        r"""
            spin_(?:lock|unlock|trylock|bug|dump|is|rq_) ^__pv_queued ^native_queued
            (?:read|write)_(?:lock|unlock|trylock) ^(?:__)?percpu_(?:down|up) ^owner_on_cpu
        """,
    ),
    (
        "counts for its callers",
        r"""
            ^arch_(?:atomic|cmpxchg|xchg|local) refcount
        """,
    ),
    (
        "marks RCU read-side critical sections",
        r"""
            ^rcu_(?:read_lock|read_unlock|is_watching|lockdep) ^__rcu_read
        """,
    ),
    (
        "enters or leaves a critical section",
        r"""
            bh_(?:enable|disable) ^preempt_ ^this_cpu_
        """,
    ),
    (
        "links list entries for its callers",
        r"""
            ^_?_?list_(?:add|del|replace|move|splice|cut)
        """,
    ),
    (
        "works on bitmaps of its callers",
        r"""
            ^(?:__)?(?:test|set|clear|change)_(?:and_\w+_)?bit ^_?find_(?:next|first|last|nth)_
        """,
    ),
    (
        "stores entries for its callers",
        r"""
            ^xas_(?:start|load|find|next|prev) ^_*rhashtable_lookup ^rht_(?!deferred) ^ida_free
        """,
    ),
    (
        "is generated by the compiler",
        r"""
            ^_indirect_thunk indirect_jump_ ^__x86_indirect ^__cfi_
        """,
    ),
    (
        "looks up pages for its callers",
        r"""
            ^__?put_page ^phys_addr
        """,
    ),
    (
        "looks up mappings for its callers",
        r"""
            ^vma_is
        """,
    ),
    (
        "wakes tasks or waits for them",
        r"""
            ^(?:__)?wake_up ^swake_ ^autoremove_wake ^default_wake ^finish_wait$ ^kthread_stop
            ^_*kthread_(?:create|cancel|flush|queue)
        """,
    ),
    (
        "queues work for its callers",
        r"""
            ^(?:__)?(?:flush|cancel|drain|queue|insert|mod|destroy|try_to_grab)_(?:delayed_)?(?:work|workqueue|pending)
            ^__?cancel_work ^start_flush_work
        """,
    ),
    (
        "manages timers for its callers",
        r"""
            ^(?:__)?(?:del|mod|try_to_del|detach|timer)_?(?:timer|delete|shutdown|pending|reduce)
            ^lock_timer_base ^internal_add_timer ^timer_delete ^__timer_delete ^timer_shutdown
            ^sk_stop_timer
        """,
    ),
    (
        "submits requests of its callers",
        r"""
            ^usb_(?:submit_urb|kill_(?:anchored_)?urb|control_msg|hcd_submit_urb) _urb_enqueue$
        """,
    ),
    (
        "manages devices for its callers",
        r"""
            ^device_(?:release$|add|del|create|register|unregister|release_driver|initial|destroy|move|links_\w+|remove|attach|rename)
            ^sysfs_remove ^tty_unregister_device ^hwrng_unregister ^i2c_del_adapter
        """,
    ),
    (
        "registers network devices for its callers",
        r"""
            ^unregister_netdev
        """,
    ),
    (
        "handles packets for its callers",
        r"""
            kfree_skb ^sk_skb_reason
        """,
    ),
    (
        "computes for its callers",
        r"""
            ^crc\d ^chacha_
        """,
    ),
    (
        "handles pages for its callers",
        r"""
            ^(?:un)?lock_(?:page|buffer) ^folio_(?:lock|unlock|wait|mark|end|add_lru) ^__folio_lock
            ^unlock_page ^find_(?:lock|get)_entries ^truncate_inode_pages ^mark_buffer_dirty
            ^filemap_(?:get_entry|get_folio) ^__filemap_get_folio ^find_or_create_page ^pagecache_get_page
            ^do_read_cache ^read_cache_page ^grab_cache_page
        """,
    ),
    (
        "drops references for its callers",
        r"""
            ^(?:fast_)?dput ^iput(?:_final)?$ ^ihold$ ^drop_nlink$ ^cleanup_srcu
        """,
    ),
    (
        "asserts for its callers",
        r"""
            ^(?:[a-z]+_)?assertfail ^__assert ^asserting ^ass(?:fail|warn)$ ^lbug_with_loc ^libcfs_assertion
            ^spl_(?:panic|dumpstack)
        """,
    ),
    (
        "is too general to be the suspect function",
        r"""
            ^unlikely ^get_current ^task_(?:pid|tgid) ^cpu_relax ^logic_(?:in|out) ^__(?:in|out)[bwl]$
            ^rep_nop
        """,
    ),
)
"""A reason, and patterns, separated by white space."""
OLDER: Final[tuple[tuple[str, str], ...]] = (
    (
        reasons.REPORTS,
        r"""
            ^warn_alloc warn_slowpath ^fixup_bug
        """,
    ),
    (
        "prints messages of its callers",
        r"""
            ^dev_(?:info|notice|warn|err|alert|crit|emerg|vprintk)
        """,
    ),
    (
        "handles the exception",
        r"""
            ^invalid_op$ ^page_fault$ ^async_page_fault ^do_async_page_fault ^trace_(?:do_)?page_fault
            ^general_protection$ ^divide_error$ ^int3$ ^stack_segment$
        """,
    ),
    (
        "traps for its callers",  # a function on mips, if the compiler does not inline it
        r"""
            ^BUG$
        """,
    ),
    (
        "handles the exception on powerpc",
        r"""
            ^data_access ^instruction_access
        """,
    ),
    (
        "handles the exception on arm",
        r"""
            ^__exception
        """,
    ),
    (
        "is lockdep",
        r"""
            ^trace_softirqs
        """,
    ),
    (
        "allocates memory",
        r"""
            ^kmem_cache
        """,
    ),
    (
        "frees memory for its callers",
        r"""
            ^kzfree
        """,
    ),
    (
        "works on memory of its callers",
        r"""
            ^memcpy_ ^__arch_mem
        """,
    ),
    (
        reasons.LOCKS,
        r"""
            ^__read_lock ^__write_lock ^(?:__)?down_ ^(?:__)?up_ ^_*rwsem_ ^rt_spin_ ^call_rwsem
        """,
    ),
    (
        "enters or leaves a critical section",
        r"""
            ^smp_processor_id
        """,
    ),
    (
        "queues work for its callers",
        r"""
            ^grab_pending
        """,
    ),
    (
        "registers network devices for its callers",
        r"""
            ^rollback_registered
        """,
    ),
)
"""The same for kernels before 5.10 (2.6.18 to 5.9)."""
SKIP: Final = tuple(("|".join(patterns.split()), reason) for reason, patterns in (*HELPERS, *OLDER))
"""The reasons, each with one pattern."""
