"""One reading of the configuration: from the tree of values to the structs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpanic import plugins
from kpanic.shipper.config.convert import Converter
from kpanic.shipper.config.faults import ConfigError, Where, did_you_mean
from kpanic.shipper.config.sections import INPUTS, OUTPUTS, SECTIONS, Config, Plugin, TriageConfig
from kpanic.shipper.config.tree import Tree
from kpanic.shipper.config.yaml_text import UnreadableError
from kpanic.shipper.triage import Entry

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from kpanic.shipper.config.keys import Key

__all__ = ["Reading"]


class Reading(Tree):
    """A tree of values that becomes a :class:`Config`.

    :param examined: sections whose named files are opened too: ``output``, ``setup``.
    """

    def __init__(self, environment: Mapping[str, str], examined: Container[str] = ()) -> None:
        super().__init__(environment)
        self._converter = Converter(self.faults, examined)

    def config(self) -> Config:
        """Return the configuration.

        :raises ConfigError: with every fault that was found.
        """
        sections: dict[str, Any] = {}
        inputs: list[Plugin] = []
        outputs: list[Plugin] = []
        for key, value in self.root.items():
            if value is None and key in (*SECTIONS, "inputs", "output"):
                continue  # a key whose content is commented out
            if key in SECTIONS:
                sections[key] = self._converter.convert(value, SECTIONS[key], (key,))
            elif key == "inputs":
                inputs = list(self._inputs(value))
            elif key == "output":
                outputs = list(self._outputs(value))
            else:
                self.faults.add_unknown((key,), [*SECTIONS, "inputs", "output"])
        entries = self._triage(sections.get("triage") or TriageConfig())
        config = Config(
            **{key: made for key, made in sections.items() if made is not None},
            entries=entries,
            inputs=inputs,
            outputs=outputs,
            source=self.source,
            warnings=[f"${name}: names no key and is not used" for name in self.unused_variables()],
        )
        try:
            config.store_path()
        except RuntimeError:
            known = "there is no such user" if config.path.data else "there is no home folder to put it below"
            self.faults.add_at(("path", "data"), f"{known}; expected a folder, such as /var/lib/kpanic")
        self.faults.raise_any()
        return config

    def _triage(self, config: TriageConfig) -> list[Entry]:
        """Read the triage file."""
        if not config.path:
            return []
        reading = Reading(self._environment)
        try:
            path = Path(self.source).parent / Path(config.path).expanduser()
            value, where = reading.read(path)
        except RuntimeError:
            self.faults.add_at(("triage", "path"), "there is no such user; expected a file")
        except UnreadableError as error:
            self.faults.add_at(("triage", "path"), str(error))
        except ConfigError as error:
            self.faults.add(str(error))
        else:
            entries = reading.entries([] if value is None else value, where)
            for line in reading.faults.lines:
                self.faults.add(line)
            return entries
        return []

    def entries(self, value: Any, where: Where) -> list[Entry]:  # noqa: ANN401
        """Return the entries of a triage file."""
        if not isinstance(value, list):
            self.faults.add(f"{where.source}: expected a list, each with a signature or a title")
            return []
        made = [self._converter.convert(one, Entry, (index,)) for index, one in enumerate(value)]
        return [entry for entry in made if entry is not None]

    def _outputs(self, value: Any) -> Iterator[Plugin]:  # noqa: ANN401
        if not isinstance(value, dict):
            self.faults.add_at(
                ("output",), "expected the name of an output below it, such as output.opensearch"
            )
            return
        for name, settings in value.items():
            path: Key = ("output", name)
            if name not in plugins.names(OUTPUTS):
                self.faults.add_unknown(path, plugins.names(OUTPUTS))
                continue
            kind = plugins.load(OUTPUTS, name).Config
            if isinstance(settings, dict) and settings.get("enabled") in (False, "false"):
                continue
            if isinstance(settings, dict):
                settings.pop("enabled", None)
            made = self._converter.convert({} if settings is None else settings, kind, path)
            if made is not None:
                yield Plugin(name, made)

    def _inputs(self, value: Any) -> Iterator[Plugin]:  # noqa: ANN401
        if not isinstance(value, list):
            self.faults.add_at(("inputs",), "expected a list, each with a type")
            return
        known = plugins.names(INPUTS)
        for index, settings in enumerate(value):
            path: Key = ("inputs", index)
            name = settings.pop("type", None) if isinstance(settings, dict) else None
            if not isinstance(name, str):
                self.faults.add_at(path, f"expected a type: {', '.join(known)}")
                continue
            if name not in known:
                self.faults.add_at((*path, "type"), f"there is no such input{did_you_mean(name, known)}")
                continue
            made = self._converter.convert(settings, plugins.load(INPUTS, name).Config, path)
            if made is not None:
                yield Plugin(name, made)
