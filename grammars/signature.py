"""Signatures: the same name for a fault on any host, boot or build.

A signature is a hash of the title, the cause and the functions that identify the fault: the suspect
function, or the innermost frames if none is known. Compiler suffixes, offsets, addresses, the build ids of
modules and the hashes of BPF programs are left out. Where there is no frame either, the quality is ``weak``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Signature
from kpanic.grammars.suspect import bare, base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpanic.grammars.model import Frame

VERSION: Final = 1
_BPF: Final = regex(r"bpf_prog_(?:[0-9a-f]{16}|ADDR)")
"""A BPF program is named after a hash of its instructions (kernel/bpf/core.c), and its name when loaded."""
DEPTH: Final = 3
"""Number of frames that identify a fault without a function in its title."""


def sign(title: str, cause: str, function: str, frames: Iterable[Frame]) -> Signature:
    """Return the signature of a fault."""
    path = [] if function else _path(frames)
    text = _BPF.sub("bpf_prog", "\n".join((title, cause, function, *path)))
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
    strong = bool(function or path)
    return Signature(f"v{VERSION}-{digest}", VERSION, "strong" if strong else "weak")


def _path(frames: Iterable[Frame]) -> list[str]:
    """Return the first reliable functions of a trace, without differences between builds."""
    path: list[str] = []
    for frame in frames:
        if frame.reliable and frame.symbol and not frame.inline:
            path.append(bare(base(frame.symbol)))
            if len(path) == DEPTH:
                break
    return path
