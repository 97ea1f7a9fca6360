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

import difflib
import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from shipper import plugins
from shipper.files import FilePath, Odd, named, opened
from shipper.frontend import SetupConfig
from shipper.triage import Entry

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

__all__ = ["DEFAULT_FILE", "Config", "ConfigError", "Plugin", "load", "schema"]

DEFAULT_FILE = Path("/etc/kpanic/kpanic.yml")
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
CLOSE = 0.7
"""How much alike two names are (difflib's ratio) if the one may have been meant by the other."""
INPUTS, OUTPUTS = "kpanic.inputs", "kpanic.outputs"

Path_ = tuple[str | int, ...]


class ConfigError(Exception):
    """The configuration is wrong: a line for each fault, every one found."""


class _UnreadableError(ConfigError):
    """A file cannot be opened."""


@runtime_checkable
class Examined(Protocol):
    """A struct of keys that can look at what it names."""

    def examine(self) -> None:
        """Look at it.

        :raises ValueError: it cannot be used; the text begins with the key.
        """


# what the constructors of YAML's scalars raise, beside YAMLError, at a text that is none of theirs
_MISFITS = (ValueError, LookupError, AttributeError, OverflowError)


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the structs of configuration."""


class PathConfig(_Strict, frozen=True, kw_only=True):
    """``path``."""

    data: FilePath = ""
    """Folder of the store; /var/lib/kpanic for root, else below $XDG_STATE_HOME."""


class DataStreamConfig(_Strict, frozen=True, kw_only=True):
    """``data_stream``."""

    namespace: Annotated[
        str,
        msgspec.Meta(
            pattern=r'^[^\\/*?"<>| ,#:A-Z-]{1,100}$',
            description="a name in lower case without '-', such as default",
        ),
    ] = "default"
    """Last part of the data stream's name: lower case, without ``-``."""


