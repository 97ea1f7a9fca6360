"""The locked packages of a release."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def loaded(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def test_the_lock_has_every_dependency_in_a_version_that_is_asked_for() -> None:
    """To update the lock: ``pip install uv && uv lock``."""
    versions: dict[str, list[str]] = {}
    for package in loaded("uv.lock")["package"]:
        versions.setdefault(package["name"], []).append(package.get("version", ""))
    project = loaded("pyproject.toml")["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    wanted = [one for one in map(Requirement, texts) if one.name != "kpanic"]
    assert wanted
    missing = [
        str(one)
        for one in wanted
        if not any(
            one.specifier.contains(version) for version in versions.get(canonicalize_name(one.name), [])
        )
    ]
    assert missing == []


def test_every_package_of_the_lock_has_digests_and_comes_from_the_index() -> None:
    others = [package for package in loaded("uv.lock")["package"] if package["name"] != "kpanic"]
    assert len(others) > 20
    for package in others:
        assert package["source"] == {"registry": "https://pypi.org/simple"}
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files
        assert all(file["hash"].startswith("sha256:") for file in files)


def test_packages_are_built_from_the_lock() -> None:
    build = (ROOT / "packaging" / "build").read_text(encoding="utf-8")
    assert "uv export -q --frozen" in build
    assert '--generate-hashes --constraints "$work/locked.txt"' in build
    assert "--require-hashes" in build
