"""What each cause means to whoever has to act: in words, whether the vmcore is needed, what to do."""

from __future__ import annotations

from typing import Final, NamedTuple


class Verdict(NamedTuple):
    """The verdict on one cause."""

    words: str
    """What happened, as the predicate of a sentence about the kernel."""
    question: str
    """What only the vmcore can answer; empty where the dmesg explains the crash."""
    why: str
    """Why the dmesg is enough, or why it is not."""
    next: tuple[str, ...] = ()
    """What to do besides looking at the vmcore."""
    look: tuple[str, ...] = ()
    """Commands of crash(8) that answer the question; ``{address}`` is the faulting one."""


_STATE = "the dmesg says where it happened, not how the data came to be so"
_HARDWARE = (
    "ipmitool sel elist  # what the machine's own log says of that moment",
    "ras-mc-ctl --errors  # what rasdaemon has collected",
    "Have the machine's memory, processors and cards tested before it goes back to work.",
)
_POINTER = ("bt -FF", "dis -rl {place}", "task -R comm,pid,mm {pid}")
_MEMORY = ("bt -FF", "kmem {address}", "rd {address} 16")
_BUSY = ("bt -a", "runq -c {cpu}", "dis -rl {place}")
_WAITING = ("foreach UN bt", "bt {pid}", "ps -m")

