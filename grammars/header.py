r"""The lines that every report may hold, whatever its family and machine.

::

    CPU: 0 UID: 0 PID: 1 Comm: init Tainted: G           OE      6.12.0 #1 Debian 6.12     since 6.11 with UID
    CPU: 0 PID: 1 Comm: init Not tainted 3.10.0-1160.el7.x86_64 #1
    CPU: 3 PID: 77 Comm: a b Kdump: loaded Tainted: G    --------- -  - 4.18.0-348.el8.x86_64 #1
    Pid: 2211, comm: bash Not tainted 2.6.32-71.el6.x86_64 #1 VMware Virtual Platform
    CPU: 1    Tainted: G           O  (3.4.113 #5)                                          arm, s390x: old
    Process swapper/0 (pid: 1, stack limit = 0x(ptrval))                                    arm
          Not tainted 6.1.0-56-amd64 #1                                                of a blocked task
    task:kworker/0:1   state:D stack:0 pid:12 ppid:2 flags:0x4000
    Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
    Modules linked in: boom(OE+) virtio_ring [last unloaded: foo]
    Code: 48 89 <0f> 0b
    Oops: 0002 [1] SMP                         x86-64 before 2.6.25
    Oops: 0002 [#1] PREEMPT SMP NOPTI          Oops: Oops: 0002 [#1] SMP NOPTI           Internal error:
    Oops: 96000004 [#1] SMP
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from kpanic.grammars.element import Element
from kpanic.grammars.machines import Rule
from kpanic.grammars.model import Hardware, Oops, Process, Taint
from kpanic.grammars.numbers import decimal, hexadecimal


class Owner(NamedTuple):
    """Who was running, on what."""

    process: Process
    taint: Taint | None
    """No flag is set where the line says "Not tainted"."""
    release: str
    build: str
    hardware: str


class Code(NamedTuple):
    """The bytes around the instruction pointer."""

    raw: str


class Modules(NamedTuple):
    """Names without the marks behind them."""

    names: tuple[str, ...]


class Task(NamedTuple):
    """The task whose stack follows."""

    name: str
    state: str
    """The letters of ``state:``, ``D`` or ``R+``."""
    pid: int | None


class Note(NamedTuple):
    """A line that says something by being there."""

    what: str
    value: str


_TAINTS: Final = (
    r"(?:Not tainted|Tainted:(?: \[[^\]\n]*\](?:=\w+,?)?,?| [A-Z]\b| {2,}[A-Z ]*| [A-Z ]+(?= [\w.]))*)"
)


def _taint(taints: str) -> Taint | None:
    if not taints:
        return None
    if not taints.startswith("Tainted"):
        return Taint("", ())
    raw = taints.removeprefix("Tainted:").strip()
    letters = re.findall(r"\[([A-Z])\]", raw) or re.findall(r"[A-Z]", raw)
    return Taint(raw, tuple(letter for letter in letters if letter != "G"))


def _owner(match: re.Match[str]) -> Owner:
    number = match["cpu"]
    user = match["uid"]
    return Owner(
        Process(
            decimal(match["pid"]),
            match["comm"].strip(),
            decimal(number),
            decimal(user),
        ),
        _taint(match["taints"] or ""),
        match["release"] or "",
        match["build"] or "",
        (match["hardware"] or "").strip(),
    )


owner = Element(
    "owner",
    r"(?:CPU: (?P<cpu>\d+) )?(?:UID: (?P<uid>\d+) )?(?:PID: |Pid: )(?P<pid>\d+),? [Cc]omm: "
    r"(?P<comm>[^\n]{0,64}?) (?:Kdump: loaded )?"
    r"(?P<taints>Not tainted|Tainted:[^\n]{0,160}?)(?:\s+(?P<release>\d+\.\d+\.\S+)(?: "
    r"\(?(?P<build>#\S+)(?P<hardware>[^\n]*)|[^\n]*)"
    r"|\s*$)",
    _owner,
    re.MULTILINE,
)

old_owner = Element(
    "owner, before the process was in it",
    r"CPU: (?P<cpu>\d+) +(?P<taints>Not tainted|Tainted:[^\n(]{0,60}?) +\(?(?P<release>\d+\.\d+[^\s)]*)"
    r" (?P<build>#[^\s)]+)[^\n]*",
    lambda match: Owner(
        Process(cpu=decimal(match["cpu"])), _taint(match["taints"]), match["release"], match["build"], ""
    ),
)
old_release = Element(
    "release, before it was in the owner's line",
    r"(?:EFLAGS: |REGS: )[0-9a-f]+ [^\n(]*\((?P<release>\d+\.\d+[^\s)]*)(?: (?P<build>#[^\s)]+))?[^\n]*",
    lambda match: Owner(Process(), None, match["release"], match["build"] or "", ""),
)
old_task = Element(
    "process on powerpc, before it was in the owner's line",
    r"TASK = [0-9a-f]+\[(?P<pid>\d+)\] '(?P<comm>[^\n]{0,64}?)'"
    r"(?: THREAD: \S+(?: CPU: (?P<cpu>\d+))?)?[^\n]*",
    lambda match: Owner(
        Process(decimal(match["pid"]), match["comm"], decimal(match["cpu"])), None, "", "", ""
    ),
)
process = Element(
    "process",
    r"Process (?P<comm>[^\n]{1,64}?) \(pid: (?P<pid>\d+),[^\n]*",
    lambda match: Owner(Process(decimal(match["pid"]), match["comm"]), None, "", "", ""),
)

hardware = Element(
    "hardware name", r"Hardware name: (?P<name>[^\n]*)", lambda match: read_hardware(match["name"])
)

_bios = re.compile(r"^(?P<box>.*?),? BIOS (?P<version>.*?)(?: (?P<date>\d\d/\d\d/\d{4}))?$")


def read_hardware(name: str) -> Hardware:
    """Take ``VENDOR PRODUCT[/BOARD], BIOS VERSION DATE`` apart, as far as it can be.

    A device tree has one name, ``NAME (DT)``: its ``model``, or the first ``vendor,device`` that it is
    compatible with (arch/arm64/kernel/setup.c, v6.12: ``dump_stack_set_arch_desc``).
    """
    name = name.strip()
    if name.endswith(" (DT)"):
        product = name.removesuffix(" (DT)")
        vendor, comma, _ = product.partition(",")
        return Hardware(name, vendor if comma and " " not in product else "", product, "", "")
    match = _bios.match(name)
    box, version, date = (match["box"], match["version"], match["date"] or "") if match else (name, "", "")
    vendor, _, product = box.partition(" ")
    for known in ("Dell Inc.", "To be filled by O.E.M.", "Red Hat", "Google Compute Engine", "Amazon EC2"):
        if box.startswith(known + " "):
            vendor, product = known, box[len(known) + 1 :]
    return Hardware(name, vendor, product.strip(), version.strip(), date)


_MARKS = re.compile(r"\(.*\)$")


def _modules(match: re.Match[str]) -> Modules:
    names = match["names"].split("[last unloaded")[0].split()
    return Modules(tuple(_MARKS.sub("", name) if name[-1] == ")" else name for name in names))


modules = Element("modules", r"Modules linked in:(?P<names>[^\n]*)", _modules)
code = Element("code", r"Code: (?P<bytes>[^\n]*)", lambda match: Code(match["bytes"].strip()))


def _oops(match: re.Match[str]) -> Oops:
    error = match["error"]
    return Oops(
        decimal(match["number"]),
        hexadecimal(error),
        tuple((match["flags"] or "").split()),
    )


OOPS: Final = (
    r"[^\n]*?(?:: | |\b)(?:(?<!sig: )(?P<error>[0-9a-f]{1,16}) (?:ilc:\d "
    r")?)?\[#?(?P<number>\d+)\](?P<flags>(?: [A-Z][A-Z_0-9]*)*)[^\n]*"
)
oops = Element("oops", OOPS, _oops)


def _task(match: re.Match[str]) -> Owner | Task:
    if match["release"]:
        return Owner(Process(), _taint(match["taints"]), match["release"], match["build"], "")
    return Task(match["name"], match["state"], decimal(match["pid"]))


task = Element(
    "task",
    r"task:(?P<name>.{1,64}?)\s+state:(?P<state>\S+)\s.*?pid:\s*(?P<pid>\d+)[^\n]*"
    r"| {0,7}(?P<taints>Not tainted|Tainted:[^\n]{0,160}?)\s+"
    r"(?P<release>\d+\.\d+\.\S+) (?P<build>#\S+)[^\n]*",
    _task,
)
nmi = Element(
    "backtrace of another CPU",
    r"(?:Sending NMI|NMI backtrace for cpu|Task dump for CPU|[^\n]*?NMI backtrace)[^\n]*",
    lambda match: Note("nmi", match[0]),
)
end = Element(
    "end of the report",
    r"(?:---\[ end (?P<what>trace|Kernel panic)|Rebooting in \d)[^\n]*",
    lambda match: Note("end" if match["what"] else "reboot", match[0]),
)

RULES = (
    Rule("owner", r"(?:CPU: \d+ (?:UID: \d+ )?PID: |Pid: \d+, comm: )", owner),
    Rule("old_owner", r"CPU: \d+ +(?:Not t|T)ainted", old_owner),
    Rule("old_release", r"(?:EFLAGS: [0-9a-f]+ +\(\d|REGS: [0-9a-f]+ TRAP: )", old_release),
    Rule("old_task", r"TASK = [0-9a-f]+\[\d+\] '", old_task),
    Rule("process", r"Process [^\n]{1,64}? \(pid: \d+,", process),
    Rule("hardware", r"Hardware name: ", hardware),
    Rule("modules", r"Modules linked in:", modules),
    Rule("code", r"Code: ", code),
    Rule(
        "oops",
        "(?:Oops|Internal error|general prot|divide|invalid op|int3|stack seg|[kK]ernel |"
        "alignment|double fa|Unable|Unhandled|BUG: |[a-z]+ (?:event|operation|exception): )"
        r"[^\n]{0,120}?(?:\[#\d+\]|: [0-9a-f]{4} \[\d+\] )",
        oops,
    ),
    Rule("task", r"(?:task:\S| {0,7}(?:Not t|T)ainted)", task),
    Rule("nmi", r"(?:Sending NMI|NMI backtrace for cpu|Task dump for CPU)", nmi),
    Rule("end", r"(?:---\[ end |Rebooting in \d)", end),
)
