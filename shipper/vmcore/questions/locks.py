"""The holders of the locks that blocked tasks wait for, from the waiting task to the end of the chain.

A mutex and a read-write semaphore record their owner; a semaphore, a completion and a spinlock do not (a
spinlock does with CONFIG_DEBUG_SPINLOCK). Where debug information has lost the lock's address, it is found
by the record of the waiting task on its stack, which is linked into the lock's list.

:see: kernel/locking/mutex.c, rwsem.c, semaphore.c; include/linux/completion.h (Linux 6.1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from drgn import Object, cast, container_of, offsetof
from drgn.helpers.linux.locking import mutex_owner, rwsem_owner
from drgn.helpers.linux.sched import task_state_to_char

from kpanic.grammars.reading.evidence import listed
from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.dump import address_words, frame_place, frame_words, pointers, task_words, variable
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from drgn import StackFrame

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask"]

NAME: Final = "locks"
WAITERS: Final = 500
"""Maximum blocked tasks whose locks are searched for."""
CHAIN: Final = 32
"""Maximum tasks of a chain."""
SHOWN: Final = 8
"""Maximum chains that are shown."""
LIST: Final = 4096
"""Maximum entries of a list of waiters."""
BESIDE: Final = 20
"""Maximum tasks that are shown as waiting for the same lock."""
STACK: Final = 16
"""Frames of the last holder that are shown."""
CALLER: Final = 12
"""Frames that are searched for the function that waits."""


class _Kind(NamedTuple):
    """A kind of lock.

    :ivar functions: beginnings of the names of the functions that wait for it.
    :ivar names: of their variables that point to it.
    :ivar waiter: the record of a waiting task, and the member of the lock that lists them; empty for none.
    :ivar owner: returns the task that holds it; None if the lock does not record it.
    """

    words: str
    type: str
    functions: tuple[str, ...]
    names: tuple[str, ...]
    waiter: tuple[str, str] = ("", "")
    owner: Callable[[Object], Object] | None = None


_KINDS: Final = (
    _Kind(
        "mutex", "struct mutex", ("__mutex_lock", "mutex_lock", "__ww_mutex_lock"), ("lock",),
        ("struct mutex_waiter", "wait_list"), mutex_owner,
    ),
    _Kind(
        "read-write semaphore", "struct rw_semaphore",
        ("rwsem_down_", "__down_read", "__down_write", "down_read", "down_write"), ("sem",),
        ("struct rwsem_waiter", "wait_list"), rwsem_owner,
    ),
    _Kind(
        "semaphore", "struct semaphore", ("__down", "___down", "down"), ("sem",),
        ("struct semaphore_waiter", "wait_list"),
    ),
    _Kind("completion", "struct completion", ("wait_for_common", "__wait_for_common", "wait_for_completion",
          "do_wait_for_common"), ("x",)),
)  # fmt: skip
_SPINNING: Final = (
    *("queued_spin_lock_slowpath", "native_queued_spin_lock_slowpath", "_raw_spin_lock", "__raw_spin_lock"),
    *("do_raw_spin_lock", "queued_spin_lock", "__pv_queued_spin_lock_slowpath"),
)
_WAIT: Final = ("kernel/sched/", "kernel/locking/", "kernel/time/", "kernel/rcu/", "include/")
"""Folders of the sources whose functions wait on behalf of their callers."""


class _Waits(NamedTuple):
    """A task and the lock that it waits for.

    :ivar place: the function that asked for it.
    """

    task: Object
    kind: _Kind
    lock: int
    name: str
    place: str
    holder: Object | None

    @property
    def words(self) -> str:
        text = f"{task_words(self.task)} waits for the {self.kind.words} {self.name}"
        return f"{text}{f' in {self.place}' if self.place else ''}"


def ask(dump: Dump) -> Answer:
    """Name the holder of each lock, and the tasks that wait."""
    waiting = _waiting(dump)
    spinning = list(_spinning(dump))
    if not waiting and not spinning:
        return Answer(NAME, skipped="no task waits for a lock that its stack tells")
    findings: list[Finding] = []
    chains = sorted((_chain(one, waiting) for one in waiting.values()), key=len, reverse=True)
    locks: set[int] = set()
    held: _Waits | None = None
    verdicts: list[tuple[bool, str]] = []
    for chain in chains:
        if chain[0].lock in locks or len(findings) == SHOWN:
            continue  # part of a longer one, or as long
        locks |= {one.lock for one in chain}
        end = _end(dump, chain)
        verdicts.append((chain[-1].holder is None, end))
        if held is None and chain[-1].holder is not None:
            held = (_ring(chain) or chain[-1:])[0]
        beside = [one for one in waiting.values() if one.lock == chain[0].lock and one is not chain[0]]
        more = f" {len(beside)} more wait{'' if beside[1:] else 's'} for it." if beside else ""
        findings.append(Finding(f"{chain[0].words}: {end}.{more}", tuple(_lines(dump, chain, beside))))
    verdicts.sort(key=lambda one: one[0])  # a known holder comes before an unknown one
    for words, _, lines in spinning:
        findings.append(Finding(f"{words}.", lines))
        verdicts.insert(0, (False, words))
    return Answer(
        NAME,
        tuple(findings),
        verdict=verdicts[0][1][:LONGEST],
        lock=f"{held.kind.words} {held.name}"
        if held
        else next((lock for _, lock, _ in spinning if lock), ""),
        holder=task_words(held.holder) if held and held.holder is not None else "",
    )


def _waiting(dump: Dump) -> dict[int, _Waits]:
    """Return the blocked tasks that wait for a lock, by their addresses."""
    found: dict[int, _Waits] = {}
    for number, task in enumerate(dump.blocked()):
        if number == WAITERS:
            break
        try:
            waits = _waits(dump, task)
        except LOST:
            continue
        if waits:
            found[task.value_()] = waits
    return found


def _waits(dump: Dump, task: Object) -> _Waits | None:
    frames = dump.stack(task).frames
    for number, frame in enumerate(frames[:CALLER]):
        for kind in _KINDS:
            if not frame.name.startswith(kind.functions):
                continue
            address = _by_variable(frames[number:CALLER], kind) or _by_record(dump, task, kind)
            if not address:
                continue
            lock = Object(dump.prog, f"{kind.type} *", address)
            holder = kind.owner(lock) if kind.owner else None
            name = variable(dump.prog, address, kind.type) or address_words(dump.prog, address)
            return _Waits(task, kind, address, name, _asker(frames), holder or None)
    return None


def _by_variable(frames: Sequence[StackFrame], kind: _Kind) -> int:
    """Return the lock's address from the waiting functions' variables; 0 if it was optimized out."""
    for frame in frames:
        if not frame.name.startswith(kind.functions):
            return 0
        for name in kind.names:
            try:
                value = frame[name]
                if not value.absent_ and value.type_.type_name() == f"{kind.type} *":
                    return int(value.value_())
            except LOST:
                continue
    return 0


def _by_record(dump: Dump, task: Object, kind: _Kind) -> int:
    """Return the lock whose list holds the record on the waiting task's stack; 0 if there is none."""
    record, head = kind.waiter
    if not record:
        return 0
    prog = dump.prog
    inside = offsetof(prog.type(record), "task")
    bottom = task.stack.value_()
    stack = prog.read(bottom, prog["THREAD_SIZE"].value_())
    wanted = Object(prog, "unsigned long", task.value_()).to_bytes_()
    place = stack.find(wanted)
    while place >= 0:
        waiter = Object(prog, f"{record} *", bottom + place - inside)
        if place % 8 == 0 and _linked(waiter.list):
            return _head(waiter, kind.type, record, head)
        place = stack.find(wanted, place + 1)
    return 0


