"""The machine of the report (lib/dump_stack.c, drivers/firmware/dmi_scan.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kpanic.grammars import vocabulary as k
from kpanic.grammars.blocks import block
from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Hardware

if TYPE_CHECKING:
    from pyparsing import ParserElement

__all__ = ["BLOCKS", "read_hardware"]

_BIOS: Final = regex(r"^(?P<box>.*?),? BIOS (?P<version>.*?)(?: (?P<date>\d\d/\d\d/\d{4}))?$")
_VENDORS: Final = (
    "Dell Inc.",
    "To be filled by O.E.M.",
    "Red Hat",
    "Google Compute Engine",
    "Amazon EC2",
)
"""Vendors with names of several words."""


def read_hardware(name: str) -> Hardware:
    """Parse ``VENDOR PRODUCT[/BOARD], BIOS VERSION DATE``, as far as possible.

    For a device tree the text is ``NAME (DT)``, with its ``model`` or its first ``compatible`` string
    (arch/arm64/kernel/setup.c, v6.12: ``dump_stack_set_arch_desc``).
    """
    name = name.strip()
    if name.endswith(" (DT)"):
        product = name.removesuffix(" (DT)")
        vendor, comma, _ = product.partition(",")
        return Hardware(name, vendor if comma and " " not in product else "", product, "", "")
    match = _BIOS.match(name)
    box, version, date = (match["box"], match["version"], match["date"] or "") if match else (name, "", "")
    vendor, _, product = box.partition(" ")
    for known in _VENDORS:
        if box.startswith(known + " "):
            vendor, product = known, box[len(known) + 1 :]
    return Hardware(name, vendor, product.strip(), version.strip(), date)


@block("hardware", lambda fields: read_hardware(fields.get("name", "")))
def hardware() -> ParserElement:
    """Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2-debian-1.16.2-1 04/01/2014"""
    return "Hardware name: " + k.rest_of_line("name")


BLOCKS: Final = (hardware,)
