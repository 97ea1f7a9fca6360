"""A boot's own messages about itself (init/main.c, drivers/firmware/dmi_scan.c, drivers/rtc/class.c,
systemd src/core/manager.c, util-linux term-utils/agetty.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import sentence

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["SENTENCES", "banner", "clock", "command_line", "hostname", "ksymoops", "machine", "prompt"]


@sentence
def banner() -> ParserElement:
    """Linux version 3.10.0-1160.el7.x86_64 (mockbuild@kbuilder) (gcc) #1 SMP Mon Oct 19 16:18:59 UTC 2020"""
    build = " " + k.Regex(r"#\d[^\n]*")("build")
    return "Linux version " + k.word("release") + k.UpTo(build, most=4096)("rest") + k.Opt(build)


@sentence
def command_line() -> ParserElement:
    """Kernel command line: BOOT_IMAGE=/vmlinuz-3.10.0-1160.el7.x86_64 root=/dev/mapper/rhel-root ro"""
    named = k.one_of("Kernel command line:", "Command line:")
    return named + k.spaces + k.rest_of_line("line")


@sentence
def machine() -> ParserElement:
    """DMI: Dell Inc. PowerEdge R640/0W23H8, BIOS 2.10.2 02/24/2021

    Machine model: linux,dummy-virt
    """
    none = k.Literal("not present or invalid")  # printed by dmi_scan.c if the table is missing
    return k.one_of("DMI: ", "Machine model: ", "Hardware name: ") + ~none + k.rest_of_line("name")


@sentence
def clock() -> ParserElement:
    """setting system clock to 2021-04-29T11:19:16 UTC (1619695156)"""
    epoch = "(" + k.Regex(r"\d{6,11}")("epoch") + ")"
    return "setting system clock to " + k.UpTo(epoch, most=48) + epoch


@sentence
def hostname() -> ParserElement:
    """Hostname set to <node1>."""
    return k.one_of("Hostname set to <", "Set hostname to <") + k.Regex(r"[^>\s]{1,253}")("name") + ">"


@sentence
def prompt() -> ParserElement:
    """web1 login:

    web1 login: [  790.371036] SysRq : Trigger a crash
    """
    name = k.Regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")("name")
    return name + " login:" + k.Regex(r" *+(?=$|[\[<])")


@sentence
def ksymoops() -> ParserElement:
    """ksymoops 2.4.9 on i686 2.4.20-8.  Options used"""  # the machine of the decoded oops
    release = k.UpTo(".  Options used", least=1, most=64)("release")
    return "ksymoops " + k.word + " on " + k.word("machine") + " " + release + ".  Options used"


SENTENCES: Final = (banner, command_line, machine, clock, hostname, prompt, ksymoops)
"""The blocks of a boot."""
