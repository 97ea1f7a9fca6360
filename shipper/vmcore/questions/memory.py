"""What filled the memory: by class, by slab cache, by process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drgn.helpers.linux.mm import task_rss, totalram_pages
from drgn.helpers.linux.slab import for_each_slab_cache, slab_cache_pages_per_slab, slab_cache_usage
from drgn.helpers.linux.vmstat import global_node_page_state, nr_free_pages

from kpanic.shipper.vmcore.answers import LONGEST, Answer, Finding
from kpanic.shipper.vmcore.dump import task_words
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["NAME", "ask"]

NAME: Final = "memory"
SHOWN: Final = 10
"""Maximum slab caches, and processes."""
CACHES: Final = 4000
"""Maximum slab caches that are looked at."""
LARGE: Final = 0.3
"""Share of the memory from which on a class or a cache explains its lack."""

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


def ask(dump: Dump) -> Answer:
    """Say how the memory was used, and what of it explains that none was left."""
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
    for what, users, how in (("slab cache", caches, ""), ("process", processes, " resident")):
        if users:
            size, name = users[0]
            words = f"The largest {what} is {name}, with {_mib(size)}{how}."
            shown = tuple(f"{_mib(size)} {name}" for size, name in users[:SHOWN])
            findings.append(Finding(words, shown))
    return Answer(NAME, tuple(findings), verdict=_explains(total, classes, caches, processes))


def _explains(
    total: int, classes: dict[str, int], caches: list[tuple[int, str]], processes: list[tuple[int, str]]
) -> str:
    """Name the largest user of memory, if it is large."""
    name, size = max(classes.items(), key=lambda one: one[1])
    if not total or size < LARGE * total:
        return ""
    words = f"{_mib(size)} of {_mib(total)} were {name}"
    if name.startswith("slab") and caches and caches[0][0] >= size / 2:
        words += f", most of it {_mib(caches[0][0])} of the slab cache {caches[0][1]}"
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


def _caches(dump: Dump, page: int) -> Iterator[tuple[int, str]]:
    try:
        for number, cache in enumerate(for_each_slab_cache(dump.prog)):
            if number == CACHES:
                return
            try:
                size = slab_cache_usage(cache).num_slabs * slab_cache_pages_per_slab(cache) * page
                yield size, cache.name.string_().decode("utf-8", "replace")[:LONGEST]
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
