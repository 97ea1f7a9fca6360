"""Another distribution extends the grammar of an unchanged kpanic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process
EXAMPLES = Path(__file__).parent.parent / "examples"
RAIDCARD = """\
<<web-1>> [   12.000001] raidcard: firmware died in rc_submit+0x1c/0x40
<<web-2>> [   77.000001] raidcard: firmware died in rc_reset+0x1c/0x40
"""
CSKY = """\
[   12.000001] Unable to handle kernel NULL pointer dereference at virtual address 00000000
[   12.000002] CPU: 0 PID: 1 Comm: sh Not tainted 6.1.0-csky #1
[   12.000003] PC: 0x8021a5c4 (sysrq_handle_crash+0x14/0x1c)
[   12.000004] a0: 0x00000063   a1: 0x00000000   a2: 0x00000001   a3: 0x00000000
[   12.000005] Call Trace:
[   12.000006] [<8021a5c4>] sysrq_handle_crash+0x14/0x1c
[   12.000007] [<8021b000>] __handle_sysrq+0x8a/0x134
[   12.000008] ---[ end trace 0000000000000000 ]---
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed modules, with the metadata that pip writes."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / f"kpanic_examples-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for path in EXAMPLES.glob("*.py"):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def parsed(site: Path, text: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", "from kpanic.shipper.cli import main; main()", "parse", "-"],
        input=text.encode(),
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        check=True,
    )
    assert done.stderr.decode() == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_family_a_transport_and_a_step_are_used(site: Path) -> None:
    first, second = parsed(site, RAIDCARD)
    assert (first["host"]["name"], second["host"]["name"]) == ("web-1", "web-2")
    panic = first["kernel"]["panic"]
    assert panic["title"] == "raidcard: firmware died in rc_submit"
    assert panic["cause"] == "driver"
    assert "rack: The machine stands in row 3, rack 7. (line 1)" in panic["analysis"]["steps"]
    assert not any(step.startswith("rack:") for step in second["kernel"]["panic"]["analysis"]["steps"])


def test_a_machine_is_read(site: Path) -> None:
    (document,) = parsed(site, CSKY)
    panic = document["kernel"]["panic"]
    assert document["host"]["architecture"] == "csky"
    assert panic["rip"]["symbol"] == "sysrq_handle_crash"
    assert panic["registers"]["a0"] == "00000063"
