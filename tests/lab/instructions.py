"""Disassembles the instructions of the crashes in the module with objdump.

``python -m tests.lab.instructions LOGS`` looks at every console of a folder whose instruction pointer is in
``boom``, disassembles that place in the object file that the lab built for its kernel, and prints a line for
each: ``tests/grammars/instructions.tsv``.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.grammars import parse
from kpanic.grammars.reading.instruction import decode

from . import matrix
from .archive import cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.grammars import CrashReport

_HEADER: Final = re.compile(r"^([0-9a-f]+) <([\w.]+)>:$", re.MULTILINE)
_LINE: Final = re.compile(r"^ *([0-9a-f]+):\t([0-9a-f ]+?) *\t(.*)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"(?:\s+(?:[;@]|//)|\s{2,}#).*$")
_TARGET: Final = re.compile(r"\b[0-9a-f]+ <([\w.+]+)>")


class Row(NamedTuple):
    """The instruction of a console's crash, and objdump's text of it."""

    console: str
    machine: str
    cause: str
    error: str
    place: str
    code: str
    objdump: str


@functools.lru_cache
def disassembled(objdump: str, module: Path) -> tuple[dict[str, int], dict[int, tuple[str, str]]]:
    """Disassemble a module; return the starts of functions, and bytes and text of each instruction."""
    tool = Path(objdump)
    sandbox = ["bwrap", "--ro-bind", str(tool.parents[2]), "/", "--ro-bind", str(module.parent), "/work"]
    command = [*sandbox, "--dev", "/dev", f"/usr/bin/{tool.name}", "-d", "-j", ".text", "/work/boom.ko"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    starts = {name: int(address, 16) for address, name in _HEADER.findall(text)}
    return starts, {int(at, 16): (raw.replace(" ", ""), words) for at, raw, words in _LINE.findall(text)}


def look_up(report: CrashReport, objdump: str, module: Path) -> str | None:
    """Return objdump's text for the place of a crash; None if the module has other bytes there.

    The CPU is at an instruction or, where that was executed before it trapped, right behind it.
    """
    found = decode(report)
    ip = report.ip
    starts, instructions = disassembled(objdump, module)
    if found is None or ip is None or ip.offset is None or ip.symbol not in starts:
        return None
    code = bytes.fromhex(found.code)
    for at in (starts[ip.symbol] + ip.offset, starts[ip.symbol] + ip.offset - len(code)):
        raw, words = instructions.get(at, ("", ""))
        if raw in {code.hex(), code[::-1].hex()}:
            words = _TARGET.sub(r"\1", words)
            return re.sub(r"\s+", " ", _COMMENT.sub("", words)).strip()
    return None


_ALIASES: Final = {"push {lr}": "str lr,[sp,#-4]!", "trap": "twui r0,0"}
"""Instructions with two names: objdump's and capstone's."""


def normal(words: str, machine: str) -> str:
    """Return an instruction without the differences in format between the two disassemblers.

    On x86 the suffix that says the size, which objdump leaves out where a register says it too, and a
    segment that goes without saying; on mips the marks of registers and a distance of 0; elsewhere spaces.
    """
    words = _ALIASES.get(words, words).replace(", ", ",")
    if machine.startswith("mips"):
        return re.sub(r"(?<=[ ,])0\(", "(", words.replace("$", ""))
    if machine not in {"x86_64", "i686"}:
        return words
    name, _, operands = words.replace("rep ", "rep-").replace("lock ", "lock-").partition(" ")
    return f"{re.sub('[bwlq]$', '', name)} {operands.replace('%es:', '').strip()}".strip()


def rows(logs: Path) -> Iterator[Row]:
    """Yield a row for each console of a built module."""
    table = matrix.load()
    machines = {machine.uname: machine for machine in table.machines.values()}
    for console in sorted(logs.glob("*.log")):
        for report in parse(console.read_bytes()):
            machine = machines.get(report.kernel.architecture)
            if machine is None or report.ip is None or report.ip.module != "boom" or not report.code:
                continue
            tools = sorted(cache().glob(f"toolchains/*/usr/bin/{machine.triplet}-objdump"))
            modules = sorted(cache().glob(f"modules/{report.kernel.release}-{machine.name}-*/boom.ko"))
            for module in modules:
                words = look_up(report, str(tools[-1]), module) if tools else None
                if words is not None:
                    place = f"{report.ip.symbol}+0x{report.ip.offset:x}/0x{report.ip.size:x}"
                    code = report.oops.error_code if report.oops else None
                    error = "" if code is None else f"{code:x}"
                    known = (report.kernel.architecture, report.cause, error, place, report.code)
                    yield Row(console.stem, *known, words)
                    break


if __name__ == "__main__":
    for row in rows(Path(sys.argv[1])):
        sys.stdout.write("\t".join(row) + "\n")
