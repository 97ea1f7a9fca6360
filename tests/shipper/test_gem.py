"""The Fluentd plugin in Ruby: its own tests, with the real filter."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engines import parts
from tests.shipper.filters import LOGS, ROOT, program

if TYPE_CHECKING:
    from pathlib import Path

GEM = ROOT / "packaging" / "fluent-plugin-kpanic"


@pytest.mark.process
def test_the_tests_of_the_gem_pass(tmp_path: Path) -> None:
    libraries = ["ruby", "-e", 'require "msgpack"; require "test/unit"; exit!(0)']
    if not shutil.which("ruby") or subprocess.run(libraries, check=False, capture_output=True).returncode:
        parts.missing("Ruby", "apt-get install ruby ruby-msgpack ruby-test-unit")
    environment = {**os.environ, "KPANIC": str(program(tmp_path)), "LOGS": str(LOGS / "lab")}
    command = ["ruby", "-w", "-I", "lib", "test/test_kpanic.rb"]
    done = subprocess.run(
        command, cwd=GEM, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 omissions" in done.stdout


@pytest.mark.process
def test_each_file_is_ruby() -> None:
    if not shutil.which("ruby"):
        parts.missing("Ruby", "apt-get install ruby")
    for path in GEM.rglob("lib/**/*.rb"):
        done = subprocess.run(["ruby", "-wc", path], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("Syntax OK\n", "")
