"""Dumps of a small kernel that was crashed in QEMU, with its debug information: see ``make``."""

from __future__ import annotations

import lzma
import shutil
import tarfile
from pathlib import Path

import pytest

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
