"""Distributions: how to recognise their kernels, and how to get the debugging symbols."""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

from kpanic.grammars.lazy import regex
from kpanic.grammars.model import Distribution

_EL: Final = regex(r"\.el(\d+)(?:_(\d+))?")
_FEDORA: Final = regex(r"\.fc(\d+)\b")
_AMAZON: Final = regex(r"\.amzn(\d+)\.")
_DEBIAN: Final = regex(r"\+deb(\d+)u?")
_UBUNTU: Final = regex(r"Ubuntu [^)]{0,128}~(\d\d\.\d\d)")
_REBUILDS: Final = (
    ("centos", "CentOS", "centos"),
    ("rockylinux", "Rocky Linux", "rocky"),
    ("almalinux", "AlmaLinux", "almalinux"),
    ("oracle", "Oracle Linux", "ol"),
    ("", "Red Hat Enterprise Linux", "rhel"),
)


@functools.lru_cache(maxsize=256)
def distribution(release: str, banner: str) -> Distribution | None:
    """Return the distribution of a kernel by ``uname -r`` and the banner; None if they identify none."""
    if found := _EL.search(release):
        _, name, platform = next(row for row in _REBUILDS if row[0] in banner)
        return Distribution(name, platform, "redhat", f"{found[1]}.{found[2]}" if found[2] else found[1])
    if found := _FEDORA.search(release):
        return Distribution("Fedora Linux", "fedora", "redhat", found[1])
    if found := _AMAZON.search(release):
        return Distribution("Amazon Linux", "amzn", "redhat", found[1])
    if "Ubuntu" in banner:
        found = _UBUNTU.search(banner)
        return Distribution("Ubuntu", "ubuntu", "debian", found[1] if found else "")
    if "Debian" in banner or "debian" in banner:
        found = _DEBIAN.search(banner)
        return Distribution("Debian GNU/Linux", "debian", "debian", found[1] if found else "")
    if "SUSE" in banner:
        return Distribution("SUSE Linux", "suse", "suse")
    return None


class Symbols(NamedTuple):
    """The debugging symbols of a kernel, which ``crash``, ``drgn`` and the kernel's scripts need."""

    install: str
    """The command that installs them."""
    vmlinux: str
    """Path of the kernel with the symbols, after the installation."""


_SYMBOLS: Final = {
    "debian": Symbols(
        "apt-get install linux-image-{release}-dbg  # from the archive, or snapshot.debian.org",
        "/usr/lib/debug/boot/vmlinux-{release}",
    ),
    "ubuntu": Symbols(
        "apt-get install linux-image-{release}-dbgsym  # from ddebs.ubuntu.com",
        "/usr/lib/debug/boot/vmlinux-{release}",
    ),
    "suse": Symbols(
        "zypper install kernel-{flavour}-debuginfo  # of the version {release}",
        "/usr/lib/debug/boot/vmlinux-{release}.debug",
    ),
    "redhat": Symbols(
        "dnf debuginfo-install kernel-{release}  # the package kernel-debuginfo-{release}",
        "/usr/lib/debug/lib/modules/{release}/vmlinux",
    ),
    "yum": Symbols(
        "debuginfo-install kernel-{release}  # the package kernel-debuginfo-{release}",
        "/usr/lib/debug/lib/modules/{release}/vmlinux",
    ),
    "uek": Symbols(
        "dnf install kernel-uek-debuginfo-{release}  # from oss.oracle.com",
        "/usr/lib/debug/lib/modules/{release}/vmlinux",
    ),
}
_MARKS: Final = (
    (regex(r"\.el[67][._]|\.amzn[12]\."), "yum"),
    (regex(r"\.el\d+uek"), "uek"),
    (regex(r"\.el\d|\.fc\d|\.amzn\d"), "redhat"),
    (regex(r"-generic$|-lowlatency$|-aws$|-azure$|-gcp$|-oracle$|-kvm$"), "ubuntu"),
    (
        regex(r"-(?:amd64|arm64|686|686-pae|armmp|armmp-lpae|powerpc64le|s390x|riscv64)$"),
        "debian",
    ),
    (regex(r"-default$|-azure$|-preempt$"), "suse"),
)
"""Distributions by the end of the release, for kernels without a banner."""


@functools.lru_cache(maxsize=256)
def symbols(release: str, known: Distribution | None) -> Symbols | None:
    """Return how to get the debugging symbols of a kernel; None if the distribution is unknown."""
    if not release:
        return None
    key = next((name for pattern, name in _MARKS if pattern.search(release)), "")
    if known is not None and known.family != "redhat":
        key = known.platform
    found = _SYMBOLS.get(key)
    if found is None:
        return None
    flavour = release.rpartition("-")[2]
    return Symbols(*(words.format(release=release, flavour=flavour) for words in found))
