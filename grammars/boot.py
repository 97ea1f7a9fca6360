"""A boot: the kernel, machine, clock and host name that it states, and its complaints.

::

    Linux version 3.10.0-1160.el7.x86_64 (mockbuild@…) (gcc …) #1 SMP Mon Oct 19 16:18:59 UTC 2020
    Command line: BOOT_IMAGE=/vmlinuz-3.10.0-1160.el7.x86_64 root=…
    DMI: Dell Inc. PowerEdge R640/0W23H8, BIOS 2.10.2 02/24/2021
    rtc_cmos 00:00: setting system clock to 2021-04-29T11:19:16 UTC (1619695156)
    systemd[1]: Hostname set to <node1>.
    node1 login:
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field, structs

from kpanic.grammars import faults, machines
from kpanic.grammars.blocks.boot import banner, clock, command_line, hostname, ksymoops, machine, prompt
from kpanic.grammars.blocks.hardware import read_hardware
from kpanic.grammars.data.complaints import ASKED, BEFORE, HARDWARE, KILLER, TRIGGERS, Complaint
from kpanic.grammars.fact import Fact, lines_of
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import NO_HOST, Hardware, Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpanic.grammars.model import Line
    from kpanic.grammars.sentence import Sentence

KEPT: Final = 32
"""Maximum facts of one kind that are kept for a boot, and maximum lines of a fact."""
NEAR: Final = 4
"""Maximum lines between two lines of one complaint."""

BANNER: Final = "Linux version "
PROMPT: Final = " login:"
NO_PROMPTS: Final = frozenset({"last", "failed", "invalid", "incorrect", "please", "user"})
"""Words other than host names before ``login:`` at the start of a line, in lower case."""
CRASH_UTILITY: Final = "crash> "
"""The prompt of the crash utility, which precedes the utility's own output."""


_DEBUGGED: Final = regex(r" {4}pid   = \d+, comm = ")
"""The line before the banner that powerpc's debugger prints (arch/powerpc/xmon/xmon.c: excprint())."""


class Boot(Struct):
    """One boot of one host, as read so far."""

    kernel: Kernel = field(default_factory=Kernel)
    hardware: Hardware | None = None
    epoch: float | None = None
    """Wall clock of the boot instant, seconds since 1970 UTC."""
    hostname: str = ""
    timed: bool = True
    """Whether the banner had a time stamp."""
    reported: bool = False
    """Whether the boot printed a report, after which a banner belongs to the next boot."""
    core: bool = False
    """Whether the crash utility reads the core of the boot, which has crashed."""
    trigger: Fact | None = None
    """The last line that may have triggered a crash."""
    facts: list[Fact] = field(default_factory=list)
    """The facts that state the above: ``banner``, ``command line``, ``machine``, ``clock``, ``host name``;
    and ``reboot``, what a panic announces.
    """
    preceded_by: list[Fact] = field(default_factory=list)
    """Earlier reports, and other lines that announce trouble (:data:`BEFORE`): ``earlier``."""
    hardware_errors: list[Fact] = field(default_factory=list)
    """Errors that hardware reported (:data:`HARDWARE`): ``hardware error``."""

    @property
    def size(self) -> int:
        """Number of characters of the kept lines, both as read and as in the input."""
        kept = (*self.facts, *self.preceded_by, *self.hardware_errors, *filter(None, (self.trigger,)))
        return sum(len(line.text) + len(line.raw) for line in lines_of(kept))


def debugged(previous: str) -> bool:
    """Tell whether a banner after this line is printed by the debugger."""
    return _DEBUGGED.match(previous) is not None


def begins(boot: Boot, line: Line, previous: str = "") -> bool:
    """Tell whether a line with a banner begins another boot.

    powerpc's loader prints the banner before the kernel does, its debugger after the running task, and any
    program may print one later. Only the kernel prints it at the start of a line, with a time stamp if its
    other lines have one.

    :param previous: text of the line before.
    """
    if debugged(previous):
        return False
    printed = line.text.startswith(BANNER) and (line.time is not None or not boot.timed)
    return printed and (boot.reported or bool(boot.kernel.banner))


class _NotSaidError(Exception):
    """A line contains the literal of a sentence, but does not match the sentence."""


def _read(said: Sentence, line: Line, at: int) -> dict[str, str]:
    found = said.match(line.text, at)
    if found is None:
        raise _NotSaidError
    return found[1]


def _banner(boot: Boot, line: Line, at: int) -> bool:
    if boot.kernel.banner and at:
        return False
    fields = _read(banner, line, at)
    release = fields["release"].rstrip(".,")  # punctuation of a sentence
    boot.kernel = structs.replace(
        boot.kernel,
        release=release,
        build=fields.get("build", ""),
        banner=line.text[at:],
        architecture=machines.named_in(release) or machines.named_in(fields.get("rest", "")),
    )
    boot.timed = line.time is not None
    return True


def _ksymoops(boot: Boot, line: Line, at: int) -> bool:
    if not boot.kernel.release:
        fields = _read(ksymoops, line, at)
        known = machines.named_in(fields["machine"])
        boot.kernel = structs.replace(boot.kernel, release=fields["release"], architecture=known)
    return False


