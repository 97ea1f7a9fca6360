"""pip installs one package with all its data, from a clone, a source distribution or a checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.process
ROOT = Path(__file__).parent.parent
PACKAGES = ("grammars", "shipper", "dashboards")
STORY = ROOT / "tests" / "logs" / "story" / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"
NOT_INSTALLED = {"dashboards/report.png"}
"""Tracked files in the packages that only the repository's README uses."""
BUILT = {"kpanic/dashboards/page/vega.js"}
"""Files that packaging/build_backend.py generates."""
LARGEST = 125_000_000
"""Maximum bytes of an installation."""
CONSUMER = """\
import kpanic
from kpanic.shipper.api import Output

report: int = kpanic.parse(b"")
output: Output
"""


def run(*command: str | Path, cwd: Path, code: int = 0, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class Environment(NamedTuple):
    """A virtual environment, and a folder outside of the checkout."""

    folder: Path
    elsewhere: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def pip(self, *arguments: str | Path) -> None:
        run(self.python, "-m", "pip", "install", "-q", *arguments, cwd=self.elsewhere)

    def kpanic(self, *arguments: str | Path, **environment: str) -> str:
        return run(self.folder / "bin" / "kpanic", *arguments, cwd=self.elsewhere, **environment)

    def ours(self) -> set[str]:
        """Return the files that the distribution installed in site-packages."""
        script = "from importlib.metadata import files; print(*files('kpanic'), sep='\\n')"
        listed = run(self.python, "-c", script, cwd=self.elsewhere).split("\n")
        return {name for name in listed if name and not name.startswith("..") and "__pycache__" not in name}


def environment(folder: Path) -> Environment:
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    (folder / "elsewhere").mkdir()
    return Environment(folder / "venv", folder / "elsewhere")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of the last commit."""
    folder = tmp_path_factory.mktemp("clone") / "kpanic"
    run("git", "clone", "-q", ROOT, folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(clone, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and its dependencies."""
    made = environment(tmp_path_factory.mktemp("installed"))
    made.pip(wheel)
    return made


def built(source: Path, into: Path, *options: str) -> Path:
    run(sys.executable, "-m", "build", *options, "-o", into, source, cwd=into)
    (found,) = into.glob("*.whl")
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def top(names: set[str]) -> set[str]:
    return {re.sub(r"-[^/]*\.dist-info$", ".dist-info", name.partition("/")[0]) for name in names}


def test_both_counting_services_are_confined_in_the_same_way() -> None:
    # systemd cannot say it once: an instance of a template cannot stand for "no argument", and drop-ins of a
    # prefix (kpanic-.service.d) would also confine a site's own units
    files = ROOT / "packaging" / "files"
    hourly, daily = (
        (files / f"{name}.service").read_text().splitlines()
        for name in ("kpanic-rollup", "kpanic-rollup-again")
    )
    differ = [line for line, other in zip(hourly, daily, strict=True) if line != other]
    assert [line.partition("=")[0] for line in differ] == ["Description", "ExecStart"]
    assert "ExecStart=/usr/bin/kpanic rollup --again" in daily


def test_a_wheel_holds_one_package(wheel: Path) -> None:
    assert top(set(contents(wheel))) == {"kpanic", "kpanic.dist-info"}


def test_a_wheel_holds_every_file_of_the_packages(clone: Path, wheel: Path) -> None:
    tracked = set(run("git", "ls-files", *PACKAGES, cwd=clone).split()) - NOT_INSTALLED
    assert {"dashboards/page/page.js", "grammars/data/helpers.tsv"} <= tracked
    public = {
        path for path in run("git", "ls-files", "kpanic", cwd=clone).split() if path[7:] not in PACKAGES
    }
    expected = {f"kpanic/{name}" for name in tracked} | public | BUILT
    held = {name for name in contents(wheel) if name.startswith("kpanic/")}
    assert held == expected


def test_a_source_distribution_builds_the_same_wheel(clone: Path, wheel: Path, tmp_path: Path) -> None:
    assert contents(built(clone, tmp_path)) == contents(wheel)  # the wheel built from the source distribution


def test_site_packages_get_nothing_else(installed: Environment) -> None:
    assert top(installed.ours()) == {"kpanic", "kpanic.dist-info"}


def test_the_commands_work_where_it_is_installed(installed: Environment) -> None:
    title = "BUG: unable to handle kernel NULL pointer dereference in sysrq_handle_crash"
    assert title in installed.kpanic("parse", "--format", "ndjson", STORY)
    assert "sysrq_handle_crash" in installed.kpanic("explain", STORY)
    store = installed.elsewhere / "store"
    installed.kpanic("ship", "-E", f"path.data={store}", STORY)
    installed.kpanic("report", "-E", f"path.data={store}", "-o", "report.html")
    page = (installed.elsewhere / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert all(part in page for part in ("<style>", "vega", 'id="numbers"'))


def test_the_installation_is_small(installed: Environment) -> None:
    folder = installed.folder / "lib"
    site = next(folder.glob("python3*/site-packages"))
    brought = [
        path
        for path in site.rglob("*")
        if path.is_file() and path.relative_to(site).parts[0].partition("-")[0] not in {"pip", "setuptools"}
    ]
    assert len(brought) > 500
    assert sum(path.stat().st_size for path in brought) < LARGEST


def test_packages_of_the_same_names_elsewhere_do_not_matter(installed: Environment, tmp_path: Path) -> None:
    for name in (*PACKAGES, "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('a package of somebody else')\n")
    expected = installed.kpanic("parse", "--format", "text", STORY)
    assert installed.kpanic("parse", "--format", "text", STORY, PYTHONPATH=str(tmp_path)) == expected != ""


def test_a_type_checker_sees_the_types(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.python]
    said = run(*command, "consumer.py", cwd=tmp_path, code=1)
    assert (
        'Incompatible types in assignment (expression has type "Generator[CrashReport, None, None]"' in said
    )
    assert "Found 1 error in 1 file" in said


@pytest.mark.parametrize("how", ["from git", "editable"])
def test_other_ways_to_install_it(clone: Path, wheel: Path, tmp_path: Path, how: str) -> None:
    made = environment(tmp_path)
    made.pip("--no-deps", *([f"git+file://{clone}"] if how == "from git" else ["-e", clone]))
    script = "import kpanic, kpanic.grammars as one; print(kpanic.__file__, one.__file__, sep='\\n')"
    made.pip("pyparsing", "hyperscan", "msgspec", "demangle")
    places = [Path(line) for line in run(made.python, "-c", script, cwd=made.elsewhere).split()]
    if how == "editable":
        assert [place.resolve() for place in places] == [
            clone / "kpanic" / "__init__.py",
            clone / "grammars" / "__init__.py",
        ]
    else:
        installed = {name for name in made.ours() if name.startswith("kpanic/")}
        assert installed == {name for name in contents(wheel) if name.startswith("kpanic/")}
