"""arm64 and arm (arch/arm64/kernel/{process,traps}.c, arch/arm/kernel/{process,traps}.c; 3.10 to 7.x).

::

    pc : sysrq_handle_crash+0x20/0x28   PC is at sysrq_handle_crash+0x20/0x28   (before 4.18, and arm)
    lr : __handle_sysrq+0x90/0x19c                 LR is at __handle_sysrq+0x90/0x19c
    pc : [<8015df40>]    lr : [<801559ec>]    psr: 60000093
    sp : ffff80000b10bb40                          pstate: 60400009 (nZCv daif +PAN -UAO)
    x29: ffff80000b10bb40 x28: ffff0000c0a80000    r10: 00000000  r9 : a0000013  r8 : 80b0b008
"""

from __future__ import annotations

import re
from typing import Final

from kpanic.grammars.machines import Machine, Rule
from kpanic.grammars.machines.pointer import PLACE, pointer, registers
from kpanic.grammars.trace import DECODED, NAME

_REGISTER: Final = re.compile(r"\b([a-z]{1,6}\d{0,2}) ?: ?(?:\[<)?([0-9a-f]{8,16})\b")


_LEAD: Final = r"(?:pstate|sp|x\d\d?|r\d\d?) ?: |pc : \[<"
_LINK: Final = rf"(?:\n(?:[^\n]*\n)?(?:LR is at|lr :) (?P<caller>{NAME})(?:\+0x|{DECODED}))?"

_POINTER: Final = rf"(?:pc :|PC is at) (?P<raw>{PLACE}[^\n]*?)(?= lr :|$|\n)(?=[^\n]*{_LINK})"

ARM = Machine(
    name="aarch64",
    rules=(
        Rule(  # arm's status register is the psr, arm64's the pstate
            "arm32_pointer",
            r"PC is at (?=[^\n]*\n(?:[^\n]*\n){0,3}[^\n]* psr: )",
            pointer(_POINTER, "armv7l"),
        ),
        Rule(
            "arm_pointer",
            r"(?:pc : (?!\[<)(?![^\n]*\[inline\])|PC is at )",
            pointer(_POINTER, "aarch64"),
        ),
        Rule("arm_registers", _LEAD, registers(rf"(?:(?:{_LEAD})[^\n]*\n)+", _REGISTER.findall, "arm")),
    ),
)
