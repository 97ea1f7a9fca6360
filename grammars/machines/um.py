"""User mode Linux (arch/um/kernel/{sysrq,trap}.c, arch/x86/um/sysrq_64.c; 2.6.32 to 7.x).

The kernel is a process of the host, so its code segment is that of user mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.blocks.pointer import pointer
from kpanic.grammars.machines import Machine
from kpanic.grammars.machines.address import Address

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["UM"]


@block("pointer", pointer("um"))
def rip() -> ParserElement:
    """RIP: 0033:sysrq_handle_crash+0x10/0x20

    RIP: 0033:[<0000000060012345>]
    """
    address = k.FollowedBy("[<" + k.hex_digits(16, 16) + ">]") + k.place
    return "RIP: 0033:" + k.FollowedBy(k.rest_of_line("raw")) + (k.code | address) + k.rest_of_line


UM = Machine(
    name="um",
    blocks=(rip,),
    regions=lambda _address: Address("kernel", "an address in the kernel's process on the host"),
)
