"""The fleet of the README's first command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kpanic.shipper.crashed_host import HostRule, HostRules
from kpanic.shipper.document import build
from kpanic.shipper.inputs.log_file import read
from kpanic.shipper.origin import Origin
from tests.demo import HOSTS, main

if TYPE_CHECKING:
    from pathlib import Path


def test_the_fleet_of_the_readme_crashed_lately_and_last_night(tmp_path: Path) -> None:
    main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= set(HOSTS)
    consoles = sorted(tmp_path.glob("*/*.log"), key=lambda path: path.name)
    assert len(consoles) > 100
    origin = Origin("file", hosts=HostRules([HostRule(f"{tmp_path}/{{host}}")]))
    documents = [
        build(*crash) for console in consoles[::10] + consoles[-1:] for crash in read(str(console), origin)
    ]
    moments = [datetime.fromisoformat(document["@timestamp"]) for document in documents]
    assert documents[-1]["host"]["name"] == "web03"
    assert timedelta(0) < datetime.now(UTC) - max(moments) < timedelta(days=1)
    assert min(moments) > datetime.now(UTC) - timedelta(days=63)
    assert len({document["event"]["id"] for document in documents}) == len(documents)
