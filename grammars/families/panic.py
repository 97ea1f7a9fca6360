"""panic() with a reason of its own (kernel/panic.c and its callers)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

LOST: Final = "it follows from a report that is missing"

serror = Family("serror")  # arch/arm64/kernel/traps.c prints the registers before it panics


@serror.form(
    title="kernel panic: Asynchronous SError Interrupt",
    kind="panic",
    cause="machine-check",
    walk="none",
    fatal=True,
)
def serror_interrupt() -> ParserElement:
    """SError Interrupt on CPU2, code 0x00000000be000011 -- SError"""
    return "SError Interrupt on CPU" + k.number + ", code 0x" + k.hex_number + " -- " + k.any_text("what")


panic = Family("panic", ignore=r"---\[ end Kernel panic", before=96)
_form = partial(panic.form, kind="panic", fatal=True)
_reason = partial(_form, walk="none")
_lost = partial(_form, walk="none", corrupted=LOST)


def _announced() -> ParserElement:
    return k.one_of(
        *("Kernel panic - not syncing:", "Kernel panic -not syncing:", "Kernel panic: "),
        *("Kernel Panic - not syncing:", "kernel panic - not syncing:"),  # typed from a photograph
        *("Kernel Panic - Not syncing:", "Kernel panic - Not syncing:", "Kernel Panic - Not Syncing:"),
    )


def _says(reason: ParserElement | str) -> ParserElement:
    """Return the header with its reason, which begins with a newline in some kernels."""
    return _announced() + k.Regex(r"\s{0,80}") + reason + k.rest_of_line


@_form(
    title="kernel panic: stack is corrupted in {function}",
    cause="stack-corruption",
    walk="only-named",
    traceless=True,
)
def stack_protector_in() -> ParserElement:
    """Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: f+0x1/0x2"""
    address = k.Regex(r"\[?<?[0-9a-f]{8,16}\b>?\]?")
    where = k.Opt(address + " ") + ~address + k.function("function")
    return _says("stack-protector: Kernel stack is corrupted in: " + where)


@_form(title="kernel panic: stack is corrupted in {function}", cause="stack-corruption")
def stack_protector() -> ParserElement:
    """Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: ffffffff81234567"""
    return _says("stack-protector")


@_form(title="kernel panic: corrupted stack end in {function}", cause="stack-corruption", walk="down")
def stack_end() -> ParserElement:
    """Kernel panic - not syncing: corrupted stack end detected inside scheduler"""
    return _says("corrupted stack end")


@_form(title="kernel stack overflow in {function}", cause="stack-overflow", walk="deep")
def stack_overflow() -> ParserElement:
    """Kernel panic - not syncing: kernel stack overflow"""
    return _says(k.sentence("kernel stack overflow"))


@_form(
    title="kernel panic: sysrq triggered crash",
    cause="sysrq",
    walk="only-named",
    function="sysrq_handle_crash",
)
def sysrq() -> ParserElement:
    """Kernel panic - not syncing: sysrq triggered crash"""
    return _says("sysrq triggered crash")


@_lost(title="kernel panic: Fatal exception{what}", cause="unknown")
def fatal_exception() -> ParserElement:
    """Kernel panic - not syncing: Fatal exception in interrupt"""
    return _says("Fatal exception" + k.Opt(k.Literal(" in interrupt")("what")))


@_lost(title="kernel panic: panic_on_warn set", cause="warning")
def panic_on_warn() -> ParserElement:
    """Kernel panic - not syncing: panic_on_warn set ...

    Kernel panic - not syncing: kernel: panic_on_warn set ...
    """
    return _says(k.UpTo("panic_on_warn set") + "panic_on_warn set")


@_lost(title="kernel panic: hung_task: blocked tasks", cause="hung-task")
def hung_task() -> ParserElement:
    """Kernel panic - not syncing: hung_task: blocked tasks"""
    return _says("hung_task: blocked tasks")


@_lost(title="kernel panic: softlockup: hung tasks", cause="soft-lockup")
def soft_lockup() -> ParserElement:
    """Kernel panic - not syncing: softlockup: hung tasks"""
    return _says("softlockup: hung tasks")


@_lost(title="kernel panic: RCU Stall", cause="rcu-stall")
def rcu_stall() -> ParserElement:
    """Kernel panic - not syncing: RCU Stall"""
    return _says("RCU Stall")


@_form(title="kernel panic: hard LOCKUP", cause="hard-lockup", walk="interrupted")
def hard_lockup() -> ParserElement:
    """Kernel panic - not syncing: Hard LOCKUP

    Kernel panic - not syncing: Watchdog detected hard LOCKUP on cpu 1
    """
    return _says(k.Opt("Watchdog detected ") + k.sentence("hard LOCKUP"))


@_form(title="kernel panic: NMI{what}", cause="nmi", walk="interrupted")
def nmi() -> ParserElement:
    """Kernel panic - not syncing: NMI: Not continuing"""
    return _says("NMI" + k.Opt(k.any_text("what")))


@_reason(title="kernel panic: {what}", cause="nmi", traceless=True)
def watchdog() -> ParserElement:
    """Kernel panic - not syncing: An NMI occurred. Depending on your system the reason for the NMI is

    Kernel panic - not syncing: watchdog pretimeout event
    """  # hpwdt; drivers/watchdog/pretimeout_panic.c, ipmi_watchdog
    who = k.sentence("watchdog pre") + k.Opt("-") + "timeout"
    return _says(k.Combine(("An NMI occurred" | who) + k.Regex(r"[^\n:.]*"))("what"))


@_reason(title="kernel panic: Fatal machine check", cause="machine-check", traceless=True)
def machine_check() -> ParserElement:
    """Kernel panic - not syncing: Fatal machine check

    Kernel panic - not syncing: Timeout: Not all CPUs entered broadcast exception handler
    """
    return _says(
        k.Opt(k.one_of("Fatal local ", "Fatal ", "Unrecoverable ")) + k.sentence("machine check")
        | k.one_of("Timeout: Not all CPUs", "Timeout synchronizing machine check", "Uncorrected")
    )


@_reason(title="kernel panic: {what}", cause="machine-check", traceless=True)
def machine_check_of_i386() -> ParserElement:
    """Kernel panic: CPU context corrupt

    Kernel panic - not syncing: Unable to continue
    """  # arch/i386/kernel/cpu/mcheck: k7.c, p4.c, p6.c
    return _says(k.one_of("CPU context corrupt", "Unable to continue")("what") + k.end_of_line)


@_reason(title="kernel panic: Fatal hardware error!", cause="machine-check", traceless=True)
def hardware_error() -> ParserElement:
    """Kernel panic - not syncing: Fatal hardware error!"""  # drivers/acpi/apei/ghes.c
    return _says("Fatal hardware error")


@_reason(title="kernel panic: {what}", cause="machine-check", traceless=True)
def memory_failure() -> ParserElement:
    """Kernel panic - not syncing: EDAC MC0: Uncorrected Error

    Kernel panic - not syncing: Memory failure: 0x12345: recovery action failed
    """  # drivers/edac; mm/memory-failure.c
    return _says(k.Combine(k.one_of("EDAC ", "Memory failure: ") + k.rest_of_line)("what"))


@_reason(title="kernel panic: Asynchronous SError Interrupt", cause="machine-check")
def serror_panic() -> ParserElement:
    """Kernel panic - not syncing: Asynchronous SError Interrupt"""
    return _says("Asynchronous SError Interrupt")


@_reason(title="kernel panic: {what}", cause="out-of-memory")
def out_of_memory() -> ParserElement:
    """Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled"""
    return _says(k.Combine("Out of memory" + k.rest_of_line)("what"))


@_reason(title="kernel panic: System is deadlocked on memory", cause="out-of-memory")
def deadlocked_on_memory() -> ParserElement:
    """Kernel panic - not syncing: System is deadlocked on memory"""
    return _says("System is deadlocked on memory")


@_reason(title="kernel panic: Attempted to kill init!", cause="init-died")
def init_died() -> ParserElement:
    """Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"""
    return _says("Attempted to kill init!")


@_reason(title="kernel panic: No working init found", cause="no-init")
def no_init() -> ParserElement:
    """Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.

    Kernel panic - not syncing: Requested init /bin/sh failed (error -2).
    """
    requested = "Requested init " + k.word + " failed"
    return _says(k.one_of("No working init found", "No init found") | requested)


@_reason(title="kernel panic: {what}", cause="no-root-filesystem")
def no_root_filesystem() -> ParserElement:
    """Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"""
    return _says(k.Combine("VFS: " + k.sentence("unable to mount root") + k.rest_of_line)("what"))


@_reason(title="kernel panic: {what}", cause="filesystem")
def filesystem() -> ParserElement:
    """Kernel panic - not syncing: EXT4-fs (device sda1): panic forced after error"""
    who = k.one_of(
        *("EXT2-fs", "EXT3-fs", "EXT4-fs", "XFS", "BTRFS", "JBD2", "JBD", "JFS", "GFS2", "F2FS", "OCFS2"),
        *("REISERFS", "NILFS", "UBIFS"),
    )
    return _says(k.Combine(who + ~k.letter + k.rest_of_line)("what"))


@_form(title="kernel panic: {what}", cause="explicit-panic")
def tty_discipline() -> ParserElement:
    """Kernel panic - not syncing: Couldn't open N_TTY ldisc for tty1 --- error -12."""
    return _says(k.Literal("Couldn't open N_TTY ldisc")("what") + " ")


@_form(title="kernel panic: {what}", cause="explicit-panic")
def other() -> ParserElement:
    """Kernel panic - not syncing: boom: a module asked for it"""
    follows = k.one_of(  # what panic() and dump_stack() print next
        *(
            "CPU: ",
            "CPU#",
            "Pid: ",
            "Call Trace",
            "Call trace",
            "Backtrace:",
            "Hardware name",
            "Modules linked",
        ),
        *("Kernel Offset:", "SMP: ", "Rebooting in ", "Dumping ", "---[ "),
    )
    return _says(~follows + k.any_text("what"))


@_form(title="kernel panic", cause="unknown")
def unexplained() -> ParserElement:
    """Kernel panic - not syncing:"""
    return _announced() + k.rest_of_line
