"""Lines that ksymoops adds to an oops of Linux 2.4 and older, whose frames are addresses without symbols.

::

    >>EIP; c881c054 <[aacraid]AAC_AnnounceDriver+0/8>   <=====
    Trace; c881c07e <[aacraid]AAC_DetectHostAdapter+22/7c>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block, sentence
from kpanic.grammars.blocks.backtrace import Trace
from kpanic.grammars.blocks.pointer import pointer

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["BLOCKS"]


def _code() -> ParserElement:
    """Match ``<[module]f+16/20>``, with hexadecimal numbers without ``0x``."""
    home = k.Opt("[" + k.Regex(r"[\w-]+")("home") + "]")
    sizes = k.Opt("+" + k.hex_number("offset") + k.Opt("/" + k.hex_number("size")))
    return "<" + home + k.Regex(r"[A-Za-z_.$][\w.$]*")("name") + sizes + k.rest_of_line


@block("pointer", pointer())
def place() -> ParserElement:
    """>>EIP; c881c054 <[aacraid]AAC_AnnounceDriver+0/8>   <=====

    PC;  c00b1f44 <ext2_free_inode+3c/1b0>   <=====
    """
    register = k.one_of("EIP; ", "RIP; ", "NIP; ", "PC;  ", ">>EIP; ", ">>RIP; ", ">>NIP; ", ">>PC;  ")
    return register + k.hex_digits(8, 16)("address") + " " + _code()


@sentence
def frame() -> ParserElement:
    """Trace; c881c07e <[aacraid]AAC_DetectHostAdapter+22/7c>"""
    return "Trace; " + k.hex_digits(8, 16)("address") + " " + _code()


@block("frames", lambda fields: Trace(fields["lines"], frame, linked=True), each=frame)
def frames() -> ParserElement:
    """Trace; c881c07e <[aacraid]AAC_DetectHostAdapter+22/7c>
    Trace; c0120899 <insert_vm_struct+2d/60>
    """
    return k.Lines(frame.build())("lines")


BLOCKS: Final = (place, frames)
