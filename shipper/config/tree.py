"""What files, the environment and the command line say: one tree of values, and where each stood."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kpanic.shipper.config.sections import keys
from kpanic.shipper.files import NotRegularFile, open_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "KPANIC_"
MOST_BYTES = 1_000_000
"""Of a file."""
MUCH = 50_000
"""Characters of a file that is no longer one of a person's."""
MOST_VALUES = 100_000
"""Of all sources together, aliases followed; a hundred characters of text count as one more."""
MOST_KEYS = 64
"""One below the other, in a dotted key."""
MOST_DIGITS = 1000
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}")

Key = tuple[str | int, ...]


class ConfigError(Exception):
    """The configuration is wrong: a line for each fault, every one found."""


class UnreadableError(ConfigError):
    """A file cannot be opened."""


# what the constructors of YAML's scalars raise, beside YAMLError, at a text that is none of theirs
_MISFITS = (ValueError, LookupError, AttributeError, OverflowError)


class Where(NamedTuple):
    """Where a value was written, and how."""

    source: str
    """``/etc/kpanic/kpanic.yml:12``, ``-E`` or ``$KPANIC_…``."""
    text: str | None
    """A scalar as it stands there."""


class Tree:
    """A tree of values, where each was written, and what is wrong with how it was."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._tree: dict[str, Any] = {}
        self._where: dict[Key, Where] = {}
        self._faults: list[str] = []
        self._warnings: list[str] = []
        self._used: set[str] = set()
        self._source = ""
        self._values = 0
        self._misfits: set[Key] = set()  # what was told already, and has no value
        self._open: set[int] = set()  # ids of the nodes that the one at hand is in

    def file(self, path: Path) -> None:
        """Take a YAML file.

        :raises ConfigError: it cannot be read, is not YAML or too much.
        """
        value, where = self.read(path)
        if value is not None:
            self._place((), value, where)

    def read(self, path: Path) -> tuple[Any, Where]:
        """Return the plain value of a YAML file, None of an empty one; note where each part stands.

        :raises ConfigError: it cannot be read, is not YAML or too much.
        """
        import yaml  # noqa: PLC0415 - most runs have no file

        self._source = str(path)
        try:
            body = _body(path).decode()
            self._bound(body)
            root = yaml.compose(body, Loader=_loader(body))
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
        except _MISFITS:  # an escape or a version that is no number
            raise ConfigError(f"{path}: is not YAML: holds a number that is none") from None
        if root is None:
            return None, Where(self._source, None)
        loader = yaml.SafeLoader("")
        try:
            return self._plain(root, (), loader), self._at(root)
        except RecursionError:
            raise ConfigError(f"{path}: is nested too deeply") from None
        finally:
            loader.dispose()

    def _bound(self, body: str) -> None:
        """Look how much a text holds before any of it is built.

        :raises ConfigError: it is too much.
        :raises yaml.YAMLError: it is not YAML.
        """
        import yaml  # noqa: PLC0415

        counted = (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionStartEvent)
        values = 0
        for event in yaml.parse(body, Loader=_loader(body)):
            values += isinstance(event, counted)
            if values > MOST_VALUES:
                raise ConfigError(f"{self._source}: holds more than {MOST_VALUES:,} values")

    def environ(self) -> None:
        """Take ``KPANIC_…`` variables that name a key; an empty one counts as none."""
        known = {}
        for key in keys():
            known[PREFIX + key.upper().replace(".", "_")] = key
        for name in sorted(self._environment):
            if not name.startswith(PREFIX):
                continue
            if name in known:
                self._used.add(name)
                if not self._environment[name]:
                    continue
                path = tuple(known[name].split("."))
                self._put(path, self._environment[name], Where(f"${name}", self._environment[name]))

    def override(self, text: str) -> None:
        """Take a ``key=value``."""
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            self._faults.append(
                "-E: expected key=value, such as -E output.opensearch.hosts=http://127.0.0.1:9200"
            )
            return
        path = tuple(key.strip().split("."))
        self._put(path, value, Where(f"-E {key.strip()}", value))

    def _put(self, path: Key, text: str, where: Where) -> None:
        """Take a value that is text; ``[a, b]`` and ``{a: b}`` are YAML."""
        value: Any = text
        if text.lstrip().startswith(("[", "{")):
            import yaml  # noqa: PLC0415

            try:
                value = yaml.load(text, Loader=_loader(text))  # noqa: S506 - both are safe
            except (yaml.YAMLError, *_MISFITS, RecursionError):
                self._faults.append(f"{where.source}: is not YAML")
                return
        try:
            value = self._filled(value, where, path)
        except RecursionError:
            self._faults.append(f"{where.source}: is nested too deeply")
            return
        for known in [known for known in self._where if known[: len(path)] == path]:
            del self._where[known]
        self._place(path, value, where)

    def _at(self, node: Any) -> Where:  # noqa: ANN401 - yaml.Node
        return Where(f"{self._source}:{node.start_mark.line + 1}", getattr(node, "value", None))

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
        """Return the value of a node; note where each part stands. Dotted keys are opened up."""
        import yaml  # noqa: PLC0415

        where = self._at(node)
        self._count(1, where)
        if id(node) in self._open:
            raise ConfigError(f"{where.source}: {dotted(path)}: an alias (*name) repeats what it is part of")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, loader)
        self._open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path, loader)
        else:
            value = []
            for index, child in enumerate(node.value):
                self._where[(*path, index)] = self._at(child)
                value.append(self._plain(child, (*path, index), loader))
        self._open.remove(id(node))
        return value

    def _mapping(self, node: Any, path: Key, loader: Any) -> dict[str, Any]:  # noqa: ANN401 - likewise
        import yaml  # noqa: PLC0415

        tree: dict[str, Any] = {}
        for key_node, child in node.value:
            where = self._at(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._faults.append(f"{where.source}: a key must be plain text")
                continue
            keys = tuple(key_node.value.split("."))
            if len(keys) > MOST_KEYS:
                self._faults.append(f"{where.source}: a key has more than {MOST_KEYS} parts")
                continue
            value = self._plain(child, path + keys, loader)
            for depth in range(1, len(keys) + 1):
                self._where.setdefault(path + keys[:depth], where)
            self._join(tree, keys, value, where, path)
        return tree

    def _scalar(self, node: Any, path: Key, loader: Any) -> Any:  # noqa: ANN401 - likewise
        import yaml  # noqa: PLC0415

        where = self._where[path] = self._at(node)
        kind = node.tag.rpartition(":")[2]
        if kind in {"int", "float"} and len(node.value) > MOST_DIGITS:
            self._faults.append(f"{where.source}: {dotted(path)}: a number has at most {MOST_DIGITS} digits")
            self._misfits.add(path)
            return None
        try:
            value = loader.construct_object(node)
        except yaml.YAMLError as error:
            self._faults.append(f"{where.source}: {dotted(path)}: {getattr(error, 'problem', error)}")
            self._misfits.add(path)
            return None
        except _MISFITS:
            self._faults.append(f"{where.source}: {dotted(path)}: is no {kind}; quote it if text is meant")
            self._misfits.add(path)
            return None
        if not isinstance(value, str | int | float | bool | None):  # a date, a set: meant as text
            value = node.value
        return self._filled(value, where, path)

    def _place(self, path: Key, value: Any, where: Where) -> None:  # noqa: ANN401
        """Put a value into the tree, over what is there."""
        if not path:
            if isinstance(value, dict):
                for key, child in value.items():
                    self._join(self._tree, (key,), child, where)
            else:
                self._faults.append(f"{where.source}: expected keys and values")
            return
        for depth in range(1, len(path) + 1):
            self._where.setdefault(path[:depth], where)
        self._where[path] = where
        node = self._tree
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
        """Put a value into ``tree``, which is at ``above``; two mappings become one, all else is a fault."""
        name = dotted(above + keys)
        for key in keys[:-1]:
            child = tree.setdefault(str(key), {})
            if not isinstance(child, dict):
                self._faults.append(f"{where.source}: {name}: {key} has a value already")
                return
            tree = child
        last = str(keys[-1])
        if last not in tree:
            tree[last] = value
        elif isinstance(tree[last], dict) and isinstance(value, dict):
            for key, child in value.items():
                self._join(tree[last], (key,), child, where, above + keys)
        else:
            self._faults.append(f"{where.source}: {name}: is there twice")

    def _filled(self, value: Any, where: Where, path: Key) -> Any:  # noqa: ANN401 - any YAML
        """Return the value of a key with its variables filled in; of one that cannot be no more is told."""
        faults = len(self._faults)
        value = self._expanded(value, where)
        if len(self._faults) > faults:
            self._misfits.add(path)
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
            self._faults.append(f"{where.source}: holds a NUL character, which nothing here may")
            return ""
        if "$" not in value:
            return value

        def variable(found: re.Match[str]) -> str:
            if found[0] == "$$":
                return "$"
            name, default = found["name"], found["default"]
            self._used.add(name)
            got = self._environment.get(name, default)
            if got is None:
                self._faults.append(
                    f"{where.source}: the environment has no {name}; set it, or write ${{{name}:default}}"
                )
                return ""
            return got

        return _VARIABLE.sub(variable, value)


def _body(path: Path) -> bytes:
    """Return what a file holds.

    :raises ConfigError: it cannot be read, or is too large.
    """
    try:
        with open_named(str(path)) as file:
            body = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {unreadable(error)}") from None
    if len(body) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, which no configuration is")
    return body


def unreadable(error: OSError | ValueError) -> str:
    """Say why a file cannot be opened."""
    if isinstance(error, NotRegularFile):
        return str(error.strerror)
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "is no name of a file"  # half a surrogate pair


def _loader(text: str) -> Any:  # noqa: ANN401 - yaml's types are not exported
    """Return YAML's safe loader; for much text the one in C, ten times as fast, of fewer words."""
    import yaml  # noqa: PLC0415

    return yaml.SafeLoader if len(text) < MUCH else getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def dotted(path: Key) -> str:
    """Return a key as people write it: ``inputs[0].paths``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
