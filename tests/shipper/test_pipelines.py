"""Configurations of other pipelines: golden files, and keys from the products' documentation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from kpanic.shipper.cli import cli
from kpanic.shipper.config import load
from kpanic.shipper.pipelines import Engine, pipeline, products
from tests.engines import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "pipelines"
DOCUMENTED = tomllib.loads((HERE / "documented.toml").read_text(encoding="utf-8"))
ENGINES = (Engine(), Engine("elasticsearch"))


@pytest.mark.parametrize("form", products())
def test_each_is_as_it_was_when_it_was_last_looked_at(form: str) -> None:
    """``python -m tests.shipper.pipelines`` writes them anew."""
    assert pipeline(form, Engine()) == (HERE / f"{form}.golden").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", products())
def test_each_says_what_is_guaranteed_and_what_is_not(form: str) -> None:
    head = pipeline(form, Engine()).splitlines()[:5]
    assert sum("Guaranteed: " in line for line in head) == 1
    assert sum("Not guaranteed: " in line for line in head) == 1


@pytest.mark.parametrize("form", [form for form, product in products().items() if product.companion])
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_kpanic_yml_beside_it_is_one(
    form: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPANIC_PASSWORD", "secret")
    comment = products()[form].comment
    _, _, rest = pipeline(form, engine).partition("kpanic run beside it:\n")
    lines = [line.removeprefix(f"{comment}   ") for line in rest.partition("\n\n")[0].splitlines()]
    file = tmp_path / "kpanic.yml"
    file.write_text("\n".join(lines))
    config = load(str(file))
    assert config.inputs
    assert config.outputs


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_configuration_for_the_journal_is_exported(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPANIC_PASSWORD", "secret")
    file = tmp_path / "kpanic.yml"
    file.write_text(pipeline("journald", engine))
    config = load(str(file))
    assert [plugin.name for plugin in config.outputs] == [engine.name]
    assert [plugin.name for plugin in config.inputs] == ["journal", "journal", "netconsole"]


def test_the_command_takes_engine_and_namespace_from_the_configuration() -> None:
    options = ["-E", "output.elasticsearch.hosts=[https://es:9243]", "-E", "data_stream.namespace=lab"]
    done = CliRunner().invoke(cli, ["export", "pipeline", "--format", "fluentd", *options])
    assert done.exit_code == 0
    assert done.output == pipeline("fluentd", Engine("elasticsearch", "https://es:9243"), "lab")
    assert "logs-kernel.panic-lab" in done.output
    done = CliRunner().invoke(cli, ["export", "pipeline", "--format", "flume"])
    assert done.exit_code == 2
    assert all(form in done.output for form in products())


def keys_of_fluentd(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and ``@type`` of each section with each of its keys."""
    open_sections: list[tuple[str, list[str], list[str]]] = []
    for line in text.splitlines():
        words = line.split("#")[0].split() if line.lstrip().startswith("#") else line.split()
        if not words:
            continue
        if words[0].startswith("</"):
            name, kind, keys = open_sections.pop()
            if name != "label":
                yield from ((" ".join([name, *kind]), key) for key in keys)
        elif words[0].startswith("<"):
            name = words[0].strip("<>")
            if open_sections:
                open_sections[-1][2].append(name)
            open_sections.append((name, [], []))
        else:
            if words[0] == "@type":
                open_sections[-1][1].append(words[1])
            open_sections[-1][2].append(words[0])
    assert not open_sections


