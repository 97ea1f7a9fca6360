"""The JSON schema of the file."""

from __future__ import annotations

from typing import Any

import msgspec

from kpanic import plugins
from kpanic.shipper.config.sections import INPUTS, OUTPUTS, SECTIONS


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the configuration file, written with nested keys."""
    outputs = {name: plugins.load(OUTPUTS, name).Config for name in plugins.names(OUTPUTS)}
    inputs = {name: plugins.load(INPUTS, name).Config for name in plugins.names(INPUTS)}
    kinds = [*SECTIONS.values(), *outputs.values(), *inputs.values()]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    of = dict(zip([*SECTIONS, *outputs, *(f"inputs {name}" for name in inputs)], schemas, strict=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kpanic",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: of[name] for name in SECTIONS}
        | {
            "inputs": {
                "type": "array",
                "items": {
                    "oneOf": [_input_schema(name, of[f"inputs {name}"], components) for name in inputs]
                },
            },
            "output": {
                "type": "object",
                "additionalProperties": False,
                "properties": {name: of[name] for name in outputs},
            },
        },
        "$defs": components,
    }


def _input_schema(name: str, of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an item of ``inputs``: the input's own keys and its type."""
    own = components.pop(of["$ref"].rpartition("/")[2])
    return {
        **own,
        "properties": {"type": {"const": name}, **own["properties"]},
        "required": ["type", *own["required"]],
    }
