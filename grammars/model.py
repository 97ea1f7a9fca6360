"""The data of one kernel crash, once its text has been read.

Everything here is frozen and plain: strings, numbers, tuples. The shipper knows where the text came from and
how it is stored. Times are seconds since boot (printk's clock) unless a name says ``epoch``; addresses are
integers; texts are as the kernel wrote them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field

from kpanic.grammars.fact import once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.grammars.fact import Fact

Kind = Literal[
    "panic",
    "oops",
    "bug",
    "warning",
    "lockup",
    "hang",
    "stall",
    "sanitizer",
    "lockdep",
    "hardware",
    "leak",
    "unknown",
]
Status = Literal["complete", "partial", "corrupted"]
Quality = Literal["strong", "weak"]
Confidence = Literal["certain", "likely", "unknown"]

NO_HOST: Final = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4.localdomain4",
        "localhost6.localdomain6",
        "(none)",
        "unknown",
    }
)
"""Names of a machine without a name of its own, in lower case: hostname(7), nss-myhostname(8),
init/version.c.
"""


class Line(Struct, frozen=True, gc=False):
    """One line of kernel log, without its transport's prefix."""

    number: int
    """Line in the input, from 1; 0 for a line from a memory dump."""
    text: str
    """The kernel's text."""
    time: float | None = None
    """Seconds since boot."""
    caller: str = ""
    """``T123`` or ``C0``, of CONFIG_PRINTK_CALLER."""
    host: str = ""
    """Host in a syslog or journal prefix."""
    epoch: float | None = None
    """Wall clock of the transport's own stamp, seconds since 1970 UTC."""
    lost: int = 0
    """Records known to be missing right before this one."""
    raw: str = ""
    """The line as it is in the input, without its line ending; joined lines keep those between them."""
    clock: float | None = None
    """Wall clock of the transport's own stamp in seconds, in the zone and year of the stamping program.

    Only differences between lines of the same log are meaningful.
    """
    transport: str = ""
    """Name of the transport whose prefix was before the text; empty without a prefix."""


class Frame(Struct, frozen=True):
    """One frame of a call trace; ``sysrq_handle_crash+0x16/0x20 [module]``."""

    symbol: str
    """Function with its compiler suffixes (``.isra.0``); empty for a raw address."""
    offset: int | None = None
    size: int | None = None
    module: str = ""
    address: int | None = None
    reliable: bool = True
    """False for frames that the kernel marks with ``?``."""
    stack: str = ""
    """The stack by the markers around the frame: ``TASK``, ``IRQ``, ``NMI``, …"""
    file: str = ""
    """``path:line`` of symbolized traces."""
    inline: bool = False


class InstructionPointer(Struct, frozen=True):
    """The instruction pointer: RIP, EIP, pc, NIP, PSW or epc."""

    raw: str
    """The line's value as written, ``0010:sysrq_handle_crash+0x16/0x20``."""
    symbol: str = ""
    offset: int | None = None
    size: int | None = None
    module: str = ""
    address: int | None = None


class Oops(Struct, frozen=True):
    """``Oops: 0002 [#1] SMP``."""

    number: int | None
    """The ``#1``: the first oops since boot."""
    error_code: int | None
    flags: tuple[str, ...] = ()
    error: str = ""
    """The error code in words: ``write to a non-present page by the kernel``."""


class Taint(Struct, frozen=True):
    """``Tainted: G    B   W  OE``; Documentation/admin-guide/tainted-kernels.rst, 6.12."""

    raw: str
    flags: tuple[str, ...]
    """The letters that are set."""


class Hardware(Struct, frozen=True):
    """``Hardware name: VENDOR PRODUCT, BIOS VERSION DATE``."""

    name: str
    """The whole text, as the kernel printed it."""
    vendor: str = ""
    product: str = ""
    bios_version: str = ""
    bios_date: str = ""


class Distribution(Struct, frozen=True):
    """The distribution that built the kernel, in ECS's terms for ``host.os``."""

    name: str
    platform: str
    family: str
    version: str = ""


class Kernel(Struct, frozen=True):
    """The kernel, from its ``Linux version …`` line or the crash's ``CPU: … Comm:`` line."""

    release: str = ""
    """``uname -r``."""
    build: str = ""
    """``uname -v``: ``#1 SMP Mon Oct 19 16:18:59 UTC 2020``."""
    banner: str = ""
    """The whole ``Linux version`` line."""
    architecture: str = ""
    """``uname -m``: x86_64, i686, aarch64, armv7l, ppc64le, s390x, riscv64."""
    command_line: str = ""
    boot_image: str = ""
    """BOOT_IMAGE= of the command line."""
    distribution: Distribution | None = None


class Process(Struct, frozen=True):
    """The ``CPU: 0 PID: 1 Comm: init`` line."""

    pid: int | None = None
    name: str = ""
    cpu: int | None = None
    uid: int | None = None


class Blame(Struct, frozen=True):
    """The suspect function, and the rule that named it."""

    function: str = ""
    """The function without compiler suffix and system call prefix; empty if none is suspect."""
    rule: str = ""
    """The rule that named it, in words."""
    skipped: tuple[tuple[str, str], ...] = ()
    """``(function, reason)`` of every skipped frame."""


class Signature(Struct, frozen=True):
    """Names the fault: the same after a reboot, a rebuild, on other hardware."""

    id: str
    """``v1-`` and 16 hex digits."""
    version: int
    quality: Quality


class Sentence(Struct, frozen=True):
    """A sentence of the reading, and the lines that prove it."""

    text: str
    evidence: tuple[Line, ...] = ()


