"""KMSAN, KCSAN and KFENCE (mm/kmsan/report.c, kernel/kcsan/report.c, mm/kfence/report.c).

::

    BUG: KMSAN: uninit-value in f+0x1/0x2 file.c:12
    BUG: KCSAN: data-race in f+0x1/0x2 / g+0x3/0x4
    BUG: KCSAN: assert: race in f / g
    BUG: KFENCE: use-after-free read in f+0x1/0x2
    BUG: KFENCE: memory corruption in f+0x1/0x2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpanic.grammars.family import FUNCTION, SYMBOL, Family, Form, head

if TYPE_CHECKING:
    from collections.abc import Mapping


def _fence(fields: Mapping[str, str]) -> str:
    what = fields["what"]
    if "use-after" in what:
        return "use-after-free"
    return "double-free" if "free" in what else "out-of-bounds"


KMSAN = Family(
    name="kmsan",
    literals=("BUG: KMSAN: ",),
    forms=(
        Form(
            head(rf"BUG: KMSAN: (?P<what>[a-z\-]+) in {SYMBOL}"),
            title="KMSAN: {what} in {function}",
            kind="sanitizer",
            cause="uninitialized-memory",
            walk="chain",
            skip=(
                ("alloc_skb|^netlink_ack|^netlink_rcv_skb", "makes messages for others"),
                (
                    "^usb_submit_urb|^usb_start_wait_urb|^usb_bulk_msg|^usb_control_msg",
                    "submits what others fill in",
                ),
                ("^(?:crypto|cipher|drbg|rng)_|_encrypt$", "encrypts what it is given"),
            ),
            detail="{what}",
        ),
    ),
)

_OTHER = rf"(?P<function>{FUNCTION})[^\s/]*(?:\+0x\w+/0x\w+)?"
KCSAN = Family(
    name="kcsan",
    literals=("BUG: KCSAN: ",),
    forms=(
        Form(
            head(rf"BUG: KCSAN: (?P<what>[a-z: -]+?) in {_OTHER} / (?P<second>{FUNCTION})[^\n]*"),
            title="KCSAN: {what} in {pair}",
            kind="sanitizer",
            cause="data-race",
            walk="only-named",
        ),
        Form(
            head(rf"BUG: KCSAN: (?P<what>[a-z: -]+?) in {_OTHER}[^\n]*"),
            title="KCSAN: {what} in {function}",
            kind="sanitizer",
            cause="data-race",
            walk="only-named",
        ),
    ),
)

KFENCE = Family(
    name="kfence",
    literals=("BUG: KFENCE: ",),
    forms=(
        Form(
            head(rf"BUG: KFENCE: (?P<what>[a-z\- ]+?) in {SYMBOL}"),
            title="KFENCE: {what} in {function}",
            kind="sanitizer",
            cause=_fence,
            walk="chain",
            detail="{what}",
        ),
    ),
)
