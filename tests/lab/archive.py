"""Downloads Debian's packages of any suite and machine, independent of the host's packages.

Private apt roots in the cache hold the lists of the suites that the matrix names; packages are checked by apt
(signature of the Release file, then SHA256) and unpacked with ``dpkg -x``, never installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_MAXIMUM_AGE = 12 * 3600
"""Seconds after which the package lists are fetched again."""


class GoneError(Exception):
    """A package is not, or no longer, in the archive."""


def cache() -> Path:
    """Return the folder of packages, modules and initrds: ``KPANIC_LAB_CACHE`` or the user's cache."""
    folder = os.environ.get("KPANIC_LAB_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(folder) if folder else base / "kpanic-lab"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a named lock of the cache, which several runs share."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _failed(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0


@dataclass(frozen=True, slots=True)
class Archive:
    """A private apt root."""

    root: Path
    sources: tuple[str, ...]
    """Lines of sources.list, without ``signed-by``."""
    architectures: tuple[str, ...]
    """Debian's names of machines, the host's first."""

    def refresh(self) -> None:
        """Fetch the package lists if they are old.

        Raises :class:`GoneError` when no list could be had.
        """
        with locked("apt"):
            stamp = self.root / "fetched"
            lines = "".join(line + "\n" for line in self.sources)
            fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_MAXIMUM_AGE
            if fresh and stamp.read_text() == lines:
                return
            self._lay_out()
            done = self._retried("apt-get", "update")  # lists do not match while a mirror is updated
            for machine in self.architectures:
                if not list((self.root / "state/lists").glob(f"*_binary-{machine}_Packages*")):
                    raise GoneError(f"no package list of {machine} could be had: {_complaint(done.stderr)}")
            stamp.write_text(lines)

    def newest(self, pattern: str, architecture: str) -> str:
        """Return the name of the newest package whose name fully matches a regular expression.

        Raises :class:`GoneError` when there is none.
        """
        listed = self._apt("apt-cache", "pkgnames", "linux-").stdout.split()
        names = [name for name in listed if re.fullmatch(pattern, name)]
        for name in sorted(names, key=_natural, reverse=True):
            offered = self._apt("apt-cache", "madison", f"{name}:{architecture}").stdout
            if offered.strip():
                return name
        raise GoneError(f"no package {pattern} for {architecture}")

    def depends(self, package: str, wanted: str) -> list[str]:
        """Return the names among a package's direct dependencies that match a regular expression."""
        shown = self._apt("apt-cache", "depends", "--important", package).stdout
        names = re.findall(r"Depends: <?([^\s:>]+)", shown)
        return [name for name in names if re.fullmatch(wanted, name)]

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        """Download packages (``name:architecture``) and unpack them into a folder.

        Raises :class:`GoneError` when one is not served.
        """
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            done = self._retried("apt-get", "download", *packages, cwd=Path(folder))
            if done.returncode:
                raise GoneError(_complaint(done.stderr))
            # In the given order: packages that create links into /usr come before those that need them.
            files = {deb.name.split("_")[0]: deb for deb in Path(folder).glob("*.deb")}
            for package in packages:
                subprocess.run(["dpkg", "-x", files[package.partition(":")[0]], into], check=True)

    def unpack_file(self, package: str, path: str, into: Path) -> None:
        """Download a package (``name:architecture``) and unpack one file of it, of ``./usr/lib/…``.

        Raises :class:`GoneError` when it is not served.
        """
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            done = self._retried("apt-get", "download", package, cwd=Path(folder))
            if done.returncode:
                raise GoneError(_complaint(done.stderr))
            (deb,) = Path(folder).glob("*.deb")
            with subprocess.Popen(["dpkg", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as packed:
                subprocess.run(["tar", "-x", "-C", into, path], stdin=packed.stdout, check=True)

    def closure(self, packages: Sequence[str]) -> list[str]:
        """Return packages with all their dependencies, as ``name:architecture=version``."""
        done = self._apt("apt-get", "install", "--simulate", "--no-install-recommends", *packages)
        if done.returncode:
            raise GoneError(done.stderr.strip())
        found = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", done.stdout, re.MULTILINE)
        return [f"{name.partition(':')[0]}:{machine}={version}" for name, version, machine in found]

    def _lay_out(self) -> None:
        for folder in (
            "etc/preferences.d",
            "etc/apt.conf.d",
            "state/lists/partial",
            "cache/archives/partial",
            "dpkg",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "dpkg/status").touch()
        options = (
            f'Dir "{self.root}";',
            'Dir::Etc "etc";',
            'Dir::State "state";',
            f'Dir::State::status "{self.root}/dpkg/status";',
            'Dir::Cache "cache";',
            f'APT::Architecture "{self.architectures[0]}";',
            "APT::Architectures { " + " ".join(f'"{name}";' for name in self.architectures) + " };",
            'APT::Sandbox::User "";',
            'Acquire::Languages "none";',
            'Acquire::GzipIndexes "true";',
            'Acquire::Retries "3";',
        )
        (self.root / "apt.conf").write_text("\n".join(options) + "\n")
        signed = (line.replace("[", f"[signed-by={KEYRING} ", 1) for line in self.sources)
        (self.root / "etc/sources.list").write_text("\n".join(signed) + "\n")

    @tenacity.retry(
        retry=tenacity.retry_if_result(_failed),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_fixed(5),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    def _retried(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command that needs the mirror; return the last of at most three results."""
        return self._apt(*command, cwd=cwd)

    def _apt(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            **os.environ,
            "APT_CONFIG": str(self.root / "apt.conf"),
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _complaint(text: str) -> str:
    """Return the first error of apt on one line, without the mirror's address."""
    first = next((line[3:] for line in text.splitlines() if line.startswith("E: ")), text.strip()[-200:])
    return " ".join(first.partition(" [IP: ")[0].split())


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 6.1.0-9 before 6.1.0-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
