"""Machines that Linux prints reports on, one file each.

A machine's file has all that is particular to it: its names, the blocks of a report that it alone prints
(instruction pointer, registers, frames), its error codes, its addresses, its instructions. Other
distributions register theirs under the entry point group ``kpanic.machines``: a :class:`Machine`, or a
module with some.
Whoever needs to know something of a machine asks it, and never tests its name.
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
    """What is particular to a machine."""

    name: str
    """``uname -m``."""
    words: tuple[str, ...] = ()
    """Words of a release or of the kernel's banner that name it, compilers' included."""
    bits: int = 64
    """Of an address; 0 where they are not known."""
    blocks: tuple[Block, ...] = ()
    """What it alone prints in a report."""
    entries: str = ""
    """A regular expression for functions that it alone has: where its programs and interrupts enter."""
    opening: str = ""
    """How it alone opens a trace of functions without their addresses."""
    flags: frozenset[str] = frozenset()
    """Words behind ``Oops: … [#1]`` that no other machine prints."""
    fault: Callable[[int], Access] = _unknown
    """What the error code of a fault says."""
    says_fetch: bool = False
    """The error code tells an instruction's fetch from a read."""
    says_trap: bool = False
    """The error code says what an exception was that is no page fault."""
    code_apart: bool = False
    """What ``Oops:`` has is no error code."""
    regions: Callable[[int], Address] = _split
    """What an address is that is no poison, error code or NULL."""
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
    """Instructions of BUG(), as ``Code:`` shows them, that the header takes for undefined ones."""
    disassembler: Disassembler | None = None

    def locate(self, address: int) -> Address:
        """Say what an address is, as far as the number alone tells."""
        bits = self.bits or (64 if address > _BITS_32 else 32)
        return special(address, bits) or self.regions(address)

    def access(self, code: int | None) -> Access:
        """Put an error code into words; empty where the machine has none that says something."""
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
    """Return what finds words that name machines, with a group for a compiler's target, and the machines."""
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
    """Return ``uname -m`` of the machine that alone prints one of the words behind ``Oops: … [#1]``."""
    return next((machine.name for machine in installed() if not machine.flags.isdisjoint(flags)), "")


@lru_cache(maxsize=1)
def _entries() -> list[tuple[str, re.Pattern[str]]]:
    return [(machine.name, regex(machine.entries)) for machine in installed() if machine.entries]


@lru_cache(maxsize=REMEMBERED)
def _of_entry(function: str) -> str:
    """Return ``uname -m`` of the machine that alone enters its kernel by such a function."""
    return next((name for name, entry in _entries() if entry.match(function)), "")


def of_trace(opening: str, frames: Sequence[Frame]) -> str:
    """Return ``uname -m`` of the machine that alone prints such a trace; empty where it does not tell.

    :param opening: the line that opens it.
    """
    named = next(filter(None, (_of_entry(frame.symbol) for frame in frames)), "")
    narrow = any(frame.address is not None and not frame.address >> 32 for frame in frames)
    if named or not frames or narrow:  # sh opens a trace as arm64 does
        return named
    return next((one.name for one in installed() if one.opening and one.opening == opening), "")


def named_in(text: str) -> str:
    """Return ``uname -m`` of the machine that a release or a banner names; empty where it names none."""
    pattern, names = _words()
    found = list(pattern.finditer(text))
    best = next((one for one in found if one["target"] is not None), found[0] if found else None)
    return names[best[0]] if best else ""