class RetentionConfig(_Strict, frozen=True, kw_only=True):
    """``retention``: how long the store keeps the text of documents."""

    age: Annotated[
        str, msgspec.Meta(pattern=r"^\d{1,6}[hdwy]$", description="a time such as 36h, 90d, 8w or 2y")
    ] = "2y"
    """After which what every output has may go: ``36h``, ``90d``, ``8w``, ``2y``."""
    size: Annotated[
        str, msgspec.Meta(pattern=r"^\d{1,6}(kb|mb|gb)$", description="a size such as 500mb or 4gb")
    ] = "4gb"
    """Of the store's file; above it the oldest go, those that no output lacks first."""

    def seconds(self) -> float:
        """Return ``age`` in seconds."""
        return (
            int(self.age[:-1]) * {"h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}[self.age[-1]]
        )

    def bytes(self) -> int:
        """Return ``size`` in bytes."""
        return int(self.size[:-2]) * {"kb": 1000, "mb": 1000**2, "gb": 1000**3}[self.size[-2:]]


class FleetConfig(_Strict, frozen=True, kw_only=True):
    """``fleet``."""

    size: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Hosts there are in all, those that never crashed included: gives panics per 1,000 hosts a day."""


class HttpConfig(_Strict, frozen=True, kw_only=True):
    """``http``: metrics for Prometheus, while ``kpanic run`` runs."""

    enabled: bool = False
    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5066


class RedactConfig(_Strict, frozen=True, kw_only=True):
    """``redact``."""

    command_line: list[str] = []
    """Names of kernel parameters whose values are secret, with ``*`` and ``?``; beyond the usual ones."""


class TriageConfig(_Strict, frozen=True, kw_only=True):
    """``triage``."""

    path: FilePath = ""
    """YAML file of what is known of faults, see the README; below the configuration's folder if relative."""


_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Plugin(NamedTuple):
    """One input or output as configured."""

    name: str
    settings: Any
    """The plugin's own struct."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it."""

    path: PathConfig = PathConfig()
    data_stream: DataStreamConfig = DataStreamConfig()
    fleet: FleetConfig = FleetConfig()
    redact: RedactConfig = RedactConfig()
    retention: RetentionConfig = RetentionConfig()
    setup: SetupConfig = SetupConfig()
    triage: TriageConfig = TriageConfig()
    entries: list[Entry] = []
    """Of the triage file."""
    http: HttpConfig = HttpConfig()
    shutdown_timeout: _Seconds = 20.0
    """Seconds that what is in flight has when the service is to end; systemd's own patience is 90."""
    tags: list[str] = []
    """Put on every document."""
    labels: dict[str, str] = {}
    """Put on every document."""
    inputs: list[Plugin] = []
    outputs: list[Plugin] = []
    source: str = ""
    """The file that was read; empty without one."""
    warnings: list[str] = []
    """What is odd but can be."""

    def store_path(self) -> Path:
        """Return the path of the store's file."""
        if self.path.data:
            return Path(self.path.data).expanduser() / "kpanic.db"
        if os.geteuid() == 0:
            return Path("/var/lib/kpanic/kpanic.db")
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "kpanic" / "kpanic.db"


_SECTIONS: dict[str, Any] = {
    "path": PathConfig,
    "data_stream": DataStreamConfig,
    "fleet": FleetConfig,
    "redact": RedactConfig,
    "retention": RetentionConfig,
    "triage": TriageConfig,
    "setup": SetupConfig,
    "http": HttpConfig,
    "shutdown_timeout": _Seconds,
    "tags": list[str],
    "labels": dict[str, str],
}


class _Where(NamedTuple):
    """Where a value was written, and how."""

    source: str
    """``/etc/kpanic/kpanic.yml:12``, ``-E`` or ``$KPANIC_…``."""
    text: str | None
    """A scalar as it stands there."""


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
    reading = _Reading(environment, files)
    if file is not None:
        reading.file(Path(file))
    elif os.path.lexists(DEFAULT_FILE):
        reading.file(DEFAULT_FILE)
    reading.environ()
    for override in overrides:
        reading.override(override)
    return reading.finish()


class _Reading:
    """A tree of values, where each was written, and what is wrong with it."""

    def __init__(self, environment: Mapping[str, str], files: Container[str] = ()) -> None:
        self._environment = environment
        self._files = files
        self._tree: dict[str, Any] = {}
        self._where: dict[Path_, _Where] = {}
        self._faults: list[str] = []
        self._warnings: list[str] = []
        self._used: set[str] = set()
        self._source = ""
        self._values = 0
        self._faulty: set[Path_] = set()
        self._misfits: set[Path_] = set()  # what was told already, and has no value
        self._open: set[int] = set()  # ids of the nodes that the one at hand is in

    # --- sources -----------------------------------------------------------------------------------

    def file(self, path: Path) -> None:
        value, where = self._read(path)
        if value is not None:
            self._place((), value, where)

    def _read(self, path: Path) -> tuple[Any, _Where]:
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
            return None, _Where(self._source, None)
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
        for key in _keys():
            known[PREFIX + key.upper().replace(".", "_")] = key
        for name in sorted(self._environment):
            if not name.startswith(PREFIX):
                continue
            if name in known:
                self._used.add(name)
                if not self._environment[name]:
                    continue
                path = tuple(known[name].split("."))
                self._put(path, self._environment[name], _Where(f"${name}", self._environment[name]))

    def override(self, text: str) -> None:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            self._faults.append(
                "-E: expected key=value, such as -E output.opensearch.hosts=http://127.0.0.1:9200"
            )
            return
        path = tuple(key.strip().split("."))
        self._put(path, value, _Where(f"-E {key.strip()}", value))

    def _put(self, path: Path_, text: str, where: _Where) -> None:
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

    # --- the tree ----------------------------------------------------------------------------------

    def _at(self, node: Any) -> _Where:  # noqa: ANN401 - yaml.Node
        return _Where(f"{self._source}:{node.start_mark.line + 1}", getattr(node, "value", None))

    def _count(self, values: int, where: _Where) -> None:
        """Count values.

        :raises ConfigError: there are too many.
        """
        self._values += values
        if self._values > MOST_VALUES:
            raise ConfigError(
                f"{where.source}: holds more than {MOST_VALUES:,} values;"
                " aliases (*name) count as what they repeat"
            )

    def _plain(self, node: Any, path: Path_, loader: Any) -> Any:  # noqa: ANN401 - yaml's types are not exported
        """Return the value of a node; note where each part stands. Dotted keys are opened up."""
        import yaml  # noqa: PLC0415

        where = self._at(node)
        self._count(1, where)
        if id(node) in self._open:
            raise ConfigError(f"{where.source}: {_dotted(path)}: an alias (*name) repeats what it is part of")
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

    def _mapping(self, node: Any, path: Path_, loader: Any) -> dict[str, Any]:  # noqa: ANN401 - likewise
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

    def _scalar(self, node: Any, path: Path_, loader: Any) -> Any:  # noqa: ANN401 - likewise
        import yaml  # noqa: PLC0415

        where = self._where[path] = self._at(node)
        kind = node.tag.rpartition(":")[2]
        if kind in {"int", "float"} and len(node.value) > MOST_DIGITS:
            self._faults.append(f"{where.source}: {_dotted(path)}: a number has at most {MOST_DIGITS} digits")
            self._misfits.add(path)
            return None
        try:
            value = loader.construct_object(node)
        except yaml.YAMLError as error:
            self._faults.append(f"{where.source}: {_dotted(path)}: {getattr(error, 'problem', error)}")
            self._misfits.add(path)
            return None
        except _MISFITS:
            self._faults.append(f"{where.source}: {_dotted(path)}: is no {kind}; quote it if text is meant")
            self._misfits.add(path)
            return None
        if not isinstance(value, str | int | float | bool | None):  # a date, a set: meant as text
            value = node.value
        return self._filled(value, where, path)

    def _place(self, path: Path_, value: Any, where: _Where) -> None:  # noqa: ANN401
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
        keys: Path_,
        value: Any,  # noqa: ANN401 - any YAML
        where: _Where,
        above: Path_ = (),
    ) -> None:
        """Put a value into ``tree``, which is at ``above``; two mappings become one, all else is a fault."""
        name = _dotted(above + keys)
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

    def _filled(self, value: Any, where: _Where, path: Path_) -> Any:  # noqa: ANN401 - any YAML
        """Return the value of a key with its variables filled in; of one that cannot be no more is told."""
        faults = len(self._faults)
        value = self._expanded(value, where)
        if len(self._faults) > faults:
            self._misfits.add(path)
        return value

    def _expanded(self, value: Any, where: _Where) -> Any:  # noqa: ANN401 - any YAML
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

    # --- the structs -------------------------------------------------------------------------------

    def finish(self) -> Config:
        """Turn the tree into structs.

        :raises ConfigError: with every fault that was found.
        """
        sections: dict[str, Any] = {}
        inputs: list[Plugin] = []
        outputs: list[Plugin] = []
        for key, value in self._tree.items():
            if value is None and key in (*_SECTIONS, "inputs", "output"):
                continue  # a key with everything below it commented out
            if key in _SECTIONS:
                sections[key] = self._convert(value, _SECTIONS[key], (key,))
            elif key == "inputs":
                inputs = list(self._inputs(value))
            elif key == "output":
                outputs = list(self._outputs(value))
            else:
                self._unknown((key,), [*_SECTIONS, "inputs", "output"])
        for name in sorted(self._environment):
            if name.startswith(PREFIX) and name not in self._used:
                self._warnings.append(f"${name}: names no key and is not used")
        entries = self._triage(sections.get("triage") or TriageConfig())
        config = Config(
            **{key: made for key, made in sections.items() if made is not None},
            entries=entries,
            inputs=inputs,
            outputs=outputs,
            source=self._source,
            warnings=self._warnings,
        )
        try:
            config.store_path()
        except RuntimeError:
            known = "there is no such user" if config.path.data else "there is no home folder to put it below"
            self._fault(("path", "data"), f"{known}; expected a folder, such as /var/lib/kpanic")
        if self._faults:
            raise ConfigError("\n".join(self._faults))
        return config

    def _triage(self, config: TriageConfig) -> list[Entry]:
        """Read the triage file."""
        if not config.path:
            return []
        reading = _Reading(self._environment)
        try:
            path = Path(self._source).parent / Path(config.path).expanduser()
            value, where = reading._read(path)
        except RuntimeError:
            self._fault(("triage", "path"), "there is no such user; expected a file")
        except _UnreadableError as error:
            self._fault(("triage", "path"), str(error))
        except ConfigError as error:
            self._faults.append(str(error))
        else:
            entries = reading.entries([] if value is None else value, where)
            self._faults += reading._faults
            return entries
        return []

    def entries(self, value: Any, where: _Where) -> list[Entry]:  # noqa: ANN401
        if not isinstance(value, list):
            self._faults.append(f"{where.source}: expected a list, each with a signature or a title")
            return []
        made = [self._convert(one, Entry, (index,)) for index, one in enumerate(value)]
        return [entry for entry in made if entry is not None]

    def _outputs(self, value: Any) -> Iterator[Plugin]:  # noqa: ANN401
        if not isinstance(value, dict):
            self._fault(("output",), "expected the name of an output below it, such as output.opensearch")
            return
        for name, settings in value.items():
            path: Path_ = ("output", name)
            if name not in plugins.names(OUTPUTS):
                self._unknown(path, plugins.names(OUTPUTS))
                continue
            kind = plugins.load(OUTPUTS, name).Config
            if isinstance(settings, dict) and settings.get("enabled") in (False, "false"):
                continue
            if isinstance(settings, dict):
                settings.pop("enabled", None)
            made = self._convert({} if settings is None else settings, kind, path)
            if made is not None:
                yield Plugin(name, made)

    def _inputs(self, value: Any) -> Iterator[Plugin]:  # noqa: ANN401
        if not isinstance(value, list):
            self._fault(("inputs",), "expected a list, each with a type")
            return
        for index, settings in enumerate(value):
            path: Path_ = ("inputs", index)
            name = settings.pop("type", None) if isinstance(settings, dict) else None
            if not isinstance(name, str):
                self._fault(path, f"expected a type: {', '.join(plugins.names(INPUTS))}")
            elif name not in plugins.names(INPUTS):
                self._fault((*path, "type"), f"there is no such input{_near(name, plugins.names(INPUTS))}")
            elif (made := self._convert(settings, plugins.load(INPUTS, name).Config, path)) is not None:
                yield Plugin(name, made)

    def _convert(self, value: Any, kind: Any, path: Path_) -> Any:  # noqa: ANN401
        """Return ``value`` as ``kind``, None if it is wrong; look at its files where that is wanted."""
        made = self._made(value, kind, path)
        if path[0] in self._files:
            self._look(value, kind, path)
            self._examine(made, path)
        return made

    def _made(self, value: Any, kind: Any, path: Path_) -> Any:  # noqa: ANN401
        """Return ``value`` as ``kind``, a single text as a list of one, a number as text where need be."""
        faults = len(self._faults)
        told: set[Path_] = set()  # keys of which a fault is known, the ones that were meant among them
        for _ in range(256):  # each round mends or removes one place, or ends
            try:
                made = msgspec.convert(value, kind, strict=False)
            except UnicodeEncodeError:
                self._fault(path, "holds half a surrogate pair, which is no text")
                return None
            except msgspec.ValidationError as error:
                problem, _, at = str(error).partition(" - at ")
                below = _parts(at.strip("`"))
                mended = self._mend(value, below, problem, path, kind)
                if mended:
                    value = mended[0]
                    continue
                about = self._tell(problem, kind, path, below, told)
                while about and isinstance(about[-1], int):
                    about = about[:-1]
                told.add(about)
                if problem.startswith("Object missing") or not self._without(value, about):
                    return None
            else:
                return made if len(self._faults) == faults else None
        return None

    def _look(self, value: Any, kind: Any, path: Path_) -> None:  # noqa: ANN401
        """Look at the files that a value of ``kind`` names, wrong as it may be elsewhere."""
        if not (isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return
        for field in msgspec.structs.fields(kind):
            child, at = value.get(field.encode_name), (*path, field.encode_name)
            self._look(child, field.type, at)
            if named(field.type) != "read":
                continue
            for index, one in enumerate(child if isinstance(child, list) else [child]):
                try:
                    if isinstance(one, str) and one:
                        opened(one).close()
                except (OSError, ValueError) as error:
                    self._fault(
                        (*at, index) if isinstance(child, list) else at, f"{one}: {_unreadable(error)}"
                    )

    def _examine(self, made: Any, path: Path_) -> None:  # noqa: ANN401 - any struct
        """Let structs look at what they name."""
        if not isinstance(made, msgspec.Struct):
            return
        for field in msgspec.structs.fields(made):
            self._examine(getattr(made, field.name), (*path, field.encode_name))
        if isinstance(made, Examined) and not any(one[: len(path)] == path for one in self._faulty):
            try:
                made.examine()
            except ValueError as error:
                text = str(error).removeprefix(f"{path[-1]}.")
                key = self._keyed(text, type(made))
                self._fault((*path, *key), text.partition(": ")[2] if key else text)

    @staticmethod
    def _without(value: Any, below: Path_) -> bool:  # noqa: ANN401
        """Take out the key that was told of, so that the next fault shows."""
        if not below:
            return False
        try:
            for part in below[:-1]:
                value = value[part]
            del value[below[-1]]
        except (KeyError, IndexError, TypeError):
            return False
        return True

    def _mend(
        self,
        value: Any,  # noqa: ANN401
        below: Path_,
        problem: str,
        path: Path_,
        kind: Any,  # noqa: ANN401
    ) -> list[Any]:
        at = value
        try:
            for part in below:
                at = at[part]
        except (KeyError, IndexError, TypeError):
            return []
        where = self._where.get(path + below)
        if problem.startswith("Expected `array`, got `str`"):
            new: Any = [part.strip() for part in at.split(",")]
        elif problem.startswith(("Expected `array`, got `int`", "Expected `array`, got `float`")) and where:
            new = [where.text]
        elif (
            problem.startswith("Expected `str`, got")
            and not named(functools.reduce(_below, below, kind))
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

    def _tell(
        self,
        problem: str,
        kind: Any,  # noqa: ANN401 - any type
        path: Path_,
        below: Path_,
        told: set[Path_],
    ) -> Path_:
        """Tell a fault unless it follows from one of ``told``; return the key that it is about.

        A key that was meant by an unknown one is told of, too.
        """
        kind = functools.reduce(_below, below, kind)
        if found := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
            near = self._unknown((*path, *below, found[1]), _field_names(kind))
            told |= {(*below, name) for name in near}
            return (*below, found[1])
        if found := re.fullmatch(r"Object missing required field `(.*)`", problem, re.DOTALL):
            if (*below, found[1]) not in told:
                self._fault((*path, *below, found[1]), "is needed and not there")
        elif problem.startswith(("Expected", "Invalid", "Unable")):
            self._fault((*path, *below), _expected(problem, kind))
        else:
            about = (*below, *self._keyed(problem, kind))
            if not any(one[: len(about)] == about for one in told):  # else it may follow from that
                self._fault((*path, *about), problem.partition(": ")[2] if about != below else problem)
            return about
        return below

    @staticmethod
    def _keyed(problem: str, kind: Any) -> Path_:  # noqa: ANN401 - any type
        """Return the key of ``kind`` that a text begins with; nothing if it does not."""
        found = _KEY.match(problem)
        parts = _parts(f".{found[1]}") if found else ()
        return parts if parts and parts[0] in _field_names(kind) else ()

    def _unknown(self, path: Path_, known: Sequence[str]) -> list[str]:
        """Tell that there is no such key; return the one that was meant, if that is plain."""
        name = str(path[-1])
        near = difflib.get_close_matches(name, known, 1, CLOSE)
        others = _homes(name)
        if others and (not near or len(path) == 1):
            near = []
            hint = f"; it is one of {', '.join(others)}"
        elif near:
            hint = f"; the nearest is {near[0]}"
        else:
            hint = f"; there is {', '.join(known)}" if known else ""
        self._fault(path, f"there is no such key{' here' if others and not near else ''}{hint}")
        return near

    def _fault(self, path: Path_, problem: str) -> None:
        if path in self._misfits:
            return
        self._faulty.add(path)
        where = next(
            (self._where[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in self._where),
            None,
        )
        source = f"{where.source}: " if where else ""
        name = _dotted(path)
        self._faults.append(
            f"{source}{problem}" if source.endswith(f"-E {name}: ") else f"{source}{name}: {problem}"
        )


_KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ")
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}]*))?\}")


