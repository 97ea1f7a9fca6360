"""The running task and the kernel (lib/dump_stack.c, kernel/sched/core.c, arch/*/kernel/process.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Process, Taint
from kpanic.grammars.numbers import decimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyparsing import ParserElement

__all__ = ["BLOCKS", "Owner", "Task", "read_owner"]

_LETTER: Final = regex(r"[A-Z]")
_NAMED: Final = regex(r"\[([A-Z])\]")


class Owner(Struct, frozen=True):
    """The running task, with its CPU, kernel and machine."""

    process: Process
    taint: Taint | None
    """Taint flags; empty if the line says "Not tainted"."""
    release: str
    build: str
    hardware: str
    """The machine, which Linux names on the same line until 3.9."""


class Task(Struct, frozen=True):
    """The task whose stack follows."""

    name: str
    state: str
    """The letters of ``state:``, ``D`` or ``R+``."""
    pid: int | None


def _taint(taints: str) -> Taint | None:
    """Read ``Tainted: G    B   W  OE``, or ``Tainted: [B]=BAD_PAGE, [W]=WARN`` of Linux 6.13."""
    if not taints:
        return None
    if not taints.startswith("Tainted"):
        return Taint("", ())
    raw = taints.removeprefix("Tainted:").strip()
    letters = _NAMED.findall(raw) or _LETTER.findall(raw)
    return Taint(raw, tuple(letter for letter in letters if letter != "G"))


def read_owner(fields: Mapping[str, str]) -> Owner:
    """Return the owner of a line's fields: cpu, uid, pid, comm, taints, release, build, hardware."""
    return Owner(
        Process(
            decimal(fields.get("pid")),
            fields.get("comm", "").strip(),
            decimal(fields.get("cpu")),
            decimal(fields.get("uid")),
        ),
        _taint(fields.get("taints", "")),
        fields.get("release", ""),
        fields.get("build", ""),
        fields.get("hardware", "").strip(),
    )


def _release() -> ParserElement:
    """Match a release: it begins with two numbers, or the build's ``#`` comes next."""
    return k.Regex(r"\d{1,3}\.\d{1,3}\.\S+|\S{1,100}(?= #\d)").set_name("release")


def _kernel(behind: ParserElement) -> ParserElement:
    """Match taints, release and build, followed by ``behind``."""
    gap = k.Regex(r"[ \t]{1,80}")
    clean = k.sentence("not tainted")  # typed from a photograph
    taints = clean | k.Combine("Tainted:" + k.UpTo(gap + _release() | _rest_blank(), most=160))
    build = " " + k.Opt("(") + k.Regex(r"#\S+")("build") + behind
    return taints("taints") + (gap + _release()("release") + (build | k.rest_of_line) | _rest_blank())


def _rest_blank() -> ParserElement:
    """Match the remaining blanks of the line."""
    return k.Regex(r"[ \t]{0,80}(?=\n|\Z)").set_name("end of line")


def _task(pid: ParserElement | str, behind: ParserElement) -> ParserElement:
    """Match a process, then the kernel, which is on the next line if a mail program wrapped the text."""
    blank = " " | k.Regex(r"\n[ \t]{1,16}(?=(?:Not t|T)ainted)")
    kernel = blank + k.Opt("Kdump: loaded ") + _kernel(behind)
    comm = k.UpTo(kernel, most=64)("comm")
    return pid + k.number("pid") + k.Opt(",") + " " + k.one_of("Comm: ", "comm: ") + comm + kernel


@block("owner", read_owner)
def running() -> ParserElement:
    """CPU: 0 UID: 0 PID: 1 Comm: init Tainted: G           OE      6.12.0 #1 Debian 6.12

    CPU: 0 PID: 1 Comm: init Not tainted 3.10.0-1160.el7.x86_64 #1

    CPU: 3 PID: 77 Comm: a b Kdump: loaded Tainted: G    --------- -  - 4.18.0-348.el8.x86_64 #1

    CPU: 1 UID: 0 PID: 5880 Comm: syz.0.17 Not tainted syzkaller #0 PREEMPT(full)
    """
    user = k.Opt("UID: " + k.number("uid") + " ")
    return "CPU: " + k.number("cpu") + " " + user + _task(k.Literal("PID: "), k.rest_of_line)


@block("owner", read_owner)
def bracketed() -> ParserElement:
    """Pid: 9, comm: events/0 Not tainted (2.6.31.5-127.fc12.i686.PAE #1) Board

    Pid: 9, comm: events/0 Tainted: P        ( #1)
    """  # arch/x86/kernel/process_32.c, before 2.6.35
    taints = k.one_of("Not tainted", "Tainted: ") + k.Regex(r"[A-Z ]{0,40}")
    release = k.Opt(k.Regex(r"[^\s()]{1,100}")("release")) + " " + k.Regex(r"#[^\s)]+")("build") + ")"
    kernel = k.Combine(taints)("taints") + "(" + release
    hardware = k.UpTo(k.Regex(r" ?EIP: [0-9a-f]{4}:"))("hardware")  # the next line, wrapped into this one
    comm = k.UpTo(k.Regex(r" (?:Not t|T)ainted"), most=64)("comm")
    return "Pid: " + k.number("pid") + ", comm: " + comm + " " + kernel + hardware + k.rest_of_line


