"""The memory cgroup whose limit was reached, and those that use most.

:see: include/linux/memcontrol.h, page_counter.h (Linux 6.1); Documentation/admin-guide/cgroup-v2.rst
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from drgn import container_of
from drgn.helpers.linux.cgroup import cgroup_path, css_for_each_descendant_pre

from kpanic.shipper.vmcore.answers import LONGEST
from kpanic.shipper.vmcore.lost import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drgn import Object

    from kpanic.shipper.vmcore.dump import Dump

__all__ = ["Group", "exhausted", "group_of", "groups", "holds", "path_of"]

GROUPS: Final = 10_000
"""Maximum cgroups that are examined."""
DEEPEST: Final = 64
"""Maximum ancestors of a cgroup."""
_STATES: Final = (
    ("anonymous memory of processes", "NR_ANON_MAPPED"),
    ("page cache", "NR_FILE_PAGES"),
    ("shared memory and tmpfs (part of the page cache)", "NR_SHMEM"),
)
"""Counters of pages in ``memcg_vmstats.state``."""


class Group(NamedTuple):
    """A memory cgroup.

    :ivar usage: bytes that are charged to it and to those below it.
    :ivar limit: ``memory.max`` in bytes; None without a limit.
    :ivar failures: how often a charge met the limit.
    """

    memcg: Object
    path: str
    usage: int
    limit: int | None
    failures: int

    def lines(self, page: int) -> Iterator[str]:
        """Yield its charged memory by class, if the counters lie as in Linux 5.19 to 6.9."""
        prog = self.memcg.prog_
        if "mem_cgroup_stats_index" in prog:
            return
        for words, name in _STATES:
            try:
                size = max(0, self.memcg.vmstats.state[prog[name]].value_()) * page
            except LOST:
                continue
            yield f"{size / (1 << 20):.1f} MiB {words}"


def exhausted(dump: Dump) -> Group | None:
    """Return the cgroup that ran out of memory; None if the whole machine did, or if the dump does not tell.

    The functions that panicked hold it in their ``struct oom_control`` (mm/oom_kill.c).
    """
    for frame in dump.crashed.frames:
        try:
            control = frame["oc"]
            if control.absent_:
                continue
            memcg = control.memcg.read_()
            return _group(memcg) if memcg else None
        except LOST:
            continue
    return None


def group_of(task: Object) -> Object:
    """Return the memory cgroup of a task.

    :return: ``struct mem_cgroup *``
    """
    prog = task.prog_
    css = task.cgroups.subsys[prog["memory_cgrp_id"]]
    return container_of(css, "struct mem_cgroup", "css")


def holds(memcg: Object, inner: Object) -> bool:
    """Tell whether a cgroup is another cgroup or one of its ancestors."""
    css = inner.css.address_of_()
    for _ in range(DEEPEST):
        if not css:
            return False
        if css.value_() == memcg.css.address_of_().value_():
            return True
        css = css.parent.read_()
    return False


def path_of(memcg: Object) -> str:
    """Return the path of a cgroup in its hierarchy."""
    return cgroup_path(memcg.css.cgroup).decode("utf-8", "replace")[:LONGEST]


def groups(dump: Dump) -> Iterator[Group]:
    """Yield the memory cgroups below the root."""
    try:
        root = dump.prog["root_mem_cgroup"].css.address_of_()
        for css in itertools.islice(css_for_each_descendant_pre(root), 1, GROUPS):
            try:
                yield _group(container_of(css, "struct mem_cgroup", "css"))
            except LOST:
                continue
    except LOST:
        return


def _group(memcg: Object) -> Group:
    page = memcg.prog_["PAGE_SIZE"].value_()
    counter = memcg.memory
    most = counter.max.value_()
    return Group(
        memcg,
        path_of(memcg),
        max(0, counter.usage.counter.value_()) * page,
        None if most >= ((1 << 63) - 1) // page else most * page,
        counter.failcnt.value_(),
    )
