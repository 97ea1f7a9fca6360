"""Looks up keys and their types in the structs of sections and plugins."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from kpanic import plugins
from kpanic.shipper.config.sections import INPUTS, OUTPUTS, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Key", "dotted", "field_names", "metas", "sections_with", "settable_keys", "type_below"]

Key = tuple[str | int, ...]
"""A key from the top: ``("inputs", 0, "paths")``."""


def dotted(key: Key) -> str:
    """Return a key in its usual spelling: ``inputs[0].paths``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def type_below(kind: Any, part: str | int) -> Any:  # noqa: ANN401 - any type
    """Return the type of a field of a struct or of an item of a list; None if it is neither."""
    if isinstance(part, str) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return next((field.type for field in msgspec.structs.fields(kind) if field.encode_name == part), None)
    if isinstance(part, int):
        return next(iter(getattr(kind, "__args__", ())), None)
    return None


def metas(kind: Any) -> list[msgspec.Meta]:  # noqa: ANN401 - any type
    """Return the constraints of an annotated type."""
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]


def field_names(kind: Any) -> list[str]:  # noqa: ANN401 - any type
    """Return the keys of a struct; none of any other type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(kind)]
    return []


def sections_with(name: str) -> list[str]:
    """Return the sections and inputs that have a key of this name, in words."""
    return _sections_by_key().get(name, [])


@cache
def _sections_by_key() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for section, kind in _structs().items():
        for path, _ in _paths(kind, section):
            above, dot, name = path.rpartition(".")
            if dot:
                found.setdefault(name, []).append(above)
    inputs: dict[str, list[str]] = {}
    for plugin in plugins.names(INPUTS):
        for name in field_names(plugins.load(INPUTS, plugin).Config):
            inputs.setdefault(name, []).append(plugin)
    for name, those in inputs.items():
        found.setdefault(name, []).append(f"inputs of type {', '.join(those)}")
    return found


def settable_keys() -> Iterator[str]:
    """Yield the dotted keys that have a value of their own, which a variable of the environment may set."""
    for section, kind in _structs().items():
        yield from (path for path, has_keys in _paths(kind, section) if not has_keys)


def _structs() -> dict[str, Any]:
    """Return the types of all sections; those of outputs are named ``output.<name>``."""
    outputs = {f"output.{name}": plugins.load(OUTPUTS, name).Config for name in plugins.names(OUTPUTS)}
    return SECTIONS | outputs


def _paths(kind: Any, prefix: str) -> Iterator[tuple[str, bool]]:  # noqa: ANN401 - any type
    """Yield the dotted keys of a struct and of all below it, and whether each has keys below it."""
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    yield prefix, is_struct
    if is_struct:
        for field in msgspec.structs.fields(kind):
            yield from _paths(field.type, f"{prefix}.{field.encode_name}")