@block("owner", read_owner)
def pid() -> ParserElement:
    """Pid: 2211, comm: bash Not tainted 2.6.32-71.el6.x86_64 #1 VMware Virtual Platform"""
    return _task(k.one_of("Pid: ", "PID: "), k.rest_of_line("hardware"))


@block("owner", read_owner)
def cpu() -> ParserElement:
    """CPU: 1    Tainted: G           O  (3.4.113 #5)"""  # arm and s390x, before 3.10
    taints = "Not tainted" | k.Combine("Tainted:" + k.UpTo(k.Regex(r" +\(?\d+\.\d"), most=60))
    release = k.Regex(r"\d+\.\d+[^\s)]*")("release")
    return (
        ("CPU: " + k.number("cpu") + k.Regex(" {1,40}") + taints("taints") + k.Regex(" {1,40}"))
        + (k.Opt("(") + release + " " + k.Regex(r"#[^\s)]+")("build") + k.rest_of_line)
    )  # fmt: skip


@block("owner", read_owner)
def process() -> ParserElement:
    """Process khubd (pid: 33, stack limit = 0xef1a82f8)

    Process swapper/0 (pid: 1, threadinfo=87c2c000, task=87c28000, tls=00000000)
    """
    comm = k.UpTo(k.Regex(r" \(pid: \d+,"), least=1, most=64)("comm")
    return "Process " + comm + " (pid: " + k.number("pid") + "," + k.rest_of_line


@block("owner", read_owner)
def allocated() -> ParserElement:
    """comm "worker/1", pid 5087, jiffies 4294976980 (age 8.630s)"""  # mm/kmemleak.c
    comm = k.UpTo('", pid ', least=1, most=64)("comm")
    return k.one_of('  comm "', 'comm "') + comm + '", pid ' + k.number("pid") + k.rest_of_line


@block("owner", read_owner)
def tainted() -> ParserElement:
    """Not tainted 6.1.0-56-amd64 #1"""  # below the header of a hung task
    indent = k.one_of(*(" " * width for width in range(7, -1, -1)))
    return indent + k.FollowedBy(k.one_of("Not t", "Tainted: ")) + _blocked()


def _blocked() -> ParserElement:
    gap = k.Regex(r"[ \t]{1,80}")
    taints = "Not tainted" | k.Combine("Tainted:" + k.UpTo(gap + _release(), most=160))
    return taints("taints") + gap + _release()("release") + " " + k.Regex(r"#\S+")("build") + k.rest_of_line


@block("owner", read_owner)
def kernel_of_lockdep() -> ParserElement:
    """WARNING: possible recursive locking detected
    5.0.0-21-generic #appdebug Tainted: G           OE

    [ INFO: possible circular locking dependency detected ]
    4.5.0-ceph-10672-g5ef5edb #1 Not tainted
    """  # kernel/locking/lockdep.c: print_kernel_ident()
    header = k.one_of("WARNING: ", "[ INFO: ", "[ BUG: ", "INFO: ") + k.rest_of_line + "\n"
    taints = "Not tainted" | k.Combine("Tainted: " + k.rest_of_line)
    return header + _release()("release") + " " + k.Regex(r"#\S+")("build") + " " + taints("taints")


@block("task", lambda fields: Task(fields["comm"].strip(), fields["state"], decimal(fields["pid"])))
def task() -> ParserElement:
    """task:kworker/0:1   state:D stack:0 pid:12 ppid:2 flags:0x4000"""
    comm = k.UpTo(k.Regex(r"\s{1,40}state:"), least=1, most=64)("comm")
    return (
        ("task:" + comm + k.Regex(r"\s{1,40}") + "state:" + k.word("state"))
        + (k.UpTo("pid:") + "pid:" + k.spaces + k.number("pid") + k.rest_of_line)
    )  # fmt: skip


@block("task", lambda fields: Task(fields["comm"].strip(), fields["state"], decimal(fields["pid"])))
def dumped() -> ParserElement:
    """Task dump for CPU 0:
    sh              R  running task        0  1315   1295 0x00000002
    """  # RCU stalls before 5.9
    state = k.Regex(r"[A-Z](?= )")("state")
    comm = k.UpTo(k.Regex(" {1,15}[A-Z] "), least=1, most=16)("comm") + k.Regex(" {1,15}") + state
    numbers = k.Regex(r" +(?=\d+ +\d+ 0x)")
    pid = k.UpTo(numbers, most=60) + numbers + k.number("pid") + k.rest_of_line
    return "Task dump for CPU " + k.number + k.Regex(r":[ \t]{0,4}\n") + comm + pid


BLOCKS: Final = (running, bracketed, pid, cpu, process, allocated, kernel_of_lockdep, task, dumped, tainted)