VERDICTS: Final = {
    "sysrq": Verdict(
        "was crashed on purpose through SysRq",
        "",
        "somebody triggered the crash, and the text shows it from the key to the trace",
        (
            "last -x; ausearch -m EXECVE,USER_CMD  # who was on the machine then",
            "sysctl kernel.sysrq  # 0 forbids the keys; root can always write to /proc/sysrq-trigger",
        ),
    ),
    "null-dereference": Verdict(
        "went through a NULL pointer",
        "which object held the NULL, and who put it there",
        _STATE,
        look=_POINTER,
    ),
    "bad-pointer": Verdict(
        "used a pointer to nowhere",
        "which object held the pointer, and who overwrote it",
        _STATE,
        look=_POINTER,
    ),
    "general-protection": Verdict(
        "used an address that no pointer may hold",
        "which object held it, and who overwrote it",
        _STATE,
        look=_POINTER,
    ),
    "write-protected": Verdict(
        "wrote to read-only memory", "what the pointer was meant to point to", _STATE, look=_POINTER
    ),
    "exec-protected": Verdict(
        "jumped into data", "which function pointer was overwritten, and by whom", _STATE, look=_POINTER
    ),
    "user-memory-access": Verdict(
        "touched or executed user memory directly", "where the user pointer came from", _STATE, look=_POINTER
    ),
    "bug": Verdict(
        "met a condition that its code rules out (BUG)",
        "the values that broke the condition",
        _STATE,
        look=_POINTER,
    ),
    "invalid-opcode": Verdict(
        "ran into an instruction that is none", "how the code came to be there", _STATE, look=_POINTER
    ),
    "breakpoint": Verdict(
        "ran into a breakpoint that nobody handled", "", "the trap itself is all there is to it"
    ),
    "divide-error": Verdict("divided by zero", "where the zero came from", _STATE, look=_POINTER),
    "stack-overflow": Verdict("ran out of kernel stack", "", "the trace shows what filled the stack"),
    "stack-corruption": Verdict(
        "found its stack overwritten", "what was written over the stack", _STATE, look=_POINTER
    ),
    "double-fault": Verdict(
        "faulted while it handled a fault", "the stack below the first fault", _STATE, look=_POINTER
    ),
    "soft-lockup": Verdict(
        "had a CPU that did not schedule for too long",
        "what the loop or the lock waited for",
        _STATE,
        look=_BUSY,
    ),
    "hard-lockup": Verdict(
        "had a CPU stuck with interrupts off", "what the loop or the lock waited for", _STATE, look=_BUSY
    ),
    "hung-task": Verdict(
        "had a task that waited too long", "who holds what the task waits for", _STATE, look=_WAITING
    ),
    "rcu-stall": Verdict(
        "had a CPU that held up an RCU grace period", "what the CPU was busy with", _STATE, look=_BUSY
    ),
    "nmi": Verdict(
        "was stopped by an NMI: an operator's, or that of the platform's watchdog",
        "",
        "the NMI came from outside the kernel; the trace says only what it interrupted",
        ("ipmitool sel elist  # who sent the NMI: an operator, the watchdog, the bus",),
    ),
    "machine-check": Verdict(
        "was stopped by the hardware", "", "the hardware's own error record is in the dmesg", _HARDWARE
    ),
    "out-of-memory": Verdict(
        "ran out of memory and was told to panic then",
        "",
        "the table of tasks and the memory statistics are in the dmesg",
        ("sysctl vm.panic_on_oom  # 0: kill a process instead",),
    ),
    "init-died": Verdict(
        "lost its first process (PID 1)",
        "",
        "PID 1 ended in user space: its exit code is in the dmesg, its reasons are in its own logs",
        ("journalctl -b -1 -p warning _PID=1  # what init said last",),
    ),
    "no-init": Verdict(
        "found no init to start",
        "",
        "the boot failed before any process ran",
        ("Check init= and the root file system that the command line names; rebuild the initramfs.",),
    ),
    "no-root-filesystem": Verdict(
        "could not mount its root file system",
        "",
        "the boot failed before any process ran",
        ("Check root= on the command line and the initramfs: a driver or the device may be missing.",),
    ),
    "list-corruption": Verdict(
        "found a linked list damaged", "who wrote over the list's entries", _STATE, look=_MEMORY
    ),
    "refcount": Verdict(
        "counted references wrong",
        "who holds the object, and who dropped it once too often",
        _STATE,
        look=_MEMORY,
    ),
    "use-after-free": Verdict(
        "used memory after it was freed",
        "what the memory is now",
        "the report names both traces if a checker was on",
        look=_MEMORY,
    ),
    "out-of-bounds": Verdict("reached beyond an object", "what lies behind the object", _STATE, look=_MEMORY),
    "double-free": Verdict("freed memory twice", "who holds the object now", _STATE, look=_MEMORY),
    "uninitialized-memory": Verdict(
        "used memory that was never written", "", "the report names who made the memory and who used it"
    ),
    "slab-corruption": Verdict("found a slab damaged", "who wrote over the slab", _STATE, look=_MEMORY),
    "usercopy": Verdict(
        "copied more from or to user space than the object holds",
        "",
        "the report names the object and the copy",
    ),
    "fortify": Verdict("copied more than a field holds", "", "the report names the field and the sizes"),
    "bad-page": Verdict("found a page in a bad state", "who used the page before", _STATE, look=_MEMORY),
    "undefined-behavior": Verdict(
        "did what C leaves undefined", "", "the report names the line of the source"
    ),
    "atomic-sleep": Verdict("slept where it must not", "", "the trace shows who slept, and in what"),
    "lock-misuse": Verdict("misused a lock", "", "the report names the locks and where they were taken"),
    "data-race": Verdict("raced for data", "", "the report names both sides"),
    "memory-leak": Verdict("lost memory", "", "the report names who allocated it"),
    "allocation-failure": Verdict("could not allocate pages", "", "the memory statistics are in the dmesg"),
    "filesystem": Verdict(
        "was stopped by a file system that found itself damaged",
        "",
        "the file system's own messages say what it found",
        ("Check the file system (fsck, xfs_repair) and the disk below it before it is mounted again.",),
    ),
    "driver": Verdict(
        "had a driver or device that stopped responding",
        "",
        "the driver's own messages say what it waited for",
    ),
    "warning": Verdict(
        "met a condition that its code did not expect (WARN)",
        "",
        "the condition and the trace are in the dmesg",
    ),
    "explicit-panic": Verdict("was told to panic by its own code", "", "the code that panicked says why"),
}
UNKNOWN: Final = Verdict(
    "crashed in a way that is not understood", "what the kernel was doing", "the text does not say enough"
)
