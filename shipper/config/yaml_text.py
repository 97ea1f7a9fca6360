"""Reads YAML from a file or an override, within limits that are checked before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.shipper.config.faults import ConfigError
from kpanic.shipper.files import NotRegularFile, WritableByAnybody, open_trusted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MISFITS", "MOST_VALUES", "UnreadableError", "compose", "load", "unreadable"]

MOST_BYTES = 1_000_000
"""Bytes of a file."""
MOST_VALUES = 100_000
"""Values of all sources together, aliases followed; 100 characters of text count as one more."""
LONG = 50_000
"""Characters from which on a text is considered machine-made."""

MISFITS = (ValueError, LookupError, AttributeError, OverflowError)
"""Errors other than ``YAMLError`` that YAML's constructors raise for a text that does not fit its tag."""


class UnreadableError(ConfigError):
    """A file cannot be opened."""


def compose(path: Path) -> Any:  # noqa: ANN401 - yaml's types are not exported
    """Return the root node of a YAML file; None if it is empty.

    :raises ConfigError: it cannot be read, is not YAML or too large.
    """
    import yaml  # noqa: PLC0415 - most runs have no file

    try:
        text = _body(path).decode()
        _refuse_many(text, path)
        return yaml.compose(text, Loader=_loader(text))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        if "nesting depth" in (error.problem or ""):
            raise ConfigError(f"{path}{line}: is nested too deeply") from None
        raise ConfigError(f"{path}{line}: is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {getattr(error, 'reason', error)}") from None
    except MISFITS:  # an escape or a version that is no number
        raise ConfigError(f"{path}: is not YAML: contains an invalid number") from None


def load(text: str) -> Any:  # noqa: ANN401 - any value
    """Return the value of a YAML text.

    :raises ValueError: it is not YAML.
    """
    import yaml  # noqa: PLC0415

    try:
        return yaml.load(text, Loader=_loader(text))  # noqa: S506 - both are safe
    except (yaml.YAMLError, *MISFITS, RecursionError) as error:
        raise ValueError("is not YAML") from error


def _body(path: Path) -> bytes:
    """Return the bytes of a file.

    :raises ConfigError: it cannot be read, or is too large.
    """
    try:
        with open_trusted(str(path)) as file:
            body = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {unreadable(error)}") from None
    if len(body) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, which no configuration is")
    return body


def unreadable(error: OSError | ValueError) -> str:
    """Say why a file cannot be opened."""
    if isinstance(error, NotRegularFile | WritableByAnybody):
        return str(error.strerror)
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "cannot be the name of a file"  # half a surrogate pair


def _refuse_many(text: str, path: Path) -> None:
    """Count the values of a text before building any.

    :raises ConfigError: there are too many.
    :raises yaml.YAMLError: it is not YAML.
    """
    import yaml  # noqa: PLC0415

    counted = (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionStartEvent)
    values = 0
    for event in yaml.parse(text, Loader=_loader(text)):
        values += isinstance(event, counted)
        if values > MOST_VALUES:
            raise ConfigError(f"{path}: holds more than {MOST_VALUES:,} values")


def _loader(text: str) -> Any:  # noqa: ANN401 - yaml's types are not exported
    """Return YAML's safe loader; for a long text the C one, which is ten times as fast but reports less."""
    import yaml  # noqa: PLC0415

    return yaml.SafeLoader if len(text) < LONG else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