def _body(path: Path) -> bytes:
    """Return what a file holds.

    :raises ConfigError: it cannot be read, or is too large.
    """
    try:
        with opened(str(path)) as file:
            body = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _UnreadableError(f"{path}: {_unreadable(error)}") from None
    if len(body) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB, which no configuration is")
    return body


def _unreadable(error: OSError | ValueError) -> str:
    if isinstance(error, Odd):
        return str(error.strerror)
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return "is no name of a file"  # half a surrogate pair


def _loader(text: str) -> Any:  # noqa: ANN401 - yaml's types are not exported
    """Return YAML's safe loader; for much text the one in C, ten times as fast, of fewer words."""
    import yaml  # noqa: PLC0415

    return yaml.SafeLoader if len(text) < MUCH else getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _parts(at: str) -> Path_:
    """Split msgspec's ``$.ssl.certificate_authorities[0]``."""
    found = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", at)
    return tuple(name or int(index) for name, index in found)


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, CLOSE)
    if near:
        return f"; the nearest is {near[0]}"
    return f"; there is {', '.join(known)}" if known else ""


def _expected(problem: str, kind: Any) -> str:  # noqa: ANN401 - any type
    """Say what was expected, without the value."""
    kind_info = msgspec.inspect.type_info(kind) if kind is not None else None
    if isinstance(kind_info, msgspec.inspect.LiteralType):
        return f"expected one of {', '.join(map(str, kind_info.values))}"
    if problem.startswith("Expected `str` matching regex"):
        told = next((meta.description for meta in _metas(kind) if meta.description), None)
        if told:
            return f"expected {told}"
    problem = problem.replace("`str` of length >= 1", "text that is not empty")
    problem = re.sub(r"Invalid enum value .*", "expected another value", problem, flags=re.DOTALL)
    words = {"`array`": "a list", "`object`": "keys and values", "`str`": "text", "`int`": "a whole number"}
    words |= {"`float`": "a number", "`bool`": "true or false"}
    for name, word in words.items():
        problem = problem.replace(name, word)
    return problem[:1].lower() + problem[1:]


