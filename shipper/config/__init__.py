"""Configuration: one YAML file, overrides on the command line and in the environment.

Dotted and nested keys mean the same. ``-E key=value`` overrides ``KPANIC_…`` in the environment (the key in
capitals, ``_`` for ``.``: ``KPANIC_OUTPUT_OPENSEARCH_HOSTS``), which overrides the file. ``${NAME}`` and
``${NAME:default}`` inside a value are replaced by variables of the environment; ``$$`` is a dollar. An empty
variable counts as not set.

Each plugin has a struct of its own keys, ``Config``: an output's are below ``output.<name>``, an input's in
an item of the list ``inputs``. Errors name file, line and key, what was expected and the nearest key that
exists. They never show a value.
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

    :param file: a file that must exist; by default /etc/kpanic/kpanic.yml, which need not.
    :param overrides: ``key=value``, as of ``-E``.
    :param files: sections whose named files are opened too: ``output``, ``setup``.
    :raises ConfigError: the configuration is wrong; the message has a line for each fault.
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
