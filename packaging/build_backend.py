"""Builds kpanic with setuptools, and bundles Vega, which draws the charts of ``kpanic report``.

Vega is extracted from vl-convert (84 MB), which is needed to build a wheel, but not to install one. A source
distribution contains Vega too.

:see: PEP 517, PEP 660
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

BUNDLE = Path(__file__).parents[1] / "kpanic" / "dashboards" / "page" / "vega.js"
SOURCE = "vl-convert-python>=1.9,<2"
"""A requirement of the build, which has wheels for x86-64 and arm64 with glibc."""


def _required() -> list[str]:
    has_wheel = platform.machine() in {"x86_64", "aarch64"} and platform.libc_ver()[0] == "glibc"
    return [SOURCE] if has_wheel and not BUNDLE.exists() else []


def _bundle() -> None:
    """Write the bundle of Vega if it is missing."""
    if BUNDLE.exists():
        return
    try:
        import vl_convert  # noqa: PLC0415 - it has no wheel for some machines
    except ImportError:
        print(
            f"{SOURCE} is not installed: without {BUNDLE.name} `kpanic report` cannot draw."
            " Wheels that are built on x86-64 or arm64 work on every machine.",
            file=sys.stderr,
        )
        return
    BUNDLE.write_text(vl_convert.javascript_bundle(), encoding="utf-8")


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:  # noqa: ANN401, D103 - PEP 517
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_required()]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:  # noqa: ANN401, D103
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_required()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:  # noqa: ANN401, D103
    return [*build_meta.get_requires_for_build_editable(config_settings), *_required()]


def build_wheel(*arguments: Any, **options: Any) -> str:  # noqa: ANN401, D103
    _bundle()
    return build_meta.build_wheel(*arguments, **options)


def build_sdist(*arguments: Any, **options: Any) -> str:  # noqa: ANN401, D103
    _bundle()
    return build_meta.build_sdist(*arguments, **options)


def build_editable(*arguments: Any, **options: Any) -> str:  # noqa: ANN401, D103
    _bundle()
    return build_meta.build_editable(*arguments, **options)