def _below(kind: Any, part: str | int) -> Any:  # noqa: ANN401 - any type
    """Return the type of a field of a struct; None where there is no saying."""
    if isinstance(part, str) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return next((field.type for field in msgspec.structs.fields(kind) if field.encode_name == part), None)
    if isinstance(part, int):
        return next(iter(getattr(kind, "__args__", ())), None)
    return None


def _metas(kind: Any) -> list[msgspec.Meta]:  # noqa: ANN401 - any type
    return [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]


def _field_names(kind: Any) -> list[str]:  # noqa: ANN401 - any type
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(kind)]
    return []


def _leaves(kind: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401 - any type
    """Yield the dotted keys of a struct."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _leaves(field.type, f"{prefix}.{field.encode_name}")
    else:
        yield prefix


def _homes(name: str) -> list[str]:
    """Return what has a key of this name, in words."""
    structs = dict(_SECTIONS) | {
        f"output.{one}": plugins.load(OUTPUTS, one).Config for one in plugins.names(OUTPUTS)
    }
    found = [
        path.removesuffix(f".{name}")
        for top, kind in structs.items()
        for path in _nodes(kind, top)
        if path.endswith(f".{name}")
    ]
    inputs = [one for one in plugins.names(INPUTS) if name in _field_names(plugins.load(INPUTS, one).Config)]
    return found + ([f"inputs of type {', '.join(inputs)}"] if inputs else [])


def _nodes(kind: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401 - any type
    """Yield the dotted keys of a struct and of all below it."""
    yield prefix
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield from _nodes(field.type, f"{prefix}.{field.encode_name}")


def _keys() -> Iterator[str]:
    """Yield every key that a variable of the environment may set."""
    for name, kind in _SECTIONS.items():
        yield from _leaves(kind, name)
    for name in plugins.names(OUTPUTS):
        yield from _leaves(plugins.load(OUTPUTS, name).Config, f"output.{name}")


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of the configuration file, written with nested keys."""
    outputs = {name: plugins.load(OUTPUTS, name).Config for name in plugins.names(OUTPUTS)}
    inputs = {name: plugins.load(INPUTS, name).Config for name in plugins.names(INPUTS)}
    kinds = [*_SECTIONS.values(), *outputs.values(), *inputs.values()]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    of = dict(zip([*_SECTIONS, *outputs, *(f"inputs {name}" for name in inputs)], schemas, strict=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kpanic",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: of[name] for name in _SECTIONS}
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