def _command_line(boot: Boot, line: Line, at: int) -> bool:
    if boot.kernel.command_line:
        return False
    words = _read(command_line, line, at).get("line", "").strip()
    image = next((word[11:] for word in words.split() if word.startswith("BOOT_IMAGE=")), "")
    boot.kernel = structs.replace(boot.kernel, command_line=words, boot_image=image)
    return True


def _machine(boot: Boot, line: Line, at: int) -> bool:
    if boot.hardware is not None:
        return False
    boot.hardware = read_hardware(_read(machine, line, at).get("name", ""))
    return True


def _clock(boot: Boot, line: Line, at: int) -> bool:
    if line.time is None:
        return False
    boot.epoch = int(_read(clock, line, at)["epoch"]) - line.time
    return True


def _hostname(boot: Boot, line: Line, at: int) -> bool:
    return _named(boot, _read(hostname, line, at)["name"])


def _prompt(boot: Boot, line: Line, at: int) -> bool:
    """Read the prompt of getty, alone or in front of the kernel's text."""
    start = line.text.rfind(" ", 0, at) + 1
    if line.time is not None or (start and line.text[start - 2] != "]"):  # a console server's stamp
        return False
    name = _read(prompt, line, start)["name"]
    if name.lower() in NO_PROMPTS or boot.hostname.partition(".")[0] == name:  # getty omits the domain
        return False
    return _named(boot, name)


def _named(boot: Boot, name: str) -> bool:
    """Set the host's name; the last one counts, because the network may set it later."""
    if name.lower() in NO_HOST:
        return False
    boot.hostname = name
    return True


def _said(complaint: Complaint, kind: str) -> Callable[[Line], Fact | None]:
    """Return a reader of a complaint."""
    pattern = regex(complaint.pattern)

    def read(line: Line) -> Fact | None:
        found = pattern.search(line.text)
        return Fact(kind, {"what": complaint.what, **found.groupdict()}, (line,)) if found else None

    return read


def _core(boot: Boot, line: Line, at: int) -> bool:
    boot.core = boot.core or (not at and not line.transport)
    return False


def _continues(fact: Fact, more: Fact) -> bool:
    """Tell whether a line continues a complaint: GHES numbers records, other lines are consecutive."""
    near = 0 < more.lines[0].number - fact.lines[-1].number <= NEAR
    return near and more.value == fact.value


def _complaint(
    complaint: Complaint, into: Literal["hardware_errors", "preceded_by"]
) -> Callable[[Boot, Line, int], bool]:
    """Return a reader that adds a complaint to one of the boot's lists."""
    said = _said(complaint, "earlier" if into == "preceded_by" else "hardware error")

    def read(boot: Boot, line: Line, _at: int) -> bool:
        kept: list[Fact] = getattr(boot, into)
        if (kept and kept[-1].lines[-1] is line) or (fact := said(line)) is None:
            return False
        if complaint.many and kept and _continues(kept[-1], fact):
            if len(kept[-1].lines) < KEPT:
                kept[-1] = structs.replace(kept[-1], lines=(*kept[-1].lines, line))
        elif len(kept) < KEPT:
            kept.append(fact)
        return False

    return read


def _trigger(complaint: Complaint) -> Callable[[Boot, Line, int], bool]:
    said = _said(complaint, "request" if complaint.what == ASKED else "trigger")

    def read(boot: Boot, line: Line, _at: int) -> bool:
        before, found = boot.trigger, said(line)
        asked = before is not None and before.kind == "request" and complaint.what == KILLER
        if found and before and asked and line.number <= before.lines[-1].number + NEAR:
            found = Fact("trigger", {**found.value, "asked": ASKED}, (*before.lines, line))
        boot.trigger = found or before
        return False

    return read


READERS: Final[tuple[tuple[str, str, Callable[[Boot, Line, int], bool]], ...]] = (
    (BANNER, "banner", _banner),
    ("ksymoops ", "kernel", _ksymoops),
    ("Command line: ", "command line", _command_line),
    ("Kernel command line: ", "command line", _command_line),
    ("DMI: ", "machine", _machine),
    ("Machine model: ", "machine", _machine),
    ("setting system clock to ", "clock", _clock),
    (CRASH_UTILITY, "core", _core),
    ("Hostname set to <", "host name", _hostname),
    ("Set hostname to <", "host name", _hostname),
    (PROMPT, "host name", _prompt),
    ("Rebooting in ", "reboot", lambda _boot, _line, at: not at),
    *((one.literal, "hardware error", _complaint(one, "hardware_errors")) for one in HARDWARE),
    *((one.literal, "earlier", _complaint(one, "preceded_by")) for one in BEFORE),
    *((one.literal, "trigger", _trigger(one)) for one in TRIGGERS),
)
"""A literal, the kind of fact that a line with it states, and the reader of such a line.

A reader takes the boot, the line and the literal's offset. It returns whether the line is a fact of the boot,
which then has the fact's value.
"""


def note(boot: Boot, line: Line, number: int) -> None:
    """Let reader ``number`` read a line."""
    literal, kind, reader = READERS[number]
    at = line.text.find(literal)
    if at < 0:
        return
    try:
        if reader(boot, line, at) and len(boot.facts) < KEPT:
            value = boot.hostname if kind == "host name" else line.text[at + len(literal) :]
            boot.facts.append(Fact(kind, value, (line,)))
    except _NotSaidError:
        return
    except Exception as error:  # noqa: BLE001 - for hostile text; the line is kept
        faults.note(f"boot {literal}", error)