def _linked(entry: Object) -> bool:
    """Tell whether the neighbours of a list's entry lead back to it."""
    try:
        own = entry.address_of_().value_()
        return bool(entry.next.prev.value_() == own and entry.prev.next.value_() == own)
    except LOST:
        return False


def _head(waiter: Object, lock: str, record: str, head: str) -> int:
    """Return the lock whose list a record is linked into: the head is the entry that is no task's record."""
    entry = waiter.list.next.read_()
    for _ in range(LIST):
        if not _is_record(entry, record):
            return int(container_of(entry, lock, head).value_())
        entry = entry.next.read_()
    return 0


def _is_record(entry: Object, record: str) -> bool:
    """Tell whether an entry lies on the stack of the task that it names."""
    try:
        bottom = container_of(entry, record, "list").task.stack.value_()
        return bool(bottom <= entry.value_() < bottom + entry.prog_["THREAD_SIZE"].value_())
    except LOST:
        return False


def _chain(first: _Waits, waiting: dict[int, _Waits]) -> list[_Waits]:
    """Return the chain of waiting tasks: each one waits for a lock that the next one holds."""
    chain = [first]
    seen = {first.task.value_()}
    while (holder := chain[-1].holder) is not None and len(chain) < CHAIN:
        following = waiting.get(holder.value_())
        if following is None or holder.value_() in seen:
            break
        seen.add(holder.value_())
        chain.append(following)
    return chain


