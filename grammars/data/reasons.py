"""Reasons to skip a function on which the choice of the suspect function depends, too."""

from __future__ import annotations

from typing import Final

LOCKS: Final = "takes or releases locks for its callers"
SANITIZER: Final = "is part of a sanitizer"
PRINTS: Final = "prints the trace"
WALKS: Final = "walks or prints the stack"
STOPS: Final = "stops the kernel for its callers"
REPORTS: Final = "reports what its callers found"
