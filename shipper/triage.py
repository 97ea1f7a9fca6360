"""Known faults: the triage file, and the fields that it adds to documents.

The file is a YAML list. The first entry that matches counts; those with a signature come before those with a
title::

    - signature: v1-bcacd554630c387c
      status: known                      # known | fixed | ignored
      ticket: OPS-12
      owner: storage
    - title: "BUG: unable to handle kernel NULL pointer dereference in nfs_*"   # * and ?
      status: fixed
      fixed_in: [3.10.0-1160.25.1.el7, 5.14.0-427.13.1.el9]                     # as uname -r says it
      note: backported

An entry is added to documents when they leave the store, for an output or a report, so that the store is
never out of date. An engine has the entry of the time of the delivery.
"""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.shipper.api import Stored

__all__ = ["Entry", "Triage", "has_fix"]

SIGNATURE = Annotated[
    str, msgspec.Meta(pattern=r"^(v\d+-[0-9a-f]+)?$", description="a signature such as v1-bcacd554630c387c")
]
RELEASE = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d+\.\d+\S*$",
        description="a kernel's release as uname -r says it, such as 5.14.0-427.13.1.el9 or 6.8",
    ),
]
UTS_LENGTH = 64  # include/uapi/linux/utsname.h, v6.12: __NEW_UTS_LEN

_MACHINES = re.compile(
    r"[._-](x86_64|amd64|i[3-6]86|aarch64|arm64|armv7l|armhf|armmp|ppc64(le|el)?|powerpc64le|s390x|riscv64|loongarch64)\b"
)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file."""

    signature: SIGNATURE = ""
    """``kernel.panic.signature.id``."""
    title: str = ""
    """``kernel.panic.title``, with ``*`` and ``?``."""
    status: Literal["known", "fixed", "ignored"]
    fixed_in: list[RELEASE] = []
    """Kernel releases that have the fix, as ``uname -r`` prints them; one for each line of kernels."""
    ticket: str = ""
    owner: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if bool(self.signature) is bool(self.title):
            raise ValueError("needs either signature or title")
        if bool(self.fixed_in) is not (self.status == "fixed"):
            raise ValueError("status fixed and fixed_in need each other")


class Triage:
    """The entries of a triage file, by signature and title."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._signatures: dict[str, Entry] = {}
        self._titles: list[tuple[re.Pattern[str], Entry]] = []
        for entry in entries:
            if entry.signature:
                self._signatures.setdefault(entry.signature, entry)
            else:  # brackets in titles are literal: [nfs]
                pattern = fnmatch.translate(entry.title.replace("[", "[[]"))
                self._titles.append((re.compile(pattern), entry))

    def __bool__(self) -> bool:
        return bool(self._signatures or self._titles)

    def known(self, signature: str, title: str, release: str) -> dict[str, Any]:
        """Return ``kernel.panic.triage`` for a crash; empty if the fault is not known.

        ``status`` is the entry's. A fixed fault is ``regressed`` on a kernel that has the fix, and ``known``
        on a kernel of a line without a named fix.
        """
        entry = self._signatures.get(signature) or next(
            (entry for pattern, entry in self._titles if pattern.match(title)), None
        )
        if entry is None:
            return {}
        status: str = entry.status
        if status == "fixed":
            status = {True: "regressed", False: "fixed", None: "known"}[has_fix(release, entry.fixed_in)]
        found = {
            "status": status,
            "ticket": entry.ticket,
            "owner": entry.owner,
            "note": entry.note,
            "fixed_in": list(entry.fixed_in),
        }
        return {key: value for key, value in found.items() if value}

    def stamp_document(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a document with the current triage of its fault instead of its own."""
        panic = document.get("kernel", {}).get("panic", {})
        panic.pop("triage", None)
        known = self.known(
            panic.get("signature", {}).get("id", ""),
            panic.get("title", ""),
            document.get("host", {}).get("os", {}).get("kernel", ""),
        )
        if known:
            panic["triage"] = known
        return document

    def stamp(self, stored: Stored) -> Stored:
        """Return a stored document with the triage of its fault; its other bytes stay the same."""
        from kpanic.shipper.api import Stored  # noqa: PLC0415 - needs msgspec only

        found = _decode(stored.body)
        panic = found.kernel.panic
        known = self.known(panic.signature.id, panic.title, found.host.os.kernel)
        if not known:
            return stored
        top = _split(stored.body)
        kernel = _split(top["kernel"])
        inner = _split(kernel["panic"])
        inner["triage"] = msgspec.Raw(_encode(known))
        kernel["panic"] = msgspec.Raw(_encode(inner))
        top["kernel"] = msgspec.Raw(_encode(kernel))
        return Stored(stored.seq, stored.id, _encode(top))


def has_fix(release: str, fixes: Iterable[str]) -> bool | None:
    """Tell whether a kernel has the fix for its line of kernels; None if no fix is named for that line.

    A fix applies to kernels whose release has its words: ``…el7`` to el7's, ``…-generic`` to Ubuntu's generic
    ones, ``6.1.55`` to all; the machine is ignored. Of several fixes the one with the most numbers in common
    decides (a stable series or a minor release has its own), of equal ones the newest. Releases are ordered
    as rpm orders them, release candidates before their release.
    """
    kernel = _parts(release[:UTS_LENGTH])
    spoken = [fix for fix in map(_parts, fixes) if fix.words <= kernel.words]
    if not kernel.numbers or not spoken:
        return None
    nearest = max(_common(kernel.numbers, fix.numbers) for fix in spoken)
    near = [fix for fix in spoken if _common(kernel.numbers, fix.numbers) == nearest]
    return all(_compare(kernel.version, fix.version) >= 0 for fix in near)


class _Parts(msgspec.Struct, frozen=True):
    """A kernel release: ``version`` as rpm compares it, its numbers, and the words that name its line."""

    version: str
    numbers: tuple[int, ...]
    words: frozenset[str]


@lru_cache(maxsize=1024)
def _parts(release: str) -> _Parts:
    version = _MACHINES.sub("", re.sub(r"[^\w.+-]", ".", release, flags=re.ASCII))
    version = re.sub(r"^(\d+\.\d+)(?![.\d])", r"\1.0", version)  # uname prints 6.6 as 6.6.0
    version = re.sub(r"-(?=rc\d)", "~", version)  # rpm's mark of a version before a release
    numbers = tuple(int(digits) for digits in re.findall(r"\d+", version.partition("~")[0]))
    words = frozenset(re.findall(r"(?:el|amzn)\d+[a-z]*|[a-z]{2,}", version)) - {"rc"}
    return _Parts(version, numbers, words)


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _compare(one: str, other: str) -> int:
    from univers.rpm import vercmp  # noqa: PLC0415 - most runs have no fix to compare with

    return int(vercmp(one, other))  # type: ignore[no-untyped-call]


class _Signature(msgspec.Struct):
    id: str = ""


class _Panic(msgspec.Struct):
    title: str = ""
    signature: _Signature = msgspec.field(default_factory=_Signature)


class _Kernel(msgspec.Struct):
    panic: _Panic = msgspec.field(default_factory=_Panic)


class _System(msgspec.Struct):
    kernel: str = ""


class _Host(msgspec.Struct):
    os: _System = msgspec.field(default_factory=_System)


class _Identified(msgspec.Struct):
    """The fields of a document that tell which fault it is."""

    kernel: _Kernel = msgspec.field(default_factory=_Kernel)
    host: _Host = msgspec.field(default_factory=_Host)


_decode = msgspec.json.Decoder(_Identified).decode
_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
