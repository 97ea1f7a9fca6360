"""What was written, as structs: each fault with its file, line and key, and what was expected."""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from kpanic.shipper import plugins
from kpanic.shipper.config.sections import (
    INPUTS,
    OUTPUTS,
    SECTIONS,
    Config,
    Plugin,
    TriageConfig,
    field_names,
    homes,
    metas,
    type_below,
)
from kpanic.shipper.config.tree import (
    PREFIX,
    ConfigError,
    Key,
    Tree,
    UnreadableError,
    Where,
    dotted,
    unreadable,
)
from kpanic.shipper.files import file_role, open_named
from kpanic.shipper.triage import Entry

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

CLOSE = 0.7
"""How much alike two names are (difflib's ratio) if the one may have been meant by the other."""
_KEY = re.compile(r"([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ")


@runtime_checkable
class Examined(Protocol):
    """A struct of keys that can look at what it names."""

    def examine(self) -> None:
        """Look at it.

        :raises ValueError: it cannot be used; the text begins with the key.
        """


class Checked(Tree):
    """A tree of values that becomes structs, and what is wrong with it."""

    def __init__(self, environment: Mapping[str, str], files: Container[str] = ()) -> None:
        super().__init__(environment)
        self._files = files
        self._faulty: set[Key] = set()

    def finish(self) -> Config:
        """Turn the tree into structs.

        :raises ConfigError: with every fault that was found.
        """
        sections: dict[str, Any] = {}
        inputs: list[Plugin] = []
        outputs: list[Plugin] = []
        for key, value in self._tree.items():
            if value is None and key in (*SECTIONS, "inputs", "output"):
                continue  # a key with everything below it commented out
            if key in SECTIONS:
                sections[key] = self._convert(value, SECTIONS[key], (key,))
            elif key == "inputs":
                inputs = list(self._inputs(value))
            elif key == "output":
                outputs = list(self._outputs(value))
            else:
                self._unknown((key,), [*SECTIONS, "inputs", "output"])
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
        reading = Checked(self._environment)
        try:
            path = Path(self._source).parent / Path(config.path).expanduser()
            value, where = reading.read(path)
        except RuntimeError:
            self._fault(("triage", "path"), "there is no such user; expected a file")
        except UnreadableError as error:
            self._fault(("triage", "path"), str(error))
        except ConfigError as error:
            self._faults.append(str(error))
        else:
            entries = reading.entries([] if value is None else value, where)
            self._faults += reading._faults
            return entries
        return []

    def entries(self, value: Any, where: Where) -> list[Entry]:  # noqa: ANN401
        """Return the entries of a triage file."""
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
            path: Key = ("output", name)
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
            path: Key = ("inputs", index)
            name = settings.pop("type", None) if isinstance(settings, dict) else None
            if not isinstance(name, str):
                self._fault(path, f"expected a type: {', '.join(plugins.names(INPUTS))}")
            elif name not in plugins.names(INPUTS):
                self._fault((*path, "type"), f"there is no such input{_near(name, plugins.names(INPUTS))}")
            elif (made := self._convert(settings, plugins.load(INPUTS, name).Config, path)) is not None:
                yield Plugin(name, made)

    def _convert(self, value: Any, kind: Any, path: Key) -> Any:  # noqa: ANN401
        """Return ``value`` as ``kind``, None if it is wrong; look at its files where that is wanted."""
        made = self._made(value, kind, path)
        if path[0] in self._files:
            self._look(value, kind, path)
            self._examine(made, path)
        return made

    def _made(self, value: Any, kind: Any, path: Key) -> Any:  # noqa: ANN401
        """Return ``value`` as ``kind``, a single text as a list of one, a number as text where need be."""
        faults = len(self._faults)
        told: set[Key] = set()  # keys of which a fault is known, the ones that were meant among them
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

    def _look(self, value: Any, kind: Any, path: Key) -> None:  # noqa: ANN401
        """Look at the files that a value of ``kind`` names, wrong as it may be elsewhere."""
        if not (isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return
        for field in msgspec.structs.fields(kind):
            child, at = value.get(field.encode_name), (*path, field.encode_name)
            self._look(child, field.type, at)
            if file_role(field.type) != "read":
                continue
            for index, one in enumerate(child if isinstance(child, list) else [child]):
                try:
                    if isinstance(one, str) and one:
                        open_named(one).close()
                except (OSError, ValueError) as error:
                    self._fault(
                        (*at, index) if isinstance(child, list) else at, f"{one}: {unreadable(error)}"
                    )

    def _examine(self, made: Any, path: Key) -> None:  # noqa: ANN401 - any struct
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
    def _without(value: Any, below: Key) -> bool:  # noqa: ANN401
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
        below: Key,
        problem: str,
        path: Key,
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

    def _tell(
        self,
        problem: str,
        kind: Any,  # noqa: ANN401 - any type
        path: Key,
        below: Key,
        told: set[Key],
    ) -> Key:
        """Tell a fault unless it follows from one of ``told``; return the key that it is about.

        A key that was meant by an unknown one is told of, too.
        """
        kind = functools.reduce(type_below, below, kind)
        if found := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
            near = self._unknown((*path, *below, found[1]), field_names(kind))
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
    def _keyed(problem: str, kind: Any) -> Key:  # noqa: ANN401 - any type
        """Return the key of ``kind`` that a text begins with; nothing if it does not."""
        found = _KEY.match(problem)
        parts = _parts(f".{found[1]}") if found else ()
        return parts if parts and parts[0] in field_names(kind) else ()

    def _unknown(self, path: Key, known: Sequence[str]) -> list[str]:
        """Tell that there is no such key; return the one that was meant, if that is plain."""
        name = str(path[-1])
        near = difflib.get_close_matches(name, known, 1, CLOSE)
        others = homes(name)
        if others and (not near or len(path) == 1):
            near = []
            hint = f"; it is one of {', '.join(others)}"
        elif near:
            hint = f"; the nearest is {near[0]}"
        else:
            hint = f"; there is {', '.join(known)}" if known else ""
        self._fault(path, f"there is no such key{' here' if others and not near else ''}{hint}")
        return near

    def _fault(self, path: Key, problem: str) -> None:
        if path in self._misfits:
            return
        self._faulty.add(path)
        where = next(
            (self._where[path[:depth]] for depth in range(len(path), 0, -1) if path[:depth] in self._where),
            None,
        )
        source = f"{where.source}: " if where else ""
        name = dotted(path)
        self._faults.append(
            f"{source}{problem}" if source.endswith(f"-E {name}: ") else f"{source}{name}: {problem}"
        )


def _parts(at: str) -> Key:
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
        told = next((meta.description for meta in metas(kind) if meta.description), None)
        if told:
            return f"expected {told}"
    problem = problem.replace("`str` of length >= 1", "text that is not empty")
    problem = re.sub(r"Invalid enum value .*", "expected another value", problem, flags=re.DOTALL)
    words = {"`array`": "a list", "`object`": "keys and values", "`str`": "text", "`int`": "a whole number"}
    words |= {"`float`": "a number", "`bool`": "true or false"}
    for name, word in words.items():
        problem = problem.replace(name, word)
    return problem[:1].lower() + problem[1:]
