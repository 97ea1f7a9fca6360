"""Written by ``python -m kpanic.grammars.regenerate``: the patterns of the grammar's sentences."""

CHECKSUMS: dict[str, int] = {}
SENTENCES: dict[str, tuple[str, tuple[str, ...]]] = {}
