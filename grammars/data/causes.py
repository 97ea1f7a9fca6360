"""The causes of crashes for the administrator: words, whether the vmcore is needed, and what to do."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["CAUSES", "UNKNOWN", "Cause"]


class Cause(Struct, frozen=True):
    """The meaning of a cause."""

    words: str
    """The predicate of a sentence about the kernel: ``divided by zero``."""
    question: str = ""
    """The question that only the vmcore answers; empty where the log explains the crash."""
    why: str = ""
    """Why the log is enough."""
    proof: tuple[str, ...] = ("header",)
    """Kinds of facts that prove ``why``."""
    otherwise: str = ""
    """The sentence in place of ``why`` without such facts."""
    next: tuple[str, ...] = ()
    """Steps in addition to opening the vmcore."""
    servers: tuple[str, ...] = ()
    """Steps on a machine with a BIOS, which may have a management controller."""
    look: tuple[str, ...] = ()
    """Commands of crash(8) that answer the question; ``{address}`` is the faulting one."""


_EVENTS = "ipmitool sel elist  # the event log of a management controller"
_POINTER = ("bt -FF", "dis -rl {place}", "task -R comm,pid,mm {pid}")
_MEMORY = ("bt -FF", "kmem {address}", "rd {address} 16")
_BUSY = ("bt -a", "runq -c {cpu}", "dis -rl {place}")
_WAITING = ("foreach UN bt", "bt {pid}", "ps -m")

CAUSES: Final = {
    "sysrq": Cause(
        "was crashed on purpose through SysRq",
        why="the crash was requested",
        next=(
            "last -x; ausearch -m EXECVE,USER_CMD  # who was logged in at that time",
            "sysctl kernel.sysrq  # 0 forbids the keys; root can always write to /proc/sysrq-trigger",
        ),
    ),
    "null-dereference": Cause(
        "dereferenced a NULL pointer", "which object held the NULL, and who put it there", look=_POINTER
    ),
    "bad-pointer": Cause(
        "dereferenced a pointer to an unmapped address",
        "which object held the pointer, and who overwrote it",
        look=_POINTER,
    ),
    "general-protection": Cause(
        "used an invalid address",
        "which object held the address, and who overwrote it",
        look=_POINTER,
    ),
    "write-protected": Cause(
        "wrote to read-only memory", "what the pointer was meant to point to", look=_POINTER
    ),
    "exec-protected": Cause(
        "jumped into data", "which function pointer was overwritten, and by whom", look=_POINTER
    ),
    "user-memory-access": Cause(
        "accessed or executed user memory directly", "where the user pointer came from", look=_POINTER
    ),
    "bug": Cause(
        "hit a BUG(), a state that its code rules out", "the values that broke the condition", look=_POINTER
    ),
    "invalid-opcode": Cause(
        "trapped at an undefined instruction", "why the CPU executed this code", look=_POINTER
    ),
    "breakpoint": Cause("hit a breakpoint that no handler took", why="the report names the instruction"),
    "divide-error": Cause("divided by zero", "where the zero came from", look=_POINTER),
    "stack-overflow": Cause(
        "ran out of kernel stack",
        why="the trace shows what filled the stack",
        proof=("frames",),
        otherwise="a vmcore holds the stack that overflowed, which no line that was read shows",
    ),
    "stack-corruption": Cause("found a corrupted stack", "what was written over the stack", look=_POINTER),
    "double-fault": Cause(
        "faulted while it handled a fault", "what the stack held at the first fault", look=_POINTER
    ),
    "soft-lockup": Cause(
        "had a CPU that did not schedule for too long", "what the loop or the lock waited for", look=_BUSY
    ),
    "hard-lockup": Cause(
        "had a CPU stuck with interrupts off", "what the loop or the lock waited for", look=_BUSY
    ),
    "hung-task": Cause("had a task that waited too long", "who holds what the task waits for", look=_WAITING),
    "rcu-stall": Cause("had an RCU grace period that did not end", "what the CPU was busy with", look=_BUSY),
    "nmi": Cause(
        "was stopped by an NMI",
        why="an NMI comes from outside the kernel, and its trace says only what it interrupted",
        servers=(_EVENTS,),
    ),
    "machine-check": Cause(
        "was stopped by a hardware error",
        why="the hardware reported the error itself",
        proof=("hardware error",),
        otherwise="the hardware reported the error, and a vmcore seldom says more about it",
        next=(
            "ras-mc-ctl --errors  # what rasdaemon has collected",
            "Test the machine's memory, processors and cards before it goes back to work.",
        ),
        servers=(_EVENTS,),
    ),
    "out-of-memory": Cause(
        "ran out of memory",
        why="the OOM killer's report says what filled the memory",
        proof=("trigger",),
        otherwise="the OOM killer's report, which is missing from the log, says what filled the memory",
    ),
    "init-died": Cause(
        "lost its first process (PID 1)",
        why="PID 1 ended in user space, and its own logs say why",
        next=("journalctl -b -1 -p warning _PID=1  # what init said last",),
    ),
    "no-init": Cause(
        "found no init to start",
        why="the boot failed before any process ran",
        next=("Check init= and the root file system of the command line; rebuild the initramfs.",),
    ),
    "no-root-filesystem": Cause(
        "could not mount its root file system",
        why="the boot failed before any process ran",
        next=("Check root= on the command line and the initramfs: a driver or the device may be missing.",),
    ),
    "list-corruption": Cause(
        "found a corrupted linked list", "who wrote over the list's entries", look=_MEMORY
    ),
    "refcount": Cause(
        "found a wrong reference count",
        "who holds the object, and who dropped it once too often",
        look=_MEMORY,
    ),
    "use-after-free": Cause("used memory after it was freed", "what the memory holds now", look=_MEMORY),
    "out-of-bounds": Cause("accessed memory out of bounds", "what lies behind the object", look=_MEMORY),
    "double-free": Cause("freed memory twice", "who holds the object now", look=_MEMORY),
    "uninitialized-memory": Cause(
        "used memory that was never written", why="the report names the code that used it"
    ),
    "slab-corruption": Cause("found a corrupted slab", "who wrote over the slab", look=_MEMORY),
    "usercopy": Cause(
        "copied more bytes from or to user space than the object holds", why="the report names the copy"
    ),
    "fortify": Cause(
        "copied more bytes than a field holds", why="the report names the field or the function"
    ),
    "bad-page": Cause("found a page in a bad state", "who used the page before", look=_MEMORY),
    "undefined-behavior": Cause(
        "executed an operation that C leaves undefined", why="the report names the operation"
    ),
    "atomic-sleep": Cause(
        "slept in a context that must not sleep",
        why="the trace shows which function slept",
        proof=("frames",),
        otherwise="the report names the context",
    ),
    "lock-misuse": Cause("broke a locking rule", why="the report names the code that broke the rule"),
    "data-race": Cause("accessed the same data concurrently", why="the report names the code that raced"),
    "memory-leak": Cause("leaked memory", why="the report shows who allocated it"),
    "allocation-failure": Cause(
        "could not allocate pages", why="the report names the order and the flags of the request"
    ),
    "filesystem": Cause(
        "was stopped by an error in a file system",
        why="the message names the file system",
        next=("Check the file system (fsck, xfs_repair) and the disk below it before it is mounted again.",),
    ),
    "driver": Cause(
        "had a driver or device that stopped responding",
        why="the message names the device",
    ),
    "warning": Cause(
        "met a condition that its code did not expect (WARN)", why="the warning names the condition's place"
    ),
    "explicit-panic": Cause("called panic()", why="the panic message gives the reason"),
}
UNKNOWN: Final = Cause("crashed in a way that kpanic does not understand", "what the kernel was doing")
