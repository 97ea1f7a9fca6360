"""Source lines are shown if the sources of the crashed kernel are on this machine."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.vmcore import sources
from kpanic.shipper.vmcore.sources import Sources
from tests.vmcore.test_vmcore import LEDGER, MODULE, evidence, explain, line_of, step

if TYPE_CHECKING:
    from pathlib import Path

MAKEFILE = (
    "# SPDX-License-Identifier: GPL-2.0\nVERSION = {}\nPATCHLEVEL = {}\nSUBLEVEL = {}\nEXTRAVERSION =\n"
)
FILE = "fs/ledger/inode.c"


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in place of /usr/src."""
    folder = tmp_path / "system"
    folder.mkdir()
    monkeypatch.setattr(sources, "SYSTEM", str(folder))
    return folder


def tree(folder: Path, makefile: str = "", words: str = "return 0;") -> Path:
    """Write a kernel's sources with a file whose second line is given."""
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_text(f"{{\n\t{words}\n}}\n")
    if makefile:
        (folder / "Makefile").write_text(MAKEFILE.format(*makefile.split(".")))
    return folder


@pytest.mark.parametrize(
    ("place", "release"),
    [
        (
            "debug/kernel-5.14.0-362.8.1.el9_3/linux-5.14.0-362.8.1.el9_3.x86_64",
            "5.14.0-362.8.1.el9_3.x86_64",
        ),
        ("debug/kernel-6.5.6/linux-6.5.6-300.fc39.x86_64", "6.5.6-300.fc39.x86_64"),
        ("debug/kernel-default-5.14.21-150500.55.52/linux-5.14.21", "5.14.21-150500.55.52-default"),
    ],
)
def test_the_folder_of_a_debug_package_names_the_release(system: Path, place: str, release: str) -> None:
    tree(system / place)
    assert Sources(release).line(FILE, 2) == "return 0;"
    assert Sources("6.5.7-300.fc39.x86_64").line(FILE, 2) == ""


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.192-ledger", "#1 SMP"),
        ("6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-11-16)"),
    ],
)
def test_the_makefile_of_other_sources_names_the_version(system: Path, release: str, version: str) -> None:
    tree(system / "linux-source-6.1", "6.1.192", "return 192;")
    tree(system / "linux-6.1.191", "6.1.191", "return 191;")
    assert Sources(release, version).line(FILE, 2) == "return 192;"
    assert Sources("6.1.190").line(FILE, 2) == ""


def test_an_unpacked_package_and_a_tree_may_be_named(tmp_path: Path) -> None:
    tree(tmp_path / "package" / "usr/src/debug/kernel-6.5.6/linux-6.5.6-300.fc39.x86_64")
    assert Sources("6.5.6-300.fc39.x86_64", "", [str(tmp_path / "package")]).line(FILE, 2) == "return 0;"
    own = tree(tmp_path / "own", "6.2.0")  # the user who names the folder is trusted
    assert Sources("6.1.0-rc3-dirty", "", [str(own)]).line(FILE, 2) == "return 0;"
    assert Sources("6.1.0-rc3-dirty", "", [str(tmp_path)]).line(FILE, 2) == ""


def test_a_line_is_shown_with_its_neighbours(system: Path) -> None:
    tree(system / "linux-6.1.192", "6.1.192")
    found = Sources("6.1.192")
    assert found.around(FILE, 2) == ("     1  {", "     2>     return 0;", "     3  }", "     4")
    assert found.around(FILE, 9) == ()
    assert (found.line(FILE, 0), found.line(FILE, -1), found.line("", 0)) == ("", "", "")


def test_control_sequences_of_terminals_are_not_shown(system: Path) -> None:
    tree(system / "linux-6.1.192", "6.1.192", "\x1b[2Jx = \x00\x9b\u202e1;" + "y" * 1000)
    text = Sources("6.1.192").line(FILE, 2)
    assert text.startswith("�[2Jx = ���1;yyy")
    assert len(text) <= sources.WIDE


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.c",
        "fs/../../secret.c",
        "{outside}/secret.c",
        "{system}/linux-6.1.192/../../secret.c",
        "/{system}/../secret.c",
        "fs/link.c",
        "linked/secret.c",
        "fs",
        "fs/pipe",
        "fs/large.c",
        "a/" * 100_000 + "secret.c",
        "secret.c\0",
        "\udcff.c",
    ],
)
def test_a_name_leads_nowhere_else(system: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.c"
    secret.write_text("secret\n")
    top = tree(system / "linux-6.1.192", "6.1.192")
    (top / "fs" / "link.c").symlink_to(secret)
    (top / "linked").symlink_to(tmp_path)
    os.mkfifo(top / "fs" / "pipe")
    (top / "fs" / "large.c").write_text("int large;\n" + "\n" * sources.LARGEST)
    assert Sources("6.1.192").line(name.format(outside=tmp_path, system=system), 1) == ""


def test_the_number_of_files_is_bounded(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree(system / "linux-6.1.192", "6.1.192")
    shutil.copy(top / FILE, top / "other.c")
    monkeypatch.setattr(sources, "FILES", 1)
    found = Sources("6.1.192")
    assert [found.line(name, 2) for name in (FILE, "other.c", FILE)] == ["return 0;", "", "return 0;"]


@pytest.mark.process
def test_a_dump_shows_the_line_of_the_trap_and_of_each_caller(dumps: Path, tmp_path: Path) -> None:
    there = tmp_path / "package"
    shutil.copytree(LEDGER, there / "usr/src/ledger")
    kernel = there / "usr/src/linux-source-6.1"
    (kernel / "kernel").mkdir(parents=True)
    (kernel / "Makefile").write_text(MAKEFILE.format(6, 1, 192))
    (kernel / "kernel/params.c").write_text("".join(f"line {number};\n" for number in range(1, 2000)))
    crash = explain(
        dumps / "vmcore.null",
        *("--debug-info", dumps / "debug/vmlinux", "--debug-info", dumps / "debug/ledger.ko"),
        *("--debug-info", there),
    )
    number = line_of("account->owner->limit")
    code = "return READ_ONCE(account->owner->limit); /* of a NULL owner: at 0x8 */"
    assert f"The source is here: {code}" in step(crash, "trapping frame")["finding"]
    rows = evidence(crash, "trapping frame")
    assert f"{number:6}>     {code}" in rows
    assert f"{number - 1:6}  {{" in rows
    assert any(row.endswith(f" at {MODULE}:{number}: {code}") for row in rows)
    called = next(row for row in rows if " param_attr_store" in row)
    assert re.search(r" at kernel/params\.c:(\d+): line \1;$", called)
