"""panic() with a reason of its own (kernel/panic.c and whoever calls it).

::

    Kernel panic - not syncing: sysrq triggered crash
    Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b
    Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: f+0x1/0x2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars.family import FUNCTION, Family, Form, head

if TYPE_CHECKING:
    from kpanic.grammars.family import Walk

_PANIC: Final = r"Kernel panic - not syncing:[ \n]{0,2}\s*"


def _panic(  # noqa: PLR0913 - one line a reason
    pattern: str,
    title: str,
    cause: str,
    *,
    walk: Walk = "none",
    function: str = "",
    corrupted: str = "",
    traceless: bool = False,
) -> Form:
    """Return the form of one reason."""
    return Form(
        head(_PANIC + pattern),
        title=f"kernel panic: {title}",
        kind="panic",
        cause=cause,
        walk=walk,
        fatal=True,
        function=function,
        corrupted=corrupted,
        traceless=traceless,
    )


_LOST: Final = "it follows from a report that is missing"

SERROR = Family(  # arch/arm64/kernel/traps.c prints where the CPU was before it panics
    name="serror",
    literals=("SError Interrupt on CPU",),
    forms=(
        Form(
            head(r"SError Interrupt on CPU\d+, code 0x[0-9a-f]+ -- (?P<what>[^\n]*)"),
            title="kernel panic: Asynchronous SError Interrupt",
            kind="panic",
            cause="machine-check",
            walk="none",
            fatal=True,
        ),
    ),
)

PANIC = Family(
    name="panic",
    literals=("Kernel panic - not syncing:", "Kernel panic -not syncing:"),
    ignore=r"---\[ end Kernel panic",
    forms=(
        _panic(
            (
                rf"stack-protector: Kernel stack is corrupted in: (?:\[?<?[0-9a-f]{{8,16}}>?\]? "
                rf")?(?![0-9a-f]{{8,16}}\b)(?P<function>{FUNCTION})"
            ),
            "stack is corrupted in {function}",
            "stack-corruption",
            walk="only-named",
            traceless=True,
        ),
        _panic("stack-protector[^\n]*", "stack is corrupted in {function}", "stack-corruption", walk="trace"),
        _panic(
            r"corrupted stack end[^\n]*",
            "corrupted stack end in {function}",
            "stack-corruption",
            walk="down",
        ),
        Form(
            head(_PANIC + r"[kK]ernel stack overflow[^\n]*"),
            title="kernel stack overflow in {function}",
            kind="panic",
            cause="stack-overflow",
            walk="down",
            fatal=True,
        ),
        _panic(
            r"sysrq triggered crash",
            "sysrq triggered crash",
            "sysrq",
            walk="only-named",
            function="sysrq_handle_crash",
        ),
        _panic(
            r"Fatal exception(?P<what> in interrupt)?[^\n]*",
            "Fatal exception{what}",
            "unknown",
            corrupted=_LOST,
        ),
        _panic(r"[^\n]*panic_on_warn set[^\n]*", "panic_on_warn set", "warning", corrupted=_LOST),
        _panic(r"hung_task: blocked tasks[^\n]*", "hung_task: blocked tasks", "hung-task", corrupted=_LOST),
        _panic(r"softlockup: hung tasks[^\n]*", "softlockup: hung tasks", "soft-lockup", corrupted=_LOST),
        _panic(r"RCU Stall[^\n]*", "RCU Stall", "rcu-stall", corrupted=_LOST),
        _panic(
            r"(?:Watchdog detected )?[hH]ard LOCKUP[^\n]*", "hard LOCKUP", "hard-lockup", walk="interrupted"
        ),
        _panic(r"NMI(?P<what>[^\n]*)", "NMI{what}", "nmi", walk="interrupted"),
        _panic(  # hpwdt, drivers/watchdog/pretimeout_panic.c, ipmi_watchdog
            r"(?P<what>(?:An NMI occurred|[wW]atchdog pre-?timeout)[^\n:.]*)",
            "{what}",
            "nmi",
            traceless=True,
        ),
        _panic(
            (
                "(?:Fatal hardware error|Fatal (?:local )?[mM]achine check|(?:Unrecoverable )?[mM]achine "
                "check|Timeout: Not all CPUs|Timeout synchronizing machine check|Uncorrected)[^\\n]*"
            ),
            "Fatal machine check",
            "machine-check",
            traceless=True,
        ),
        _panic(  # drivers/edac, mm/memory-failure.c
            r"(?P<what>(?:EDAC\b|Memory failure: )[^\n]*)", "{what}", "machine-check", traceless=True
        ),
        _panic(r"Asynchronous SError Interrupt[^\n]*", "Asynchronous SError Interrupt", "machine-check"),
        _panic(r"(?P<what>Out of memory[^\n]*)", "{what}", "out-of-memory"),
        _panic(r"System is deadlocked on memory[^\n]*", "System is deadlocked on memory", "out-of-memory"),
        _panic(r"Attempted to kill init![^\n]*", "Attempted to kill init!", "init-died"),
        _panic(
            r"(?:No working init found|No init found|Requested init \S+ failed)[^\n]*",
            "No working init found",
            "no-init",
        ),
        _panic(r"(?P<what>VFS: Unable to mount root[^\n]*)", "{what}", "no-root-filesystem"),
        _panic(
            r"(?P<what>(?:EXT[234]-fs|XFS|BTRFS|JBD2?|JFS|GFS2|F2FS|OCFS2|REISERFS|NILFS|UBIFS)\b[^\n]*)",
            "{what}",
            "filesystem",
        ),
        _panic(r"(?P<what>Couldn't open N_TTY ldisc) [^\n]*", "{what}", "explicit-panic", walk="trace"),
        _panic(r"(?P<what>[^\n]+)", "{what}", "explicit-panic", walk="trace"),
    ),
)
