"""Kernel crash text in, :class:`CrashReport` out.

Data flow one way::

    bytes ─► scan ─► lines ─► report ─► suspect, cause, signature, analysis ─► CrashReport

The package does not deal with files, JSON or networks.
"""

from __future__ import annotations

from kpanic.grammars.model import CrashReport
from kpanic.grammars.parser import Parser, died, parse

__all__ = ["CrashReport", "Parser", "died", "parse"]
