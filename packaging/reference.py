"""Writes the reference pages: ``python packaging/reference.py docs``.

``configuration.md`` is generated from the schema and the docstrings of the settings, ``fields.md`` from the
index template and the documents of the tests. A test compares the pages with the committed ones.
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpanic.dashboards.templates import FIELDS
from kpanic.shipper.config import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "shipper" / "golden"
LONGEST = 60
"""Maximum characters of an example."""
CONFIGURATION = """\
`/etc/kpanic/kpanic.yml`, or the file given with `-c`. Dotted and nested keys mean the same: `path.data: /srv`
and `path: {data: /srv}`. `-E KEY=VALUE` overrides a key on the command line, and so does the environment:
`KPANIC_PATH_DATA`. `${NAME}` in a value is the environment's variable. `kpanic test config` checks the file;
`kpanic export schema` prints the JSON schema, from which this page is made."""
DOCUMENT = """\
The fields of a document, with their type in the index template and a value that documents have. Names are
those of the Elastic Common Schema 9.4; fields that it does not have are below `kernel.panic`."""
Json = dict[str, Any]


def docstrings() -> dict[str, dict[str, str]]:
    """Return the docstring of each field of the structs of settings, by the name of the struct."""
    found: dict[str, dict[str, str]] = {}
    bases: dict[str, list[str]] = {}
    for path in sorted((ROOT / "shipper").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            own = found.setdefault(node.name, {})
            bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ):
                    own[field.target.id] = " ".join(str(text.value.value).split())
    return {name: _inherited(name, found, bases) for name in found}


def _inherited(name: str, found: dict[str, dict[str, str]], bases: dict[str, list[str]]) -> dict[str, str]:
    own: dict[str, str] = {}
    for base in bases.get(name, []):
        own |= _inherited(base, found, bases)
    return own | found.get(name, {})


class Configuration:
    """Writes the page about the configuration's keys."""

    def __init__(self) -> None:
        self._schema = schema()
        self._docs = docstrings()

    def page(self) -> str:
        """Return the page."""
        plain = dict(self._schema["properties"])
        inputs = plain.pop("inputs")["items"]["oneOf"]
        outputs = plain.pop("output")["properties"]
        lines = [
            "# Configuration",
            "",
            CONFIGURATION,
            "",
            "## General",
            "",
            *self._struct({"title": "Config"}, plain),
        ]
        for one in inputs:
            keys = {key: value for key, value in one["properties"].items() if key != "type"}
            lines += ["", f"## Input `{one['properties']['type']['const']}`", "", *self._struct(one, keys)]
        for name, value in outputs.items():
            struct = self._resolve(value)
            keys = struct.get("properties", {})
            lines += ["", f"## Output `output.{name}`", "", *self._struct(struct, keys)]
        return "\n".join(lines) + "\n"

    def _struct(self, struct: Json, keys: dict[str, Json]) -> list[str]:
        rows = [row for key, value in keys.items() for row in self._rows(key, value, struct)]
        return _table(rows) if rows else ["No keys."]

    def _resolve(self, value: Json) -> Json:
        while "$ref" in value or "anyOf" in value:
            if "$ref" in value:
                found: Json = self._schema["$defs"][value["$ref"].removeprefix("#/$defs/")]
            else:
                found = next((one for one in value["anyOf"] if one.get("type") != "null"), {})
            value = found
        return value

    def _rows(self, key: str, value: Json, owner: Json) -> Iterator[tuple[str, ...]]:
        """Yield the row of a key, or those of the keys below it.

        :param owner: the struct that has the key.
        """
        struct = self._resolve(value)
        name = key.rpartition(".")[2]
        if struct.get("properties") and struct.get("type") == "object":
            for inner, one in struct["properties"].items():
                yield from self._rows(f"{key}.{inner}", one, struct)
            return
        default = "required" if name in owner.get("required", ()) else _default(value, struct)
        text = self._docs.get(owner["title"], {}).get(name) or str(struct.get("description", ""))
        yield f"`{key}`", _type(struct), default, text.replace("``", "`")


def _type(value: Json) -> str:
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}"
    bounds = [
        f"{sign} {value[key]:g}"
        for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
        if key in value
    ]
    return " ".join([str(value.get("type", "any")), *bounds])


def _default(value: Json, struct: Json) -> str:
    found = value.get("default", struct.get("default"))
    return "" if found in (None, "", [], {}) else f"`{json.dumps(found)}`"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    return [
        "| key | type | default | |",
        "|---|---|---|---|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


def fields() -> str:
    """Return the page about the fields, with an example of each from a document."""
    examples: dict[str, str] = {}
    for path in sorted(GOLDEN.rglob("*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))
        for document in made if isinstance(made, list) else [made]:
            for name, value in _flat(document):
                examples.setdefault(name, value)
    lines = [
        "# Fields",
        "",
        DOCUMENT,
        "",
        "| field | type | for example |",
        "|---|---|---|",
    ]
    for name, mapping in FIELDS.items():
        example = examples.get(name, "")
        shown = f"`` {example} ``" if "`" in example else f"`{example}`" if example else ""
        lines.append(f"| `{name}` | {mapping['type']} | {shown.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict) and FIELDS.get(name, {}).get("enabled", True):
        for key, one in value.items():
            yield from _flat(one, f"{name}.{key}" if name else key)
        return
    if isinstance(value, list):
        value = value[0] if value else ""
    text = value if isinstance(value, str) else json.dumps(value)
    line = " ".join(text.split())
    if line:
        yield name, line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {"configuration.md": Configuration().page(), "fields.md": fields()}


if __name__ == "__main__":
    for page, text in pages().items():
        (Path(sys.argv[1]) / page).write_text(text, encoding="utf-8")
