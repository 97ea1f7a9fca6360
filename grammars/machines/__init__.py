"""The machines (CPU architectures) of reports, one file each.

A machine's file has everything that is specific to it: its names, its own blocks of a report (instruction
pointer, registers, frames), its error codes, addresses and instructions. Other distributions register
machines under the entry point group ``kpanic.machines``: a :class:`Machine`, or a module that contains some.
Other modules use the :class:`Machine` and never test its name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic import plugins
from kpanic.grammars.lazy import regex
from kpanic.grammars.machines.access import NOTHING, Access
from kpanic.grammars.machines.address import Address, special, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kpanic.grammars.blocks import Block
    from kpanic.grammars.machines.disassembler import Disassembler
    from kpanic.grammars.model import Frame

__all__ = ["GROUP", "UNKNOWN", "Machine", "find", "installed", "named_in", "of_flags", "of_trace"]

GROUP: Final = "kpanic.machines"
_BITS_32: Final = 0xFFFFFFFF
_PROGRAM: Final = range(0x400000000000, 1 << 47)
"""Addresses of programs, libraries and stacks in user space on x86-64 and arm64."""


_split: Final = split(0xC0000000)


def _unknown(_code: int) -> Access:
    return NOTHING


class Machine(Struct, frozen=True, kw_only=True):
    """Everything that is specific to a machine."""

    name: str
    """``uname -m``."""
    words: tuple[str, ...] = ()
    """Words of a release or of the kernel's banner that name the machine, including names of compilers."""
    bits: int = 64
    """Width of an address in bits; 0 if unknown."""
    blocks: tuple[Block, ...] = ()
    """The blocks of a report that only this machine prints."""
    entries: str = ""
    """A regular expression for functions of this machine alone: entries of system calls and interrupts."""
    opening: str = ""
    """The line that opens a backtrace without addresses on this machine alone."""
    flags: frozenset[str] = frozenset()
    """Words after ``Oops: … [#1]`` that no other machine prints."""
    fault: Callable[[int], Access] = _unknown
    """Returns the access that an error code describes."""
    says_fetch: bool = False
    """Whether the error code distinguishes an instruction fetch from a read."""
    says_trap: bool = False
    """Whether the error code describes exceptions other than page faults too."""
    code_apart: bool = False
    """Whether the number in ``Oops:`` is not an error code."""
    regions: Callable[[int], Address] = _split
    """Returns the meaning of an address other than a poison, an error code or NULL."""
    ignored_bits: int = 0
    """Number of the topmost bits of an address, which may hold a tag."""
    shadow: int = 0
    """KASAN_SHADOW_OFFSET: the shadow of an address is at an eighth of the address plus this."""
    code_register: str = ""
    """The register of the dump that holds the error code."""
    address_register: str = ""
    """The register of the dump that holds the faulting address."""
    big_endian: str = ""
    """``uname -m`` of the same machine in big-endian order."""
    untitled: bool = False
    """Whether frames may follow the registers without an opening line."""
    bug: frozenset[str] = frozenset()
    """Instructions of BUG() as ``Code:`` shows them; the header calls them undefined."""
    disassembler: Disassembler | None = None

    def locate(self, address: int) -> Address:
        """Return the meaning of an address, derived from its value alone."""
        bits = self.bits or (64 if address > _BITS_32 else 32)
        return special(address, bits) or self.regions(address)

    def access(self, code: int | None) -> Access:
        """Return the access that an error code describes; :data:`NOTHING` if it describes none."""
        return NOTHING if code is None else self.fault(code)

    def cause(self, header: str, access: Access, address: int | None) -> str:
        """Return the cause of a page fault; the header's, if that is more specific than ``bad-pointer``.

        :param header: the cause by the header alone.
        :param access: the access, by the error code.
        :param address: the faulting address.
        """
        if address is None or header != "bad-pointer":
            return header
        place = self.locate(address).place
        if place == "null":
            return "null-dereference"
        if place == "user" and (access.page == "protected" or address in _PROGRAM):
            return "user-memory-access"
        if access.page == "protected" and place == "kernel":
            if access.deed == "execute":
                return "exec-protected"
            if access.deed == "write":
                return "write-protected"
        return header


REMEMBERED: Final = 16_384
"""Maximum functions whose machine is cached."""
UNKNOWN: Final = Machine(name="", bits=0)
"""A machine that no plugin describes."""


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Machine]:
    return {machine.name: machine for machine in plugins.installed(GROUP, Machine)}


@lru_cache(maxsize=1)
def _words() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of words that name machines, with a group for compiler targets; words to names."""
    names = {word: machine.name for machine in installed() for word in machine.words}
    words = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))  # one may be part of another
    target = r"(?P<target>(?<=-linux)|(?=-(?:\w{1,20}-)?linux))"
    return regex(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9]){target}?"), names


def installed() -> Iterable[Machine]:
    """Return all machines."""
    return _by_name().values()


def find(name: str) -> Machine:
    """Return the machine with this name of ``uname -m``; :data:`UNKNOWN` if there is none."""
    return _by_name().get(name, UNKNOWN)


def of_flags(flags: Iterable[str]) -> str:
    """Return ``uname -m`` of the machine that alone prints one of these words after ``Oops: … [#1]``."""
    return next((machine.name for machine in installed() if not machine.flags.isdisjoint(flags)), "")


@lru_cache(maxsize=1)
def _entries() -> list[tuple[str, re.Pattern[str]]]:
    return [(machine.name, regex(machine.entries)) for machine in installed() if machine.entries]


@lru_cache(maxsize=REMEMBERED)
def _of_entry(function: str) -> str:
    """Return ``uname -m`` of the machine that alone has this function as an entry."""
    return next((name for name, entry in _entries() if entry.match(function)), "")


def of_trace(opening: str, frames: Sequence[Frame]) -> str:
    """Return ``uname -m`` of the machine that a backtrace identifies; empty if several print one like it.

    :param opening: the line that opens the backtrace.
    """
    named = next(filter(None, (_of_entry(frame.symbol) for frame in frames)), "")
    narrow = any(frame.address is not None and not frame.address >> 32 for frame in frames)
    if named or not frames or narrow:  # sh opens a backtrace with the same line as arm64
        return named
    return next((one.name for one in installed() if one.opening and one.opening == opening), "")


def named_in(text: str) -> str:
    """Return ``uname -m`` of the machine that a release or a banner names; empty if it names none."""
    pattern, names = _words()
    found = list(pattern.finditer(text))
    best = next((one for one in found if one["target"] is not None), found[0] if found else None)
    return names[best[0]] if best else ""
