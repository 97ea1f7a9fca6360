"""Longer time limits than in production, so that no test fails on a busy machine."""

from __future__ import annotations

import pytest

LONG = 300.0
"""Seconds."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give inputs and outputs time to end, and to read the data sent before their end."""
    for name in ("ENDS_WITHIN", "PATIENCE"):
        monkeypatch.setattr(f"kpanic.shipper.contract.{name}", LONG)
    for name in ("netconsole", "syslog"):
        for limit in ("DRAIN", "FINISH"):
            monkeypatch.setattr(f"kpanic.shipper.inputs.{name}.{limit}", LONG)
    monkeypatch.setattr("kpanic.shipper.inputs.syslog.LAST", LONG)