def _ring(chain: list[_Waits]) -> list[_Waits]:
    """Return the part of a chain that waits for itself, a deadlock; empty where it does not."""
    tasks = [one.task.value_() for one in chain]
    holder = chain[-1].holder
    return chain[tasks.index(holder.value_()) :] if holder is not None and holder.value_() in tasks else []


def _end(dump: Dump, chain: list[_Waits]) -> str:
    """Describe the end of a chain."""
    last = chain[-1]
    lock = f"the {last.kind.words} {last.name}"
    if last.holder is None:
        return f"{lock} does not record who holds it"
    holder = task_words(last.holder)
    if ring := _ring(chain):
        names = listed(task_words(one.task) for one in ring)
        if len(ring) == 1:
            return f"{holder} holds {lock} itself, a deadlock"
        return f"{names} each hold what the next of them waits for, a deadlock"
    return f"{holder} holds {lock}{_doing(dump, last.holder)}"


def _doing(dump: Dump, task: Object) -> str:
    """Describe what the holder of a lock was doing."""
    try:
        state = task_state_to_char(task)
        frames = dump.stack(task).frames
    except LOST:
        return ""
    doing = "ran" if state == "R" else f"slept (state {state})"
    place = _asker(frames)
    return f" and {doing} in {place}" if place else f" and {doing}"


def _asker(frames: Sequence[StackFrame]) -> str:
    """Return the first function that waits for itself, with its place: ``clerk at ledger.c:105``."""
    for frame in frames:
        place = frame_place(frame)
        if place and not place.removeprefix("./").startswith(_WAIT):
            return frame_words(frame)
    return ""


def _lines(dump: Dump, chain: list[_Waits], beside: list[_Waits]) -> Iterator[str]:
    """Yield the chain, other tasks that wait at its beginning, and the stack of the task at its end."""
    for one in (*chain, *beside[:BESIDE]):
        held = f", held by {task_words(one.holder)}" if one.holder is not None else ""
        yield f"{one.words}{held}"[:LONGEST]
    holder = chain[-1].holder
    if holder is not None:
        try:
            yield from dump.stack_lines(dump.stack(holder))[:STACK]
        except LOST:
            return


def _spinning(dump: Dump) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the CPUs that spin for a lock, in words, each with the lock, if it is known, and its stack."""
    for cpu, task in dump.running():
        try:
            stack = dump.stack(task)
        except LOST:
            continue
        frames = [frame for frame in stack.frames if frame.name.startswith(_SPINNING)]
        if not frames:
            continue
        address = _spinlock(frames)
        lock = f"spinlock {_spin_name(dump, address)}" if address else ""
        name = f"the {lock}" if lock else "a spinlock"
        words = f"CPU {cpu}, with {task_words(task)}, spins for {name}{_spin_owner(dump, address)}"
        yield words[:LONGEST], lock[:LONGEST], dump.stack_lines(stack)


def _spinlock(frames: Sequence[StackFrame]) -> int:
    for frame in frames:
        for name, value in pointers(frame):
            if name == "lock":
                return int(value.value_())
    return 0


def _spin_name(dump: Dump, address: int) -> str:
    kinds = ("struct spinlock", "struct raw_spinlock")
    names = (variable(dump.prog, address, kind) for kind in kinds)
    return next(filter(None, names), address_words(dump.prog, address))


def _spin_owner(dump: Dump, address: int) -> str:
    """Name the holder of a spinlock, if the kernel records it."""
    if not address:
        return ""
    try:
        lock = Object(dump.prog, "struct raw_spinlock *", address)
        if not hasattr(lock, "owner"):
            return ", which does not record who holds it (CONFIG_DEBUG_SPINLOCK is off)"
        owner = task_words(cast("struct task_struct *", lock.owner))
        return f", held by {owner} on CPU {lock.owner_cpu.value_()}"
    except LOST:
        return ""
