"""Writes :mod:`kpanic.grammars.compiled`: ``python -m kpanic.grammars.regenerate``.

A test compares the committed file with the sentences.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kpanic.grammars import registry
from kpanic.grammars.compile import beginnings, literals, pattern
from kpanic.grammars.precompile import sentences
from kpanic.grammars.sentence import Unsought, checksum

PATH: Final = Path(__file__).with_name("compiled.py")
_HEAD: Final = '"""The patterns of the grammar; written by ``python -m kpanic.grammars.regenerate``."""\n\n'


def source() -> str:
    """Return the contents of the file."""
    own = [one for one in sentences() if one.module.startswith("kpanic.grammars.")]
    forms = {form.sentence for family in registry.default().families for form in family.forms}
    lines = [
        _HEAD,
        "CHECKSUMS: dict[str, int] = {\n",
        *[f"    {module!r}: {checksum(module)},\n" for module in sorted({one.module for one in own})],
        "}\n",
        "SENTENCES: dict[str, tuple[str, tuple[str, ...]]] = {\n",
    ]
    for one in own:
        begins = literals if one in forms and not isinstance(one, Unsought) else beginnings
        kept = (pattern(one.expression), begins(one.expression))
        lines.append(f"    {one.key!r}: {kept!r},\n")
    return "".join([*lines, "}\n"])


if __name__ == "__main__":
    PATH.write_text(source(), encoding="utf-8")
