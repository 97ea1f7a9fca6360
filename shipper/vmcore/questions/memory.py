"""The use of memory: by class, slab cache, process and cgroup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from drgn.helpers.linux.mm import task_rss, totalram_pages
from drgn.helpers.linux.slab import for_each_slab_cache, slab_cache_pages_per_slab, slab_cache_usage
from drgn.helpers.linux.vmstat import global_node_page_state, nr_free_pages

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding, sentence
from kpanic.shipper.vmcore.dump import slab_flag, task_words
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.questions import cgroups
from kpanic.shipper.vmcore.questions.owners import owners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.vmcore.dump import Dump
    from kpanic.shipper.vmcore.questions.cgroups import Group

__all__ = ["NAME", "ask"]

NAME: Final = "memory"
SMALL: Final = 1 << 16
"""Bytes below which a slab cache is not shown."""
SHOWN: Final = 10
"""Maximum slab caches, processes and cgroups."""
CACHES: Final = 4000
"""Maximum slab caches that are examined."""
LARGE: Final = 0.3
"""Minimum share of the memory with which a class or a cache explains its lack."""
_RECLAIMABLE: Final = 0x20000
"""``SLAB_RECLAIM_ACCOUNT``, see :func:`slab_flag`."""

_CLASSES: Final = (
    ("anonymous memory of processes", ("NR_ANON_MAPPED",)),
    ("page cache", ("NR_FILE_PAGES",)),
    ("shared memory and tmpfs (part of the page cache)", ("NR_SHMEM",)),
    ("slab that cannot be reclaimed", ("NR_SLAB_UNRECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE")),
    ("slab that can be reclaimed", ("NR_SLAB_RECLAIMABLE_B", "NR_SLAB_RECLAIMABLE")),
    ("page tables", ("NR_PAGETABLE",)),
    ("stacks of tasks in the kernel", ("NR_KERNEL_STACK_KB",)),
)
"""Counters of ``enum node_stat_item``; their names of Linux 6.1, then older ones."""


class _Cache(NamedTuple):
    """A slab cache.

    :ivar size: bytes of all its slabs.
    """

    size: int
    name: str
    reclaimable: bool


def ask(dump: Dump) -> Answer:
    """Describe how the memory was used, and which use explains its lack.

    If a memory cgroup ran out of memory, only its own charges count.
    """
    group = cgroups.exhausted(dump)
    return _of_machine(dump) if group is None else _of_group(dump, group)


def _of_machine(dump: Dump) -> Answer:
    prog = dump.prog
    page = prog["PAGE_SIZE"].value_()
    total = totalram_pages(prog) * page
    classes = dict(_classes(dump, page))
    caches = sorted(_caches(dump, page), reverse=True)
    processes = sorted(_processes(dump, page), reverse=True)
    lines = tuple(f"{_mib(size)} {name}" for name, size in classes.items())
    known = sum(size for name, size in classes.items() if "part of" not in name)
    free = nr_free_pages(prog) * page
    lines += (
        f"{_mib(free)} free",
        f"{_mib(max(total - known - free, 0))} none of these (drivers, modules, …)",
    )
    findings = [Finding(f"Of {_mib(total)} of memory {_mib(free)} were free.", lines)]
    if caches:
        words = f"The largest slab cache is {caches[0].name}, with {_mib(caches[0].size)}."
        can = {True: "can be reclaimed", False: "cannot be reclaimed"}
        large = [one for one in caches[:SHOWN] if one.size >= SMALL]
        shown = tuple(f"{_mib(one.size)} {one.name}, {can[one.reclaimable]}" for one in large)
        findings.append(Finding(words, shown))
    findings += [*_largest("process", processes, " resident"), *_groups(dump)]
    allocated = owners(dump)
    for one in allocated:
        words = f"{one.share:.0%} of the allocated pages were allocated by {one.function}."
        findings.append(Finding(words[:LONGEST], one.lines))
    verdict = _explains(total, classes, caches, processes)
    if not verdict and allocated and allocated[0].share >= LARGE:
        verdict = (
            f"{allocated[0].share:.0%} of the allocated pages were allocated by {allocated[0].function}"[
                :LONGEST
            ]
        )
    return Answer(NAME, tuple(findings), verdict=verdict)


def _of_group(dump: Dump, group: Group) -> Answer:
    page = dump.prog["PAGE_SIZE"].value_()
    limit = f"its limit of {_mib(group.limit)}" if group.limit is not None else "a limit of a cgroup above it"
    words = f"the memory cgroup {group.path} reached {limit}"
    lines = (f"{_mib(group.usage)} charged", *group.lines(page), f"{group.failures} charges met the limit")
    inside = sorted(
        ((size, f"{name} in {path}") for size, name, path in _inside(dump, group, page)), reverse=True
    )
    findings = [
        Finding(sentence(words), lines),
        *_largest("task in it", inside, " resident"),
    ]
    verdict = words
    if inside and inside[0][0] >= group.usage / 2:
        verdict += f", most of it memory of {inside[0][1]}"
    return Answer(NAME, tuple(findings), verdict=verdict[:LONGEST])


def _largest(what: str, users: list[tuple[int, str]], how: str = "") -> Iterator[Finding]:
    """Yield a finding that names the largest user of memory, with the others as its evidence."""
    if users:
        size, name = users[0]
        lines = tuple(f"{_mib(size)} {name}"[:LONGEST] for size, name in users[:SHOWN])
        yield Finding(f"The largest {what} is {name}, with {_mib(size)}{how}.", lines)


def _groups(dump: Dump) -> Iterator[Finding]:
    """Yield the use of the memory cgroups."""
    users = [
        (one.usage, one.path if one.limit is None else f"{one.path}, of a limit of {_mib(one.limit)}")
        for one in cgroups.groups(dump)
    ]
    yield from _largest("memory cgroup", sorted(users, reverse=True))


def _explains(
    total: int, classes: dict[str, int], caches: list[_Cache], processes: list[tuple[int, str]]
) -> str:
    """Name the largest user of memory, if it is large."""
    name, size = max(classes.items(), key=lambda one: one[1])
    if not total or size < LARGE * total:
        return ""
    words = f"{_mib(size)} of {_mib(total)} were {name}"
    if name.startswith("slab"):
        largest = next((one for one in caches if one.reclaimable == name.endswith("can be reclaimed")), None)
        if largest:
            most = "most of it" if largest.size >= size / 2 else "the largest part of it"
            words += f", {most} in the slab cache {largest.name} ({_mib(largest.size)})"
    elif name.startswith("anonymous") and processes and processes[0][0] >= size / 2:
        words += f", most of it of {processes[0][1]}"
    return words


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _classes(dump: Dump, page: int) -> Iterator[tuple[str, int]]:
    for name, counters in _CLASSES:
        for counter in counters:
            try:
                value = global_node_page_state(dump.prog, dump.prog[counter])
            except LOST:
                continue
            yield name, value * (1024 if counter.endswith("_KB") else page)
            break


def _caches(dump: Dump, page: int) -> Iterator[_Cache]:
    flag = slab_flag(dump.prog, "RECLAIM_ACCOUNT", _RECLAIMABLE)
    try:
        for number, cache in enumerate(for_each_slab_cache(dump.prog)):
            if number == CACHES:
                return
            try:
                size = slab_cache_usage(cache).num_slabs * slab_cache_pages_per_slab(cache) * page
                name = cache.name.string_().decode("utf-8", "replace")[:LONGEST]
                yield _Cache(size, name, bool(cache.flags.value_() & flag))
            except LOST:
                continue
    except LOST:
        return


def _processes(dump: Dump, page: int) -> Iterator[tuple[int, str]]:
    try:
        for task in dump.tasks():
            try:
                if size := task_rss(dump.prog, task).total * page:
                    yield size, task_words(task)
            except LOST:
                continue
    except LOST:
        return


def _inside(dump: Dump, group: Group, page: int) -> Iterator[tuple[int, str, str]]:
    """Yield the tasks of a cgroup and of those below it: resident bytes, the task, its own cgroup."""
    try:
        for task in dump.tasks():
            try:
                own = cgroups.group_of(task)
                if cgroups.holds(group.memcg, own) and (size := task_rss(dump.prog, task).total * page):
                    yield size, task_words(task), cgroups.path_of(own)
            except LOST:
                continue
    except LOST:
        return
