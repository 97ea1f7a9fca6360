"""Machines that Linux prints reports on, one file each.

A machine's file has everything that is specific to it: its names, the blocks of a report that only it prints
(instruction pointer, registers, frames), its error codes, its addresses, its instructions. Other
distributions register theirs under the entry point group ``kpanic.machines``: a :class:`Machine`, or a module
with some. Other modules ask the machine's object, and never test its name.
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
"""Where x86-64 and arm64 have the programs, libraries and stacks of user space."""


_split: Final = split(0xC0000000)


def _unknown(_code: int) -> Access:
    return NOTHING


class Machine(Struct, frozen=True, kw_only=True):
    """The specifics of a machine."""

    name: str
    """``uname -m``."""
    words: tuple[str, ...] = ()
    """Words of a release or of the kernel's banner that name it, including compilers' words."""
    bits: int = 64
    """Bits of an address; 0 if unknown."""
    blocks: tuple[Block, ...] = ()
    """The blocks of a report that only it prints."""
    entries: str = ""
    """A regular expression for functions that only it has: entries of its programs and interrupts."""
    opening: str = ""
    """The line with which only it opens a backtrace of functions without addresses."""
    flags: frozenset[str] = frozenset()
    """Words after ``Oops: … [#1]`` that no other machine prints."""
    fault: Callable[[int], Access] = _unknown
    """The meaning of a fault's error code."""
    says_fetch: bool = False
    """The error code tells an instruction's fetch from a read."""
    says_trap: bool = False
    """Whether the error code tells what an exception other than a page fault was."""
    code_apart: bool = False
    """Whether the number in ``Oops:`` is not an error code."""
    regions: Callable[[int], Address] = _split
    """The meaning of an address other than a poison, an error code or NULL."""
    ignored_bits: int = 0
    """Topmost bits of an address that may hold a tag."""
    shadow: int = 0
    """KASAN_SHADOW_OFFSET: an access is checked at an eighth of its address plus this."""
    code_register: str = ""
    """The register of the dump that holds the error code."""
    address_register: str = ""
    """The register of the dump that holds the faulting address."""
    big_endian: str = ""
    """``uname -m`` of the same machine in big-endian order."""
    untitled: bool = False
    """Frames may follow the registers without a line that opens them."""
    bug: frozenset[str] = frozenset()
    """Instructions of BUG(), as ``Code:`` shows them, which the header calls undefined."""
    disassembler: Disassembler | None = None

    def locate(self, address: int) -> Address:
        """Return the meaning of an address, as far as the number alone tells."""
        bits = self.bits or (64 if address > _BITS_32 else 32)
        return special(address, bits) or self.regions(address)

    def access(self, code: int | None) -> Access:
        """Return an error code in words; empty if it says nothing on this machine."""
        return NOTHING if code is None else self.fault(code)

    def cause(self, header: str, access: Access, address: int | None) -> str:
        """Name the cause of a page fault whose header says only that there was one."""
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
"""Functions whose machine is kept at hand."""
UNKNOWN: Final = Machine(name="", bits=0)
"""A machine that no file describes."""


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Machine]:
    return {machine.name: machine for machine in plugins.installed(GROUP, Machine)}


@lru_cache(maxsize=1)
def _words() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of words that name machines, with a group for targets, and the words' machines."""
    names = {word: machine.name for machine in installed() for word in machine.words}
    words = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))  # one may be part of another
    target = r"(?P<target>(?<=-linux)|(?=-(?:\w{1,20}-)?linux))"
    return regex(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9]){target}?"), names


def installed() -> Iterable[Machine]:
    """Return the machines that are known."""
    return _by_name().values()


def find(name: str) -> Machine:
    """Return the machine with a name of ``uname -m``; :data:`UNKNOWN` if there is none."""
    return _by_name().get(name, UNKNOWN)


def of_flags(flags: Iterable[str]) -> str:
    """Return ``uname -m`` of the only machine that prints one of the words after ``Oops: … [#1]``."""
    return next((machine.name for machine in installed() if not machine.flags.isdisjoint(flags)), "")


@lru_cache(maxsize=1)
def _entries() -> list[tuple[str, re.Pattern[str]]]:
    return [(machine.name, regex(machine.entries)) for machine in installed() if machine.entries]


@lru_cache(maxsize=REMEMBERED)
def _of_entry(function: str) -> str:
    """Return ``uname -m`` of the machine that alone enters its kernel by such a function."""
    return next((name for name, entry in _entries() if entry.match(function)), "")


def of_trace(opening: str, frames: Sequence[Frame]) -> str:
    """Return ``uname -m`` of the only machine that prints such a backtrace; empty if several do.

    :param opening: the line that opens it.
    """
    named = next(filter(None, (_of_entry(frame.symbol) for frame in frames)), "")
    narrow = any(frame.address is not None and not frame.address >> 32 for frame in frames)
    if named or not frames or narrow:  # sh opens a trace as arm64 does
        return named
    return next((one.name for one in installed() if one.opening and one.opening == opening), "")


def named_in(text: str) -> str:
    """Return ``uname -m`` of the machine that a release or a banner names; empty if it names none."""
    pattern, names = _words()
    found = list(pattern.finditer(text))
    best = next((one for one in found if one["target"] is not None), found[0] if found else None)
    return names[best[0]] if best else ""