class Step(Struct, frozen=True):
    """One step of the reading: its findings as plain sentences, each with the lines that prove it."""

    name: str
    sentences: tuple[Sentence, ...]

    @property
    def finding(self) -> str:
        """The sentences as one text."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def evidence(self) -> tuple[Line, ...]:
        """The lines of all sentences, each once, in the order of the file."""
        return once(*[sentence.evidence for sentence in self.sentences])

    @property
    def parts(self) -> tuple[tuple[str, tuple[Line, ...]], ...]:
        """The text in paragraphs, each with its lines.

        Lines from a dump have no numbers, and follow the sentence that they prove.
        """
        if not self.evidence or any(line.number for line in self.evidence):
            return ((self.finding, self.evidence),)
        found: list[tuple[str, tuple[Line, ...]]] = []
        words: list[str] = []
        for sentence in self.sentences:
            words.append(sentence.text)
            if sentence.evidence:
                found.append((" ".join(words), sentence.evidence))
                words = []
        return (*found, (" ".join(words), ())) if words else tuple(found)


class Vmcore(Struct, frozen=True):
    """The answers of a crash's dump."""

    status: Literal["answered", "opened", "no-debug-info", "failed"]
    """Whether the dump says more than the text; ``failed`` if it could not be opened."""
    source: str = ""
    """``path:line`` of the trapping instruction."""
    pointer: str = ""
    """The bad pointer, ``account->owner``."""
    object: str = ""
    """Slab cache of the used object, and whether the object was free."""
    lock: str = ""
    """The lock at the end of the chain of waiting tasks."""
    holder: str = ""
    """The task that holds the lock."""
    skipped: tuple[str, ...] = ()
    """Questions that were not answered, each with its reason."""


class Analysis(Struct, frozen=True):
    """The reading of one crash."""

    summary: str
    steps: tuple[Step, ...]
    vmcore_needed: bool
    confidence: Confidence
    sure: str
    """The reason for the confidence."""
    why: str
    """Why the vmcore is or is not needed, and for which question."""
    next: tuple[str, ...] = ()
    """The next steps, as commands or sentences."""
    vmcore: Vmcore | None = None
    """The answers of the dump; None if it was not opened."""


class CrashReport(Struct, frozen=True, dict=True):
    """One crash: its first report is the cause, later reports of the incident follow from it."""

    title: str
    """The title that syzbot would give."""
    kind: Kind
    cause: str
    """A slug of the table of causes."""
    fatal: bool
    """Whether the kernel says that it died: a panic, an oops that panics, or a crash requested by SysRq.

    An oops without any of these is not fatal by its text alone; in a kdump folder it is
    (:func:`kpanic.grammars.died`).
    """
    status: Status
    doubt: str = ""
    """Why the report is not ``complete``, in words."""
    reason: str = ""
    """The first line of the report, as the kernel printed it."""
    cause_detail: str = ""
    """Details of the cause: ``NULL plus 0x10, write``."""
    blame: Blame = field(default_factory=Blame)
    signature: Signature | None = None
    ip: InstructionPointer | None = None
    call_trace: tuple[Frame, ...] = ()
    fault_address: int | None = None
    oops: Oops | None = None
    process: Process = field(default_factory=Process)
    taint: Taint | None = None
    modules: tuple[str, ...] = ()
    hardware: Hardware | None = None
    kernel: Kernel = field(default_factory=Kernel)
    registers: tuple[tuple[str, str], ...] = ()
    """Name and value as written, in order."""
    code: str = ""
    """The ``Code:`` line's bytes, the trapping one in ``<>`` or ``()``."""
    time: float | None = None
    """printk time of the first line of the report."""
    boot_epoch: float | None = None
    """Wall clock of the boot instant, from the log's RTC line."""
    epoch: float | None = None
    """Wall clock that the transport stamped on the first line of the report."""
    clock: float | None = None
    """Wall clock of the stamp on that line, in a zone that it does not name: seconds since 1970 as if in UTC.

    If the stamp has no year, the year is 2000.
    """
    host: str = ""
    """Host in the transport's prefix."""
    hostname: str = ""
    """Host by ``systemd[1]: Hostname set to <…>`` or a later line of the boot."""
    facts: tuple[Fact, ...] = ()
    """Facts of the report, and of its boot: kernel, machine, clock, trigger."""
    followed_by: tuple[Fact, ...] = ()
    """Titles of the reports that followed from this one, each with the first line of its report."""
    preceded_by: tuple[Fact, ...] = ()
    """Earlier reports, OOM kills and file system errors of the same boot."""
    hardware_errors: tuple[Fact, ...] = ()
    """Hardware errors of the same boot before this crash."""
    lost: int = 0
    """Records known to be missing inside the report."""
    truncated: bool = False
    """Whether lines of the report were dropped because of a limit."""
    repaired: bool = False
    """Whether lines of the report were broken by a transport and have been joined."""
    lines: tuple[Line, ...] = ()
    """The lines of the report and of those that follow from it."""
    analysis: Analysis | None = None

    @property
    def consequences(self) -> tuple[str, ...]:
        """Titles of the reports that followed from this one."""
        return tuple(fact.value for fact in self.followed_by)

    @cached_property
    def _by_kind(self) -> dict[str, list[Fact]]:
        found: dict[str, list[Fact]] = {}
        for fact in self.facts:
            found.setdefault(fact.kind, []).append(fact)
        return found

    def facts_of(self, kind: str) -> Sequence[Fact]:
        """Return the facts of a kind, in their order."""
        return self._by_kind.get(kind, ())
