"""Dumps of a small kernel that was crashed in QEMU, with its debug information: see ``make``."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vmcore.server import Server

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``vmcore.KIND``, ``ledger.ko``, and ``debug/vmlinux``."""
    folder = tmp_path_factory.mktemp("dumps")
    with lzma.open(HERE / "dumps.tar.xz") as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        archive.extractall(folder, filter="data")
    (folder / "debug").mkdir()
    with lzma.open(HERE / "vmlinux.xz") as image, (folder / "debug" / "vmlinux").open("wb") as file:
        shutil.copyfileobj(image, file)
    shutil.move(folder / "ledger.ko", folder / "debug" / "ledger.ko")
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server in DEBUGINFOD_URLS, and an empty cache."""
    from tests.vmcore.server import Server  # noqa: PLC0415 - needs drgn

    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        monkeypatch.setenv("DEBUGINFOD_URLS", f"ima:permissive {made.url}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield made
        made.shutdown()
