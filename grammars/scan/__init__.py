"""Selects the lines of a byte stream that the grammar reads."""

from __future__ import annotations

from kpanic.grammars.scan.block import BLOCK, LONGEST
from kpanic.grammars.scan.held import ASIDE, HELD_BY_HOST
from kpanic.grammars.scan.literals import Literal, Search
from kpanic.grammars.scan.scanner import HISTORY, Scanner
from kpanic.grammars.scan.windows import HOSTS

__all__ = ["ASIDE", "BLOCK", "HELD_BY_HOST", "HISTORY", "HOSTS", "LONGEST", "Literal", "Scanner", "Search"]
