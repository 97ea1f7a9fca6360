"""x86-64 and i386 (arch/x86/kernel/{dumpstack,process_*,traps}.c, arch/x86/mm/fault.c; 2.6.32 to 7.x).

::

    RIP: 0010:[<ffffffffb3c74856>]  [<ffffffffb3c74856>] sysrq_handle_crash+0x16/0x20      before 4.9
    RIP: 0010:sysrq_handle_crash+0x16/0x20                                                since 4.9
    RIP: 0033:0x47b7a0                                                                    user mode
    EIP: sysrq_handle_crash+0x16/0x20          EIP: [<c1234567>] f+0x1/0x2 SS:ESP 0068:c0
    EIP is at sysrq_handle_crash+0x16/0x20     i386 before 4.10, behind EIP: 0060:[<c1234567>] EFLAGS: …
    EIP:    0060:[<c0145fa0>]    Not tainted VLI                                          before 2.6.22
    EFLAGS: 00010282   (2.6.18-194.el5 #1)
    IP: [<ffffffffb3c74856>] sysrq_handle_crash+0x16/0x20   header of an old oops
    RAX: 000000000000000a RBX: ffffffffb44e4ce0 RCX: 0000000000000000
    FS:  00007f5b3c0f1740(0000) GS:ffff9b1b7fc00000(0000) knlGS:0000000000000000
    CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
"""

from __future__ import annotations

import re
from typing import Final

from kpanic.grammars.machines import Machine, Rule
from kpanic.grammars.machines.pointer import PLACE, pointer, registers

_USER: Final = frozenset({"0033", "0023", "0073", "e033", "001b"})
"""Code segments of user mode, Xen's and 32-bit ones included."""
# a name, then the value with the limit or the flags behind it
_REGISTER: Final = re.compile(
    r"([A-Za-z_]{1,8}\d{0,2}): ?\s?((?:[0-9a-f]{4}:)?(?:0x)?[0-9a-f]{2,16}(?:\(\w+\))?)"
)


_LEAD: Final = r"(?:R[A-DS][A-Z]|R\d\d|E[A-DS][A-Z]|[FGCD]S|CR[0-8]|DR[0-7]|PKRU|EFLAGS|RFLAGS): "

X86 = Machine(
    name="x86_64",
    rules=(
        Rule(
            "x86_pointer",
            r"RIP: (?![^\n]*\[inline\])",
            pointer(
                rf"RIP:\s{{0,2}}(?P<raw>(?:(?P<selector>[0-9a-f]{{4}}):)?\s{{0,2}}{PLACE}[^\n]*)",
                "x86_64",
                _USER,
            ),
        ),
        Rule(
            "i386_pointer",
            r"(?:E?IP: (?! *\w{4}:\[<\w*>\] (?:[^\n]*\n){1,2}EIP is at )(?![^\n]*\[inline\])|EIP is at )",
            pointer(
                rf"E?IP(?::| is at)\s{{0,2}}(?P<raw>(?:(?P<selector>[0-9a-f]{{4}}):)?\s{{0,2}}{PLACE}[^\n]*)",
                "i686",
                _USER,
            ),
        ),
        Rule("x86_registers", _LEAD, registers(rf"(?:{_LEAD}[^\n]*\n)+", _REGISTER.findall, "x86")),
    ),
)
