"""The public names for plugins, which are imported on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kpanic.shipper import api


@pytest.mark.parametrize("name", api.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(api, name) is not None


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        api.nothing  # noqa: B018


@pytest.mark.process
def test_to_parse_a_file_nothing_is_imported_that_only_services_need() -> None:
    script = "import sys, kpanic.shipper.cli, kpanic.shipper.commands.parse; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    needless = {
        "ssl",
        "sqlite3",
        "yaml",
        "rich",
        "multiprocessing",
        "pickle",
        "tenacity",
        "urllib3",
        "pyparsing",
        "subprocess",
        "tempfile",
    }
    assert not loaded & needless
    assert not {name for name in loaded if name.startswith("kpanic.grammars")}


@pytest.mark.process
def test_for_a_plain_log_nothing_is_imported_that_only_other_logs_need() -> None:
    script = "import sys; sys.argv[1:] = ['parse', '-']; from kpanic.__main__ import main\n"
    script += "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    log = "[    1.000001] Kernel panic - not syncing: widget: it stopped\n"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, input=log
    )
    loaded = set(done.stderr.split())
    assert "kernel panic: widget: it stopped" in done.stdout
    assert "kpanic.grammars.parser" in loaded
    needless = {"base64", "dataclasses", "heapq", "json", "resource", "signal", "subprocess", "demangle"}
    assert not loaded & needless


@pytest.mark.process
def test_to_tell_the_state_of_the_store_no_grammar_is_imported() -> None:
    script = "import sys, kpanic.shipper.commands.status, kpanic.shipper.store; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {name for name in done.stdout.split() if name.startswith("kpanic.grammars")}
