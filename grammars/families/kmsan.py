"""KMSAN, KCSAN and KFENCE (mm/kmsan/report.c, kernel/kcsan/report.c, mm/kfence/report.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars import vocabulary as k
from kpanic.grammars.family import ByWord, Family

if TYPE_CHECKING:
    from pyparsing import ParserElement

kmsan = Family("kmsan")


@kmsan.form(
    title="KMSAN: {what} in {function}",
    kind="sanitizer",
    cause="uninitialized-memory",
    walk="chain",
    skip=(
        ("alloc_skb|^netlink_ack|^netlink_rcv_skb", "allocates messages for its callers"),
        (
            "^usb_submit_urb|^usb_start_wait_urb|^usb_bulk_msg|^usb_control_msg",
            "submits requests of its callers",
        ),
        ("^(?:crypto|cipher|drbg|rng)_|_encrypt$", "encrypts data of its callers"),
    ),
    detail="{what}",
)
def uninitialized() -> ParserElement:
    """BUG: KMSAN: uninit-value in f+0x1/0x2 file.c:12"""
    return "BUG: KMSAN: " + k.kebab("what") + " in " + k.symbol


kcsan = Family("kcsan")


def _race() -> ParserElement:
    return "BUG: KCSAN: " + k.UpTo(" in ", least=1, most=60)("what") + " in " + k.symbol


@kcsan.form(title="KCSAN: {what} in {pair}", kind="sanitizer", cause="data-race", walk="only-named")
def between_two() -> ParserElement:
    """BUG: KCSAN: data-race in f+0x1/0x2 / g+0x3/0x4

    BUG: KCSAN: assert: race in f / g
    """
    return _race() + " / " + k.function("second") + k.rest_of_line


@kcsan.form(title="KCSAN: {what} in {function}", kind="sanitizer", cause="data-race", walk="only-named")
def of_one() -> ParserElement:
    """BUG: KCSAN: data-race in f+0x1/0x2"""
    return _race() + k.rest_of_line


kfence = Family("kfence")


@kfence.form(
    title="KFENCE: {what} in {function}",
    kind="sanitizer",
    cause=ByWord("what", (("use-after", "use-after-free"), ("free", "double-free")), default="out-of-bounds"),
    walk="chain",
    detail="{what}",
)
def violation() -> ParserElement:
    """BUG: KFENCE: use-after-free read in f+0x1/0x2

    BUG: KFENCE: memory corruption in f+0x1/0x2
    """
    return "BUG: KFENCE: " + k.UpTo(" in ", least=1, most=60)("what") + " in " + k.symbol
