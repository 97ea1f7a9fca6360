"""The values that the file, the environment and the command line give, as one tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kpanic.shipper.config.faults import ConfigError, Faults, Where
from kpanic.shipper.config.keys import Key, dotted, settable_keys
from kpanic.shipper.config.yaml_text import MISFITS, MOST_VALUES, compose, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Tree"]

PREFIX = "KPANIC_"
MOST_PARTS = 64
"""Parts of a dotted key."""
MOST_DIGITS = 1000
"""Digits of a number."""

_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?(?P<end>\})?")


class Tree:
    """A tree of values.

    :param environment: variables, for ``KPANIC_…`` and ``${…}``.
    :ivar root: the values, by section.
    :ivar faults: faults in the spelling of values, and the place of each value.
    :ivar source: the file that was read; empty without one.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.root: dict[str, Any] = {}
        self.faults = Faults()
        self.source = ""
        self._environment = environment
        self._used_variables: set[str] = set()
        self._values = 0
        self._open: set[int] = set()  # ids of the nodes around the current one

    def take_file(self, path: Path) -> None:
        """Take the values of a YAML file.

        :raises ConfigError: it cannot be read, is not YAML or too large.
        """
        value, where = self.read(path)
        if value is not None:
            self._place((), value, where)

    def read(self, path: Path) -> tuple[Any, Where]:
        """Return the plain value of a YAML file, None if it is empty, and where it begins.

        :raises ConfigError: it cannot be read, is not YAML or too large.
        """
        import yaml  # noqa: PLC0415 - most runs have no file

        self.source = str(path)
        root = compose(path)
        if root is None:
            return None, Where(self.source, None)
        loader = yaml.SafeLoader("")
        try:
            return self._plain(root, (), loader), self._at(root)
        except RecursionError:
            raise ConfigError(f"{path}: is nested too deeply") from None
        finally:
            loader.dispose()

    def take_environment(self) -> None:
        """Take the ``KPANIC_…`` variables that name a key; an empty one counts as not set."""
        names = sorted(name for name in self._environment if name.startswith(PREFIX))
        if not names:  # this avoids loading the keys of all outputs
            return
        known = {PREFIX + key.upper().replace(".", "_"): key for key in settable_keys()}
        for name in names:
            if name in known:
                self._used_variables.add(name)
                if not self._environment[name]:
                    continue
                path = tuple(known[name].split("."))
                self._put(path, self._environment[name], Where(f"${name}", self._environment[name]))

    def take_override(self, text: str) -> None:
        """Take a ``key=value``."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            self.faults.add(
                "-E: expected key=value, such as -E output.opensearch.hosts=http://127.0.0.1:9200"
            )
            return
        path = tuple(key.strip().split("."))
        self._put(path, value, Where(f"-E {key.strip()}", value))

    def _put(self, path: Key, text: str, where: Where) -> None:
        """Take a value of an override or a variable; one that begins with ``[`` or ``{`` is YAML."""
        value: Any = text
        if text.lstrip().startswith(("[", "{")):
            try:
                value = load(text)
            except ValueError as error:
                self.faults.add(f"{where.source}: {error}")
                return
        try:
            value = self._filled(value, where, path)
        except RecursionError:
            self.faults.add(f"{where.source}: is nested too deeply")
            return
        for known in [known for known in self.faults.where if known[: len(path)] == path]:
            del self.faults.where[known]
        self._place(path, value, where)

    def _at(self, node: Any) -> Where:  # noqa: ANN401 - yaml.Node
        return Where(f"{self.source}:{node.start_mark.line + 1}", getattr(node, "value", None))

    def _count(self, values: int, where: Where) -> None:
        """Count values.

        :raises ConfigError: there are too many.
        """
        self._values += values
        if self._values > MOST_VALUES:
            raise ConfigError(
                f"{where.source}: holds more than {MOST_VALUES:,} values;"
                " aliases (*name) count as what they repeat"
            )

    def _plain(self, node: Any, path: Key, loader: Any) -> Any:  # noqa: ANN401 - yaml's types are not exported
        """Return the value of a node with dotted keys nested, and record where each part is written."""
        import yaml  # noqa: PLC0415

        where = self._at(node)
        self._count(1, where)
        if id(node) in self._open:
            raise ConfigError(
                f"{where.source}: {dotted(path)}: an alias (*name) repeats a part that contains it"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, loader)
        self._open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path, loader)
        else:
            value = []
            for index, child in enumerate(node.value):
                self.faults.where[(*path, index)] = self._at(child)
                value.append(self._plain(child, (*path, index), loader))
        self._open.remove(id(node))
        return value

    def _mapping(self, node: Any, path: Key, loader: Any) -> dict[str, Any]:  # noqa: ANN401 - of yaml
        import yaml  # noqa: PLC0415

        tree: dict[str, Any] = {}
        for key_node, child in node.value:
            where = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.add(f"{where.source}: a key must be plain text")
                continue
            keys = tuple(key_node.value.split("."))
            if len(keys) > MOST_PARTS:
                self.faults.add(f"{where.source}: a key has more than {MOST_PARTS} parts")
                continue
            value = self._plain(child, path + keys, loader)
            for depth in range(1, len(keys) + 1):
                self.faults.where.setdefault(path + keys[:depth], where)
            self._join(tree, keys, value, where, path)
        return tree

    def _scalar(self, node: Any, path: Key, loader: Any) -> Any:  # noqa: ANN401 - of yaml
        import yaml  # noqa: PLC0415

        where = self.faults.where[path] = self._at(node)
        kind = node.tag.rpartition(":")[2]
        if kind in {"int", "float"} and len(node.value) > MOST_DIGITS:
            self.faults.add(f"{where.source}: {dotted(path)}: a number has at most {MOST_DIGITS} digits")
            self.faults.without_value(path)
            return None
        try:
            value = loader.construct_object(node)
        except yaml.YAMLError as error:
            self.faults.add(f"{where.source}: {dotted(path)}: {getattr(error, 'problem', error)}")
            self.faults.without_value(path)
            return None
        except MISFITS:
            self.faults.add(f"{where.source}: {dotted(path)}: is no {kind}; quote it if text is meant")
            self.faults.without_value(path)
            return None
        if not isinstance(value, str | int | float | bool | None):  # a date, a set: meant as text
            value = node.value
        return self._filled(value, where, path)

    def _place(self, path: Key, value: Any, where: Where) -> None:  # noqa: ANN401
        """Put a value into the tree, replacing an existing one."""
        if not path:
            if isinstance(value, dict):
                for key, child in value.items():
                    self._join(self.root, (key,), child, where)
            else:
                self.faults.add(f"{where.source}: expected keys and values")
            return
        for depth in range(1, len(path) + 1):
            self.faults.where.setdefault(path[:depth], where)
        self.faults.where[path] = where
        node = self.root
        for key in path[:-1]:
            child = node.get(str(key))
            if not isinstance(child, dict):
                child = node[str(key)] = {}
            node = child
        node[str(path[-1])] = value

    def _join(
        self,
        tree: dict[str, Any],
        keys: Key,
        value: Any,  # noqa: ANN401 - any YAML
        where: Where,
        above: Key = (),
    ) -> None:
        """Put a value into ``tree``, whose key is ``above``; two mappings are merged."""
        name = dotted(above + keys)
        for key in keys[:-1]:
            child = tree.setdefault(str(key), {})
            if not isinstance(child, dict):
                self.faults.add(f"{where.source}: {name}: {key} has a value already")
                return
            tree = child
        last = str(keys[-1])
        if last not in tree:
            tree[last] = value
        elif isinstance(tree[last], dict) and isinstance(value, dict):
            for key, child in value.items():
                self._join(tree[last], (key,), child, where, above + keys)
        else:
            self.faults.add(f"{where.source}: {name}: appears twice")

    def _filled(self, value: Any, where: Where, path: Key) -> Any:  # noqa: ANN401 - any YAML
        """Return the value of a key with its variables filled in."""
        faults = self.faults.count
        value = self._expanded(value, where)
        if self.faults.count > faults:
            self.faults.without_value(path)
        return value

    def _expanded(self, value: Any, where: Where) -> Any:  # noqa: ANN401 - any YAML
        """Return a value with its variables filled in.

        :raises ConfigError: there are too many values.
        """
        if isinstance(value, list):
            self._count(len(value), where)
            return [self._expanded(child, where) for child in value]
        if isinstance(value, dict):
            self._count(len(value), where)
            return {key: self._expanded(child, where) for key, child in value.items()}
        if not isinstance(value, str):
            return value
        self._count(len(value) // 100, where)
        if "\0" in value:
            self.faults.add(f"{where.source}: holds a NUL character, which nothing here may")
            return ""
        if "$" not in value:
            return value

        def variable(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            if not found["end"]:
                return found[0].replace("$$", "$")
            name, default = found["name"], found["default"]
            self._used_variables.add(name)
            got = self._environment.get(name, default)
            if got is None:
                self.faults.add(
                    f"{where.source}: the environment has no {name}; set it, or write ${{{name}:default}}"
                )
                return ""
            return got

        return _VARIABLE.sub(variable, value)

    def unused_variables(self) -> list[str]:
        """Return the ``KPANIC_…`` variables that name no key and that no value uses."""
        names = (name for name in sorted(self._environment) if name.startswith(PREFIX))
        return [name for name in names if name not in self._used_variables]
