"""Runs kdump in one guest: the crash, the capture kernel, and the files of both.

The guest is told ``echo c > /proc/sysrq-trigger``, or to crash in one of boom.c's ways. Its capture kernel
writes ``vmcore-dmesg.txt`` and ``vmcore`` into ``crash/127.0.0.1-<date>/`` of a folder of the host, as the
distributions' kdump does under /var/crash. On the way netconsole tells a UDP port of the host's loopback, and
ramoops keeps the text for the next boot, which copies its pstore into ``pstore/``.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from .archive import cache, locked
from .build import Builder, host
from .guest import Run, run

if TYPE_CHECKING:
    from pathlib import Path

    from .build import Boot
    from .matrix import Kind

MEMORY = 512
"""MiB of the guest."""
CRASH_MEMORY = "192M"
RAMOOPS = "ramoops.ko mem_address=0x10000000 mem_size=0x200000 record_size=0x20000 ecc=1"

SHARE_MODULES = (
    "drivers/virtio/virtio_ring.ko",  # before virtio, which depends on it
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/9p/9pnet.ko",
    "net/9p/9pnet_virtio.ko",
    "fs/netfs/netfs.ko",
    "fs/fscache/fscache.ko",
    "fs/9p/9p.ko",
)
"""Modules of 6.1; later kernels have fscache in netfs."""

PROGRAMS = {
    "kexec": "sbin/kexec",
    "makedumpfile": "usr/bin/makedumpfile",
    "vmcore-dmesg": "sbin/vmcore-dmesg",
}


def die(  # noqa: PLR0913
    builder: Builder,
    boot: Boot,
    share: Path,
    *,
    netconsole: int = 0,
    kind: Kind | None = None,
    memory: int = MEMORY,
    fill: int = 0,
    timeout: float = 300.0,
) -> Run:
    """Crash a guest with kdump; ``share`` gets ``crash/`` and ``pstore/``.

    :param netconsole: UDP port on this machine's loopback that hears the dying kernel; 0 for none.
    :param kind: of boom.c's ways; by default SysRq.
    :param memory: MiB of the guest.
    :param fill: MiB of its memory that files take before it crashes; a process takes a quarter of that.
    """
    for folder in ("crash", "pstore"):
        (share / folder).mkdir(parents=True, exist_ok=True)
    tools = _tools(builder)
    capture = boot.initrd(
        {**_modules(boot, SHARE_MODULES), **_programs(tools, "makedumpfile", "vmcore-dmesg")}
    )
    extra = {
        **_modules(
            boot,
            (*SHARE_MODULES, "lib/reed_solomon/reed_solomon.ko", "fs/pstore/ramoops.ko"),
            {"ramoops.ko": RAMOOPS},
        ),
        **_programs(tools, "kexec"),
        "vmlinuz": boot.image.read_bytes(),
        "capture.gz": capture,
    }
    append = (
        f"console={boot.machine.console} ignore_loglevel crashkernel={CRASH_MEMORY} "
        f"memmap=2M$0x10000000 crash_kexec_post_notifiers lab.kind=kdump lab.fill={fill}"
    )
    if kind is not None:
        append += f" lab.crash={kind.do or kind.name} {kind.append}"
    devices = ["-virtfs", f"local,path={share},mount_tag=share,security_model=none"]
    if netconsole:
        network = _modules(boot, ("drivers/net/ethernet/intel/e1000/e1000.ko", "fs/configfs/configfs.ko"))
        extra = {**extra, **network, "load": extra["load"] + network["load"]}
        extra["modules/netconsole.ko"] = boot.module("drivers/net/netconsole.ko")
        append += f" lab.netconsole={netconsole}"
        devices += ["-netdev", "user,id=net", "-device", "e1000,netdev=net"]
    qemu = list(boot.machine.qemu)
    qemu[qemu.index("-m") + 1] = str(memory)
    qemu[qemu.index("-rtc") + 1] = "base=utc"  # a crash of today: old ones do not alert
    return run(
        replace(boot, machine=replace(boot.machine, qemu=qemu)),
        append,
        boot.initrd(extra),
        devices=devices,
        shift=None,  # QEMU does not reboot with an instruction counter
        reboot=True,
        quiet=60.0,
        timeout=timeout,
        end=re.compile(rb"LAB: pstore kept|LAB: still alive|end Kernel panic"),
    )


def _modules(
    boot: Boot, paths: tuple[str, ...], parameters: dict[str, str] | None = None
) -> dict[str, bytes]:
    names = [path.rpartition("/")[2] for path in paths]
    lines = [(parameters or {}).get(name, name) for name in names]
    files = {f"modules/{name}": boot.module(path) for name, path in zip(names, paths, strict=True)}
    return {**files, "load": "".join(line + "\n" for line in lines).encode()}


def _tools(builder: Builder) -> Path:
    """Return a tree with kexec and makedumpfile and their libraries."""
    with locked("tools"):
        tree = cache() / "tools"
        stamp = tree / ".complete"
        if not stamp.exists():
            archive = builder.archive("bookworm", host())
            archive.unpack(archive.closure(("kexec-tools", "makedumpfile")), tree)
            stamp.touch()
    return tree


def _programs(tree: Path, *names: str) -> dict[str, bytes]:
    files = {}
    for name in names:
        path = PROGRAMS[name]
        files[f"bin/{name}"] = (tree / path).read_bytes()
        loader = ["bwrap", "--ro-bind", str(tree), "/", "/lib64/ld-linux-x86-64.so.2", "--list", f"/{path}"]
        listed = subprocess.run(loader, capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            files[library.lstrip("/")] = (tree / library.lstrip("/")).read_bytes()
    return files
