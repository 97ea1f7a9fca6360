"""Converts values to the structs of sections and plugins; each fault has one line."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from kpanic.shipper.config.faults import Faults, expected
from kpanic.shipper.config.keys import Key, field_names, type_below
from kpanic.shipper.config.yaml_text import unreadable
from kpanic.shipper.files import file_role, open_trusted

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["Converter"]

ROUNDS = 256
"""Maximum faults that are searched for in one section: each round mends or removes one place."""

_LEADING_KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ")


@runtime_checkable
class Examined(Protocol):
    """A struct of settings that can check the files that it names."""

    def examine(self) -> None:
        """Check the named files.

        :raises ValueError: a file cannot be used; the message begins with the key.
        """


class Converter:
    """Converts values.

    :param examined: sections whose named files are opened too.
    """

    def __init__(self, faults: Faults, examined: Container[str] = ()) -> None:
        self._faults = faults
        self._examined = examined

    def convert(self, value: Any, kind: Any, path: Key) -> Any:  # noqa: ANN401 - any type
        """Return ``value`` as ``kind``; None if it is wrong, which is added to the faults.

        A single text counts as a list of one, and a number as text where text is expected.
        """
        made = self._converted(value, kind, path)
        if path[0] in self._examined:
            self._open_files(value, kind, path)
            self._examine(made, path)
        return made

    def _converted(self, value: Any, kind: Any, path: Key) -> Any:  # noqa: ANN401 - any type
        before = self._faults.count
        reported: set[Key] = set()  # keys with a fault, and the keys that unknown ones were meant for
        for _ in range(ROUNDS):
            try:
                made = msgspec.convert(value, kind, strict=False)
            except UnicodeEncodeError:
                self._faults.add_at(path, "holds half a surrogate pair, which is no text")
                return None
            except msgspec.ValidationError as error:
                problem, _, at = str(error).partition(" - at ")
                below = _parts(at.strip("`"))
                mended = self._mended(value, below, problem, path, kind)
                if mended:
                    (value,) = mended
                    continue
                about = self._add(problem, kind, path, below, reported)
                while about and isinstance(about[-1], int):
                    about = about[:-1]
                reported.add(about)
                if problem.startswith("Object missing") or not _remove(value, about):
                    return None
            else:
                return made if self._faults.count == before else None
        return None

    def _mended(
        self,
        value: Any,  # noqa: ANN401 - any type
        below: Key,
        problem: str,
        path: Key,
        kind: Any,  # noqa: ANN401 - any type
    ) -> list[Any]:
        """Return ``value`` with the place ``below`` mended, in a list; an empty list if it cannot be."""
        at = value
        try:
            for part in below:
                at = at[part]
        except (KeyError, IndexError, TypeError):
            return []
        where = self._faults.where.get(path + below)
        if problem.startswith("Expected `array`, got `str`"):
            new: Any = [part.strip() for part in at.split(",")]
        elif problem.startswith(("Expected `array`, got `int`", "Expected `array`, got `float`")) and where:
            new = [where.text]
        elif (
            problem.startswith("Expected `str`, got")
            and not file_role(functools.reduce(type_below, below, kind))
            and where
            and where.text is not None
            and not isinstance(at, dict | list)
        ):
            new = where.text
        else:
            return []
        if not below:
            return [new]
        parent = value
        for part in below[:-1]:
            parent = parent[part]
        parent[below[-1]] = new
        return [value]

    def _add(
        self,
        problem: str,
        kind: Any,  # noqa: ANN401 - any type
        path: Key,
        below: Key,
        reported: set[Key],
    ) -> Key:
        """Add a fault, unless it follows from one of ``reported``; return the key, below ``path``, of it."""
        kind = functools.reduce(type_below, below, kind)
        if found := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
            near = self._faults.add_unknown((*path, *below, found[1]), field_names(kind))
            reported |= {(*below, name) for name in near}
            return (*below, found[1])
        if found := re.fullmatch(r"Object missing required field `(.*)`", problem, re.DOTALL):
            if (*below, found[1]) not in reported:
                self._faults.add_at((*path, *below, found[1]), "is needed and not there")
        elif problem.startswith(("Expected", "Invalid", "Unable")):
            self._faults.add_at((*path, *below), expected(problem, kind))
        else:
            about = (*below, *_leading_key(problem, kind))
            if not any(one[: len(about)] == about for one in reported):
                text = problem.partition(": ")[2] if about != below else problem
                self._faults.add_at((*path, *about), text)
            return about
        return below

    def _open_files(self, value: Any, kind: Any, path: Key) -> None:  # noqa: ANN401 - any type
        """Open the files that a value of ``kind`` names, even if the value has another fault."""
        if isinstance(value, list) and getattr(kind, "__origin__", None) is list:
            for index, one in enumerate(value):
                self._open_files(one, kind.__args__[0], (*path, index))
        if not (isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return
        for field in msgspec.structs.fields(kind):
            child, at = value.get(field.encode_name), (*path, field.encode_name)
            self._open_files(child, field.type, at)
            if file_role(field.type) != "read":
                continue
            for index, one in enumerate(child if isinstance(child, list) else [child]):
                try:
                    if isinstance(one, str) and one:
                        open_trusted(one).close()
                except (OSError, ValueError) as error:
                    key = (*at, index) if isinstance(child, list) else at
                    self._faults.add_at(key, f"{one}: {unreadable(error)}")

    def _examine(self, made: Any, path: Key) -> None:  # noqa: ANN401 - any struct
        """Have structs check the files that they name."""
        if isinstance(made, list):
            for index, one in enumerate(made):
                self._examine(one, (*path, index))
        if not isinstance(made, msgspec.Struct):
            return
        for field in msgspec.structs.fields(made):
            self._examine(getattr(made, field.name), (*path, field.encode_name))
        if isinstance(made, Examined) and not self._faults.concern(path):
            try:
                made.examine()
            except ValueError as error:
                text = str(error).removeprefix(f"{path[-1]}.")
                key = _leading_key(text, type(made))
                self._faults.add_at((*path, *key), text.partition(": ")[2] if key else text)


def _remove(value: Any, below: Key) -> bool:  # noqa: ANN401 - any type
    """Remove a key with a known fault, so that the next fault shows; return whether that was possible."""
    if not below:
        return False
    try:
        for part in below[:-1]:
            value = value[part]
        del value[below[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _leading_key(problem: str, kind: Any) -> Key:  # noqa: ANN401 - any type
    """Return the key of ``kind`` that a text begins with, empty if it does not."""
    found = _LEADING_KEY.match(problem)
    parts = _parts(f".{found[1]}") if found else ()
    return parts if parts and parts[0] in field_names(kind) else ()


def _parts(at: str) -> Key:
    """Split msgspec's ``$.ssl.certificate_authorities[0]``."""
    found = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", at)
    return tuple(name or int(index) for name, index in found)
