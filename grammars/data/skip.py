"""Functions that notice a crash and do not cause it: passed over when the guilty one is looked for.

Each entry is a reason, which a report gives for every frame passed over, and regular expressions that are
searched in
the function's name without compiler suffixes.
"""

from __future__ import annotations

from typing import Final

HELPERS: Final[tuple[tuple[str, str], ...]] = (
    (
        "prints the trace",
        (
            "^dump_stack ^unwind_backtrace ^show_stack ^show_regs ^show_registers ^show_trace ^__dump_stack"
            " ^dump_backtrace ^dump_trace"
        ),
    ),
    (
        "walks the stack",
        ("stack_trace ^save_trace ^walk_stackframe ^arch_stack_walk ^__save_stack ^stack_depot ^depot_"),
    ),
    (
        "ends the system when told to",
        "panic ^print_tainted ^check_panic",
    ),
    (
        "reports what others found",
        "warn_slowpath ^__warn ^warn_bogus ^report_bug ^fixup_bug ^handle_bug ^warn_alloc ^__report_bug",
    ),
    (
        "prints what others say",
        (
            "printk ^vprintk va_format"
            " ^dev_(?:info|notice|warn|err|alert|crit|emerg|vprintk) ^netdev_(?:info|warn|err) ^_dev_"
        ),
    ),
    (
        "formats text",
        (
            "snprintf scnprintf ^put_dec ^number$ ^sprintf ^vsprintf k?v?asprintf ^format_decode"
            " ^string(?:_nocheck)?$ _string$ pointer$ hex_dump"
        ),
    ),
    (
        "is part of a sanitizer",
        "__sanitizer __asan kasan hwasan __msan kmsan kcsan kfence __tsan ubsan ^__hwasan",
    ),
    (
        "prints a report",
        (
            " ^print_(?:address|report|usage|circular|deadlock|bad|unlock|lock|irq)"
            " ^print_(?:shadow|track|collision|held)"
            " ^describe_ ^end_report ^start_report"
        ),
    ),
    (
        "checks memory for others",
        (
            "^check_memory_region ^memory_is_ ^__?check_(?:object|heap) ^read_word_at_a_time"
            " (?:read|write)_once_.*nocheck ^instrument_"
        ),
    ),
    (
        "handles the exception",
        (
            "^do_error_trap"
            " ^do_(?:trap|general_protection|divide_error|invalid_op|int3|page_fault|double_fault|"
            "stack_segment|alignment)"
            " ^exc_ ^asm_exc_ ^invalid_op$ _trap$ ^error_entry ^die$ ^__die ^oops_ ^no_context ^page_fault$"
            " ^async_page_fault ^general_protection$ ^divide_error$ ^int3$ ^stack_segment$"
            " ^do_user_addr_fault"
            " ^do_kern_addr_fault ^__do_page_fault ^kernelmode_fixup ^math_error ^do_int3"
        ),
    ),
    (
        "handles the exception on powerpc",
        (
            "^program_check ^do_program_check ^_exception ^bad_page_fault ^handle_page_fault ^do_hash_fault"
            " ^data_access ^instruction_access ^alignment_"
        ),
    ),
    (
        "handles the exception on arm",
        (
            " ^do_(?:DataAbort|PrefetchAbort|undefinstr|mem_abort|bad_area|sea|translation_fault|"
            "alignment|debug|el1_undef|tag_check_fault|tag_recovery)"
            " ^el[01]_(?!irq) ^el[01][th]_ ^die_kernel_fault ^__do_kernel_fault ^brk_handler ^bug_handler"
            " ^call_(?:undef|break)_hook ^vector_ ^arm_notify_die ^__exception"
        ),
    ),
    (
        "handles the exception on riscv or s390",
        "^do_trap_ ^pgm_check ^do_protection ^do_dat_exception ^__do_pgm_check ^monitor_event ^illegal_op",
    ),
    (
        "checks the context for others",
        "^___?might_ ^__might ^might_",
    ),
    (
        "checks objects for others",
        (
            "debug_object ^debug_print_object debug_check_no ^(?:timer|work|hrtimer|"
            "rcuhead)_is_static_object"
            " ^timer_fixup ^work_fixup"
        ),
    ),
    (
        "is lockdep",
        (
            "lockdep ^lock_acquire ^lock_release"
            " ^__?lock_(?:acquire|release|is_held|set_class|pin|unpin|repin) ^register_lock_class"
            " ^reacquire_held ^validate_chain ^mark_lock ^mark_held ^mark_usage"
            " ^check_(?:prev|deadlock|noncircular|usage|irq_usage|wait_context|flags|chain|path|redundant)"
            " ^look_up_lock ^find_held_lock ^lock_downgrade ^trace_hardirqs ^trace_softirqs ^hlock ^add_lock"
            " ^assign_lock_key ^save_trace ^walk_stackframe ^match_held_lock ^__lock_(?:set|downgrade)"
        ),
    ),
    (
        "traces others",
        (
            "perf_trace ^trace_event_raw ^trace_event_buffer ^__traceiter ^__bpf_trace "
            "^bpf_trace_run"
            " ^trace_raw_output ^mcount ^fentry"
        ),
    ),
    (
        "injects faults",
        "^should_fail ^should_failslab ^fail_dump fault_inject",
    ),
    (
        "checks memory for others",
        "^__stack_chk_fail ^__fortify fortify_panic ^__fortify_report",
    ),
    (
        "prints other tasks",
        (
            "^nmi_ ^arch_trigger _cpu_backtrace cpumask_backtrace ^sched_show_task ^_sched_show"
            " ^show_state ^dump_cpu_task ^rcu_dump ^watchdog_overflow ^hardlockup"
        ),
    ),
    (
        "panics for others",
        r"rust_helper ^<?(?:core|alloc|__rustc):: rust_begin_unwind ^rust_panic",
    ),
    (
        "allocates pages",
        (
            "alloc_page ^alloc_frozen ^__alloc_frozen ^__?get_free_page ^get_zeroed_page"
            " ^folio_alloc ^filemap_alloc_folio"
            " ^alloc_(?:slab|frozen) ^vma_alloc ^__folio_alloc"
        ),
    ),
    (
        "allocates memory",
        (
            "k?v?(?:m|z|c)alloc ^krealloc ^kvrealloc ^kmemdup ^memdup ^vmemdup ^kstrdup ^kmem_cache"
            " ^allocate_slab ^new_slab ^slab_ ^___slab ^__slab ^__kmem ^kmem_getpages"
            " ^_*cache_(?:alloc|grow|flush|free) ^fallback_alloc ^poison_ ^set_track ^discard_slab ^shuffle_"
            " ^memcg_slab ^setup_object"
            " ^post_alloc_hook ^get_partial ^cmpxchg_double_slab ^alloc_from_pcs ^init_object"
        ),
    ),
    (
        "frees what it is told to",
        (
            "^kfree$ ^kfree_(?:sensitive|const) ^kvfree ^__?free_pages ^free_large"
            " ^kzfree ^free_to_partial ^__free_slab"
            " ^__kfree(?!_skb) ^do_slab_free ^sheaf"
        ),
    ),
    (
        "works on the memory that it is given",
        (
            "^(?:__)?mem(?:chr|cmp|cpy|move|scan|set|zero|cmp_exit) ^bcmp$ ^__?memcpy ^memcpy_"
            " ^str(?:cat|chr|cmp|cpy|cspn|lcat|lcpy|len|n|pbrk|rchr|reverse|scpy|sep|spn|str|im|case)"
            " ^sized_strscpy ^__str(?:len|n|cpy) ^skip_spaces ^rep_movs ^rep_stos"
            " ^__arch_mem ^__pi_mem ^__pi_str ^memzero"
        ),
    ),
    (
        "copies for others",
        (
            "copy_(?:from|to|in)_user ^_copy_ ^__copy_ ^__arch_copy ^copy_user ^raw_copy ^csum_and_copy"
            " ^csum_partial ^strn(?:cpy|len)_(?:from_)?user ^__?clear_user"
            r" ^__?(?:get|put)_user(?:_nocheck)?(?:_\d)?$ copyin"
            " copyout"
            " ^simple_copy_to_iter ^copy_(?:page_)?(?:from|to)_iter ^_copy_(?:from|to)_iter"
            " usercopy ^__check_object_size ^check_(?:copy|bogus|kernel) ^instrument_copy"
            " ^user_access copy_folio_to_iter ^extract_(?:user|iter)_to_sg"
        ),
    ),
    (
        "locks for others",
        (
            "spin_(?:lock|unlock|trylock|bug|dump|is) ^do_raw_ ^_raw_ ^queued_ ^__pv_queued "
            "^native_queued"
            " ^arch_(?:spin|read|write) ^ticket_ ^rt_spin ^virt_spin ^__read_lock ^__write_lock ^spin_"
        ),
    ),
    (
        "locks for others",
        "(?:read|write)_(?:lock|unlock|trylock) ^qrwlock ^rwlock_",
    ),
    (
        "locks for others",
        (
            r"^(?:__)?(?:down|up)(?:_read|_write|_trylock|_interruptible|_killable|_timeout)?(?:_\w+)?$"
            " ^(?:__)?down_ ^(?:__)?up_ ^rwsem_ ^(?:__)?percpu_(?:down|up) ^call_rwsem"
        ),
    ),
    (
        "locks for others",
        ("^_?_?mutex_ ^__ww_mutex ^ww_mutex ^rt_mutex_ ^osq_ ^owner_on_cpu"),
    ),
    (
        "locks for others",
        "^seqcount ^read_seq ^write_seq seqlock ^__seqprop ",
    ),
    (
        "counts for others",
        (
            r" ^(?:raw_)?(?:arch_)?(?:atomic|atomic64|atomic_long)_(?:\w+_)?(?:dec|inc|read|set|or|"
            "xor|and|add|sub|fetch|xchg|cmpxchg|try|long)"
            " ^arch_(?:atomic|cmpxchg|xchg|local) ^cmpxchg ^__?xchg ^llist_"
        ),
    ),
    (
        "counts for others",
        "refcount ^kref_ ^ref_tracker ",
    ),
    (
        "marks sections of RCU",
        (" ^rcu_(?:read_lock|read_unlock|is_watching|lockdep) ^__rcu_read"),
    ),
    (
        "guards a section",
        (
            "bh_(?:enable|disable) ^(?:raw_|arch_)?local_(?:irq|bh) ^preempt_"
            " ^trace_preempt ^__preempt ^debug_smp_processor ^check_preemption"
            " ^smp_processor_id ^this_cpu_ ^__this_cpu"
        ),
    ),
    (
        "links what it is given",
        "^_?_?list_(?:add|del|replace|move|splice|cut) ^hlist_ ^plist_ ^klist_",
    ),
    (
        "works on the bits that it is given",
        (
            r"^(?:__)?(?:test|set|clear|change)_(?:and_\w+_)?bit ^find_\w*bit ^_?find_(?:next|first|last)"
            " ^_*bitmap_(?:zero|fill|copy|set|clear|weight|and|or|xor|equal|empty|full|subset|find)"
            " ^variable_test ^constant_test ^_find_ ^hweight ^__sw_hweight "
        ),
    ),
    (
        "keeps what others store",
        (
            "^rb_(?!_) ^__rb_ ^xas_(?:start|load|find|next|prev) ^_*rhashtable_lookup ^rht_(?!deferred)"
            " ^ida_free"
        ),
    ),
    (
        "is made by the compiler",
        (
            "^_indirect_thunk indirect_jump_ ^__x86_indirect ^__x86_return ^retbleed ^srso_ ^entry_ibpb"
            " ^__cfi_ _cfi_ ^__ubsan"
        ),
    ),
    (
        "keeps kobjects for others",
        "^kobject_ ^kset_ ^kobj_",
    ),
    (
        "finds the page of others",
        (
            "compound_head ^virt_to_(?:head|page|cache|slab|folio) ^page_(?:to|address|mapcount|ref)"
            " ^(?:get|put)_page$ ^folio_(?:get|put|ref|flags|test|try) ^try_get_page ^page_folio"
            " ^set_page_owner"
            " ^__?put_page ^pfn_ ^phys_addr ^__phys ^__virt"
        ),
    ),
    (
        "looks things up for others",
        "^vma_is ^mem_section ^static_branch",
    ),
    (
        "wakes and waits for others",
        (
            "^(?:__)?wake_up ^wait_for_completion ^__wait_for ^wait_for_common ^do_wait_for"
            " ^complete(?:_all)?$ ^swake_ ^autoremove_wake ^default_wake ^finish_wait$ ^kthread_stop"
            " ^_*kthread_(?:create|cancel|flush|queue)"
        ),
    ),
    (
        "queues work for others",
        (
            " ^(?:__)?(?:flush|cancel|drain|queue|insert|mod|destroy|"
            "try_to_grab)_(?:delayed_)?(?:work|workqueue|pending)"
            " ^__?cancel_work ^flush_(?:work|delayed) ^start_flush_work ^grab_pending "
            " ^schedule_work ^mod_delayed ^schedule_delayed"
        ),
    ),
    (
        "keeps timers for others",
        (
            "^(?:__)?(?:del|mod|try_to_del|detach|timer)_?(?:timer|delete|shutdown|pending|reduce)"
            " ^lock_timer_base ^internal_add_timer "
            " ^timer_delete ^__timer_delete"
            " ^timer_shutdown ^sk_stop_timer"
        ),
    ),
    (
        "submits what others fill in",
        "^usb_(?:submit_urb|kill_(?:anchored_)?urb|control_msg|hcd_submit_urb) _urb_enqueue$",
    ),
    (
        "keeps devices for others",
        (
            " ^device_(?:release$|add|del|create|register|unregister|release_driver|initial|destroy|"
            r"move|links_\w+|remove|attach|rename)"
            " ^get_device_parent ^(?:get|put)_device$ ^device_for_each"
            " ^add_uevent_var ^devres_ ^sysfs_remove"
            " ^tty_unregister_device ^hwrng_unregister ^i2c_del_adapter"
        ),
    ),
    (
        "registers network devices for others",
        "^rollback_registered ^unregister_netdev ",
    ),
    (
        "handles packets for others",
        ("^kfree_skb ^__kfree_skb ^sk_skb_reason"),
    ),
    (
        "computes what it is asked to",
        r"^crc\d ^crc_ ^__crc ^chacha_ ",
    ),
    (
        "handles pages for others",
        (
            "^(?:un)?lock_(?:page|buffer) ^folio_(?:lock|unlock|wait|mark|end|add_lru) ^__folio_lock"
            " ^unlock_page ^find_(?:lock|get)_entries ^truncate_inode_pages ^mark_buffer_dirty"
            " ^filemap_(?:get_entry|get_folio) ^__filemap_get_folio ^find_or_create_page ^pagecache_get_page"
            " ^do_read_cache ^read_cache_page ^grab_cache_page"
        ),
    ),
    (
        "drops what others held",
        "^(?:fast_)?dput ^iput(?:_final)?$ ^ihold$ ^drop_nlink$ ^cleanup_srcu",
    ),
    (
        "asserts for others",
        (
            "^(?:[a-z]+_)?assertfail ^__assert ^asserting ^ass(?:fail|warn)$ ^lbug_with_loc ^libcfs_assertion"
            " ^spl_(?:panic|dumpstack)"
        ),
    ),
    (
        "is too general to blame",
        (
            "^IS_ERR ^ERR_ ^PTR_ ^unlikely ^__builtin ^get_current ^task_(?:pid|tgid) "
            " ^is_vmalloc ^__delay ^delay_ ^__const_udelay ^__udelay ^ktime_(?:add|sub) ^cpu_relax"
            r" ^logic_(?:in|out) (?:read|write)[bwlq]$ ^__(?:in|out)[bwl]$ ^io(?:read|write)\d ^rep_nop"
        ),
    ),
)
"""A reason, and patterns with a space between them."""
SKIP: Final = tuple(("|".join(patterns.split()), reason) for reason, patterns in HELPERS)
"""One pattern for each reason."""
