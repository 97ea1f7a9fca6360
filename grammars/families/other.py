"""What has a wording of its own but no family, and the last resort: BUG and Oops without a name.

::

    unregister_netdevice: waiting for lo to become free. Usage count = 5
    NETDEV WATCHDOG: eth0 (r8169): transmit queue 0 timed out          before the WARNING; since 6.6 alone
    irq 16: nobody cared (try booting with the "irqpoll" option)       kernel/irq/spurious.c
    i915 0000:00:02.0: [drm] GPU HANG: ecode 9:1:85dffffb, in Xorg [1234]
    [drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=1, emitted seq=3
"""

from __future__ import annotations

from kpanic.grammars.family import Family, Form, head, later

NET = Family(
    name="net",
    literals=("unregister_netdevice: waiting for ", "NETDEV WATCHDOG: "),
    forms=(
        Form(
            head(r"unregister_netdevice: waiting for [^\n]{1,64}? to become free[^\n]*"),
            title="unregister_netdevice: waiting for DEV to become free",
            kind="hang",
            cause="driver",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"NETDEV WATCHDOG: [^\n]*")
            + later(r"WARNING: [^\n]*? (?P<function>dev_watchdog)\+0x", within=2),
            title="WARNING in {function}",
            kind="warning",
            cause="driver",
            walk="only-named",
        ),
        Form(
            head(r"NETDEV WATCHDOG: [^\n]*timed out[^\n]*"),
            title="NETDEV WATCHDOG: transmit queue timed out",
            kind="warning",
            cause="driver",
            walk="none",
            traceless=True,
        ),
    ),
)

IRQ = Family(
    name="irq",
    literals=(": nobody cared (try booting with the ",),
    forms=(
        Form(
            head(r": nobody cared[^\n]*"),
            title="irq NUM: nobody cared",
            kind="warning",
            cause="driver",
            walk="none",
        ),
    ),
)

GPU = Family(
    name="gpu",
    literals=("GPU HANG: ecode ", " timeout, signaled seq="),
    forms=(
        Form(
            head(r"(?:GPU HANG: | timeout, signaled seq=)[^\n]*"),
            title="GPU hang",
            kind="hang",
            cause="driver",
            walk="none",
            traceless=True,
        ),
    ),
)

STACK_WALK = Family(
    name="unwinder",
    literals=("WARNING: kernel stack ",),
    forms=(
        Form(
            head(
                r"WARNING: kernel stack regs at [0-9a-f]+ in [^\n]{1,80}? has bad '(?P<what>[^'\n]+)' "
                r"value[^\n]*"
            ),
            title="WARNING: kernel stack regs has bad '{what}' value",
            kind="warning",
            cause="warning",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"WARNING: kernel stack (?:regs|frame pointer) at [^\n]{1,200}? has bad[^\n]*"),
            title="WARNING: kernel stack regs has bad value",
            kind="warning",
            cause="warning",
            walk="none",
            traceless=True,
        ),
    ),
)

HARNESS = Family(
    name="harness",
    literals=("SYZFAIL: ", "SYZFATAL: ", "trusty: panic"),
    forms=(
        Form(
            head(r"(?P<what>SYZ(?:FAIL|FATAL): [^\n]*)"),
            title="{what}",
            kind="bug",
            cause="explicit-panic",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"trusty: panic \([^)\n]*\):(?: DEBUG)? ASSERT FAILED at \([^)\n]*\): (?P<what>[^\n]+)"),
            title="trusty: ASSERT FAILED: {what}",
            kind="bug",
            cause="explicit-panic",
            walk="none",
            traceless=True,
        ),
        Form(
            head(r"trusty: panic[^\n]*?ASSERT FAILED[^\n]*"),
            title="trusty: ASSERT FAILED:",
            kind="bug",
            cause="explicit-panic",
            corrupted="the secure side's message is in pieces",
        ),
        Form(
            head(r"trusty: panic \([^)\n]*\): (?P<what>[^\n]+)"),
            title="trusty: panic: {what}",
            kind="bug",
            cause="explicit-panic",
            walk="none",
            traceless=True,
        ),
    ),
)

SLAB_PIECES = Family(
    name="slab-pieces",
    literals=("INFO: Allocated in ", "INFO: Freed in ", "INFO: Slab 0x", "INFO: Object 0x"),
    forms=(
        Form(
            head(r"(?P<what>INFO: (?:Allocated|Freed|Slab|Object) [^\n]*)"),
            title="{what}",
            kind="sanitizer",
            cause="slab-corruption",
            corrupted="the report that it belongs to is missing",
        ),
    ),
)

RESET = Family(
    name="reset",
    literals=("SeaBIOS (version",),
    ignore=r"\S.*SeaBIOS",
    ignore_after=r"^\s*$|[Rr]eboot|[Rr]estart|[Pp]ower|[Hh]alt|end Kernel panic|[Ss]hut",
    last=True,
    forms=(
        Form(
            head(r"SeaBIOS \(version[^\n]*"),
            title="unexpected kernel reboot",
            kind="unknown",
            cause="unknown",
            walk="none",
            traceless=True,
        ),
    ),
)

DEVICE = Family(
    name="device",
    literals=("WARNING: ",),
    last=True,
    forms=(
        Form(
            head(r"(?P<what>WARNING: [^\n]+)"),
            title="{what}",
            kind="warning",
            cause="driver",
            walk="none",
            traceless=True,
        ),
    ),
    ignore=r"^(?!\w[\w-]* [\w.:-]*\d: WARNING: )",
)

GENERIC = Family(
    name="generic",
    literals=("BUG: ", "Oops: ", "Oops[#", "[#1]"),
    ignore=r"BUG: KASAN|\bDEBUG: ",
    last=True,
    forms=(
        Form(  # before 5.1 it writes through NULL to crash
            head(r"Oops: 0002 \[#?\d+\][^\n]*") + later(r"sysrq_handle_crash\+0x"),
            title="BUG: unable to handle kernel NULL pointer dereference in {function}",
            kind="oops",
            cause="null-dereference",
            walk="ip",
        ),
        Form(
            head(r"Oops: (?P<code>[0-9a-f]{4}) \[#?\d+\][^\n]*"),
            title="BUG: unable to handle kernel paging request in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
        ),
        Form(  # powerpc
            head(r"Oops: (?P<what>[A-Z][\w ]+), sig: 11 [^\n]*"),
            title="Oops in {function}",
            kind="oops",
            cause="bad-pointer",
            walk="ip",
            detail="{what}",
        ),
        Form(
            head(r"Oops:? ?(?:(?P<code>[0-9a-f]{4,8}) )?\[?#?[^\n]*"),
            title="Oops in {function}",
            kind="oops",
            cause="unknown",
            walk="ip",
        ),
        Form(
            head(r"(?P<what>BUG: [^\n]+)"),
            title="{what}",
            kind="bug",
            cause="unknown",
            walk="trace",
        ),
    ),
)