def leaves(node: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - any YAML
    """Yield the dotted paths of a tree's leaves, without indices of lists."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from leaves(child, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list) and any(isinstance(child, dict) for child in node):
        for child in node:
            yield from leaves(child, path)
    else:
        yield path


def keys_of_fluent_bit(text: str) -> Iterator[tuple[str, str]]:
    made = yaml.safe_load(text)
    yield from (("service", key) for key in made["service"])
    for plugin in made["pipeline"]["inputs"] + made["pipeline"]["outputs"]:
        yield from ((plugin["name"], key) for key in plugin)


def keys_of_logstash(text: str) -> Iterator[tuple[str, str]]:
    inside: list[str] = []
    for line in text.splitlines():
        code = line.split("#")[0]
        for word in re.finditer(r"(\w+) => (\w+ )?\{|(\w+) \{|(\w+) =>|\}|\{", code):
            key, codec, plugin, other = word.groups()
            if key or other:
                yield inside[-1], key or other
            if word[0].endswith("{"):
                inside.append((codec or plugin or "").strip())
            elif word[0] == "}":
                inside.pop()
    assert not inside


def keys_of_vector(text: str) -> Iterator[tuple[str, str]]:
    made = yaml.safe_load(text)
    for section in ("sources", "transforms", "sinks"):
        for component in made.pop(section).values():
            yield from ((component["type"], key) for key in leaves(component))
    yield from (("", key) for key in leaves(made))


def keys_of_otel_collector(text: str) -> Iterator[tuple[str, str]]:
    made = yaml.safe_load(text)
    for section in ("receivers", "exporters", "extensions"):
        for name, component in made[section].items():
            yield from ((name.partition("/")[0], key) for key in leaves(component))
    used = {name for one in made["service"]["pipelines"].values() for names in one.values() for name in names}
    assert used == {*made["receivers"], *made["exporters"]}
    assert made["service"]["extensions"] == list(made["extensions"])


def keys_of_alloy(text: str) -> Iterator[tuple[str, str]]:
    inside: list[str] = []
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*([\w.]+)(?: \"\w+\")? \{", line):
            inside.append(found[1])
        elif line.strip() == "}":
            inside.pop()
        elif found := re.match(r"\s*(\w+)\s*=", line):
            yield inside[0], ".".join([*inside[1:], found[1]])
    assert not inside


def keys_of_filebeat(text: str) -> Iterator[tuple[str, str]]:
    made = yaml.safe_load(text)
    for section in ("filebeat.inputs", "processors"):
        for item in made.pop(section):
            yield from ((section, key) for key in leaves(item))
    output = made["output.elasticsearch"]
    for item in output.pop("indices"):
        yield from (("output.elasticsearch.indices", key) for key in leaves(item))
    yield from (("", key) for key in leaves(made))


def keys_of_ingest(text: str) -> Iterator[tuple[str, str]]:
    made = json.loads(text)
    yield from (("", key) for key in made)
    for processor in made["processors"]:
        ((kind, keys),) = processor.items()
        yield from ((kind, key) for key in keys)


READERS = {
    "fluentd": keys_of_fluentd,
    "fluent-bit": keys_of_fluent_bit,
    "logstash": keys_of_logstash,
    "vector": keys_of_vector,
    "otel-collector": keys_of_otel_collector,
    "alloy": keys_of_alloy,
    "filebeat": keys_of_filebeat,
    "ingest": keys_of_ingest,
}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_each_key_is_one_that_the_product_documents(form: str, engine: Engine) -> None:
    found = list(READERS[form](pipeline(form, engine)))
    assert len(found) > 10
    documented = DOCUMENTED[form]
    assert not [(part, key) for part, key in found if key not in documented.get(part, {"keys": ()})["keys"]]


def test_no_match_of_fluentd_stands_before_another_that_it_would_swallow() -> None:
    """All sources and the filter use a label; sections outside of labels get none of their events."""
    text = pipeline("fluentd", Engine())
    outside = re.sub(r"<label .*?</label>", "", text, flags=re.DOTALL)
    assert not re.findall(r"^\s*<match", outside, flags=re.MULTILINE)
    sources = re.findall(r"<source>.*?</source>", outside, flags=re.DOTALL)
    assert len(sources) == 5
    assert all(len(re.findall(r"@label @KERNEL_(?:LINES|PANIC)\n", source)) == 1 for source in sources)
    labels = dict(re.findall(r"<label (@\w+)>(.*?)</label>", text, flags=re.DOTALL))
    assert re.findall(r"<match (.*)>", labels["@KERNEL_LINES"]) == ["**"]
    assert "@label @KERNEL_PANIC" in labels["@KERNEL_LINES"]
    assert re.findall(r"<match (.*)>", labels["@KERNEL_PANIC"]) == [
        "kernel.panic",
        "kernel.panic.signature",
        "**",
    ]


def written(form: str, engine: Engine, folder: Path) -> Path:
    """Write a configuration that uses only files in a folder."""
    (folder / "kpanic").mkdir(exist_ok=True)
    path = folder / f"{form}.conf"
    path.write_text(pipeline(form, engine).replace(f"/var/lib/{form}", str(folder)))
    return path


@pytest.mark.process
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_rsyslog_itself_takes_its_configuration(engine: Engine, tmp_path: Path) -> None:
    if shutil.which("rsyslogd") is None or not list(Path("/usr/lib").glob("*/rsyslog/omelasticsearch.so")):
        parts.missing("rsyslog", "apt-get install rsyslog rsyslog-elasticsearch")
    command = ["rsyslogd", "-N1", "-f", str(written("rsyslog", engine, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "error" not in done.stderr.lower()


@pytest.mark.process
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_syslog_ng_itself_takes_its_configuration(engine: Engine, tmp_path: Path) -> None:
    command = [*parts.syslog_ng(), "--syntax-only", "-f", str(written("syslog-ng", engine, tmp_path))]
    environment = {**os.environ, "KPANIC_PASSWORD": "secret"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
