"""Hardware errors, earlier trouble and triggers of crashes: the literals that find their lines."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Complaint(Struct, frozen=True):
    """A line that reports trouble, and the subject of the trouble."""

    literal: str
    """The literal that the scan searches for."""
    pattern: str
    """A regular expression that the line must match too; empty if the literal suffices. Its named groups
    become fields of the fact."""
    what: str
    """The subject of the complaint, in words."""
    many: bool = False
    """Whether consecutive lines form one complaint."""


HARDWARE: Final = (
    Complaint(
        "[Hardware Error]",
        r"(?:\{(?P<record>\d+)\})?\[Hardware Error\]",
        "the platform (machine check, GHES, BERT)",
        many=True,
    ),
    Complaint("Machine check events logged", "", "the platform (machine check)"),
    Complaint("Machine Check Exception", "", "the platform (machine check)"),
    Complaint("EDAC ", r"EDAC [\w# ]+: .*(?:\b[CU]E\b|[Ee]rror)", "memory (EDAC)"),
    Complaint("Memory failure: 0x", "", "memory (a page was retired)"),
    Complaint("AER: ", r"AER: .*(?:[Ee]rror|[Uu]ncorrect)(?!.* enabled)", "PCI Express (AER)"),
    Complaint("PCIe Bus Error: ", "", "PCI Express (AER)"),
    Complaint("temperature above threshold", "", "temperature"),
    Complaint("critical temperature reached", "", "temperature"),
    Complaint("I/O error, dev ", "", "a disk"),
    Complaint("Buffer I/O error on dev", "", "a disk"),
    Complaint("Medium Error", "", "a disk"),
    Complaint("Unrecovered read error", "", "a disk"),
    Complaint("exception Emask ", r"\bata\d", "a disk (ATA)"),
    Complaint("rejecting I/O to offline device", "", "a disk"),
    Complaint("controller is down; will reset", "", "a disk (NVMe)"),
    Complaint("Device not ready; aborting", "", "a disk (NVMe)"),
    Complaint("[Firmware Bug]", "", "the firmware"),
)
"""Sources: mce/core.c, edac_mc.c, pcie/aer.c, therm_throt.c, blk-core.c, libata-eh.c, nvme/host/pci.c."""

BEFORE: Final = (
    Complaint("Out of memory: Kill", "", "the OOM killer killed a process"),
    Complaint("out of memory: Kill", "", "the OOM killer killed a process of a control group"),
    Complaint("EXT4-fs error", "", "a file system detected corruption"),
    Complaint("BTRFS error", "", "a file system detected corruption"),
    Complaint("metadata I/O error", "", "a file system failed to access its metadata"),
    Complaint("Shutting down filesystem", r"\bXFS\b", "XFS shut down a file system"),
    Complaint("DPM device timeout", "", "a device did not suspend or resume in time"),
    Complaint("Dazed and confused", "", "an NMI arrived for an unknown reason"),
)
"""Sources: mm/oom_kill.c, fs/*/super.c, fs/xfs/xfs_fsops.c, arch/x86/kernel/nmi.c."""

KILLER: Final = "the OOM killer"
ASKED: Final = "the OOM killer, through SysRq"
"""A request for the OOM killer; its report follows."""
TRIGGERS: Final = (
    Complaint("Trigger a crash", r"[sS]ys[rR]q ?: ", "SysRq"),
    Complaint("Manual OOM execution", r"[sS]ys[rR]q ?: ", ASKED),
    Complaint("NMI received for unknown reason", "", "an NMI"),
    Complaint("invoked oom-killer: ", r"^(?P<task>.{1,64}?) invoked oom-killer", KILLER),
)
"""Triggers of crashes, printed before the report: drivers/tty/sysrq.c, nmi.c, oom_kill.c."""
