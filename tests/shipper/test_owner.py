"""Root ships into the store of a service."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import parts
from tests.shipper.filters import OOPS, ROOT
from tests.shipper.processes import KPANIC

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = 12_345

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives itself up"),
]


@pytest.fixture
def services() -> Iterator[Path]:
    """A folder of a service, in a folder that only root may write, unlike /tmp."""
    above = Path(tempfile.mkdtemp(dir=parts.cache(), prefix="owner-"))
    above.chmod(0o755)
    made = above / "store"
    made.mkdir(mode=0o700)
    os.chown(made, SERVICE, SERVICE)
    yield made
    shutil.rmtree(above)


def kpanic(*arguments: str, store: Path, target: Path | None = None) -> subprocess.CompletedProcess[str]:
    options = ["-E", f"path.data={store}", "-E", f"output.file.path={target or store / 'panics.ndjson'}"]
    command = [*KPANIC, *arguments, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_root_becomes_the_owner_of_the_store_and_still_reads_its_own_files(
    services: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "console.log"
    secret.write_bytes(OOPS)
    secret.chmod(0o600)
    for command in (["ship", str(secret)], ["replay"]):
        done = kpanic(*command, store=services)
        assert done.returncode == 0, done.stderr
        assert f"as uid {SERVICE}, who owns {services}\n" in done.stderr
    assert {path.stat().st_uid for path in services.iterdir()} == {SERVICE}
    assert (services / "panics.ndjson").read_text().count("\n") == 1


def test_files_that_the_owner_may_not_write_are_not_written(services: Path, tmp_path: Path) -> None:
    secret = tmp_path / "console.log"
    secret.write_bytes(OOPS)
    tmp_path.chmod(0o755)
    done = kpanic("ship", str(secret), store=services, target=tmp_path / "roots.ndjson")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert not (tmp_path / "roots.ndjson").exists()


@pytest.mark.parametrize("above", [(0, 0o777), (0, 0o1777), (SERVICE, 0o755), (0, 0o775)])
def test_a_store_that_its_owner_may_have_put_there_is_refused(
    services: Path, tmp_path: Path, above: tuple[int, int]
) -> None:
    owner, mode = above
    os.chown(services.parent, owner, 0 if mode != 0o775 else SERVICE)
    services.parent.chmod(mode)
    (tmp_path / "console.log").write_bytes(OOPS)
    done = kpanic("ship", str(tmp_path / "console.log"), store=services)
    assert done.returncode == 1
    assert f"{services}: belongs to another user (uid {SERVICE})" in done.stderr
    assert list(services.iterdir()) == []
