"""Configuration: one YAML file, overrides on the command line and in the environment.

Dotted and nested keys mean the same. What counts, strongest first: ``-E key=value``; ``KPANIC_…`` in the
environment (the key in capitals, ``_`` for ``.``: ``KPANIC_OUTPUT_OPENSEARCH_HOSTS``); the file. ``${NAME}``
and ``${NAME:default}`` inside a value are taken from the environment; ``$$`` is a dollar. An empty variable
counts as one that is not set.

Each plugin brings the struct of its own keys: an output as ``Config`` below ``output.<name>``, an input below
the list ``inputs``. Errors name file, line and key, what was expected and the nearest key that exists; they
never show a value.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kpanic.shipper.config.faults import ConfigError
from kpanic.shipper.config.reading import Reading
from kpanic.shipper.config.schema import schema
from kpanic.shipper.config.sections import INPUTS, OUTPUTS, Config, Plugin

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

__all__ = ["DEFAULT_FILE", "INPUTS", "OUTPUTS", "Config", "ConfigError", "Plugin", "load", "schema"]

DEFAULT_FILE = Path("/etc/kpanic/kpanic.yml")


def load(
    file: str | None = None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    files: Container[str] = (),
) -> Config:
    """Read and check the configuration.

    :param file: must exist; without one, /etc/kpanic/kpanic.yml is read if it is there.
    :param overrides: ``key=value``, as of ``-E``.
    :param files: sections of which the secrets and certificates are looked at, too: ``output``, ``setup``.
    :raises ConfigError: with every fault that was found.
    """
    environment = os.environ if environment is None else environment
    reading = Reading(environment, files)
    if file is not None:
        reading.take_file(Path(file))
    elif os.path.lexists(DEFAULT_FILE):
        reading.take_file(DEFAULT_FILE)
    reading.take_environment()
    for override in overrides:
        reading.take_override(override)
    return reading.config()
