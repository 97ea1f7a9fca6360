from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpanic import plugins
from kpanic.shipper import config as configuration
from kpanic.shipper.config import Config, ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXAMPLE = """\
path.data: /var/lib/kpanic
data_stream.namespace: prod
tags: [web]
inputs:
  - type: kdump
    paths: [/var/crash]
output.opensearch:
  hosts: ["https://search:9200"]
  username: kpanic
  password: ${KPANIC_PASSWORD}
  ssl.certificate_authorities: []
output.fluentd:
  hosts: ["collector:24224"]
  require_ack: true
"""


@pytest.fixture(autouse=True)
def _no_file_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "DEFAULT_FILE", tmp_path / "kpanic.yml")


def read(
    tmp_path: Path, text: str, overrides: Sequence[str] = (), environment: dict[str, str] | None = None
) -> Config:
    path = tmp_path / "kpanic.yml"
    path.write_text(text)
    return load(str(path), overrides, environment or {})


def faults(tmp_path: Path, text: str, *overrides: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, overrides, environment)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def output(config: Config, name: str = "opensearch") -> Any:  # noqa: ANN401 - each has its own struct
    return dict(config.outputs)[name]


def test_without_a_file_everything_has_a_default() -> None:
    config = load(environment={})
    assert config == Config()


def test_the_file_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, EXAMPLE, environment={"KPANIC_PASSWORD": "s3cret"})
    assert config.path.data == "/var/lib/kpanic"
    assert config.data_stream.namespace == "prod"
    assert config.tags == ["web"]
    assert output(config).hosts == ["https://search:9200"]
    assert output(config).password == "s3cret"  # noqa: S105
    assert output(config, "fluentd").require_ack is True
    assert [plugin.name for plugin in config.inputs] == ["kdump"]
    assert config.warnings == []


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_dotted_and_nested_keys_mean_the_same(cuts: list[int]) -> None:
    parts = ["output", "opensearch", "ssl", "verification_mode"]
    text, depth = "", 0
    line = parts[0]
    for part, cut in zip(parts[1:], cuts, strict=False):
        if cut % 2:
            line += f".{part}"
        else:
            text += f"{'  ' * depth}{line}:\n"
            depth += 1
            line = part
    text += f"{'  ' * depth}{line}: none\noutput.opensearch.hosts: x:1\n"
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        found = output(read(Path(folder), text))
    assert found.ssl.verification_mode == "none"
    assert found.hosts == ["x:1"]


def test_the_command_line_is_above_the_environment_is_above_the_file(tmp_path: Path) -> None:
    text = "output.opensearch:\n  hosts: file:1\n  username: file\n  timeout: 1\n"
    environment = {"KPANIC_OUTPUT_OPENSEARCH_USERNAME": "env", "KPANIC_OUTPUT_OPENSEARCH_TIMEOUT": "2"}
    config = read(tmp_path, text, ["output.opensearch.timeout=3"], environment)
    found = output(config)
    assert (found.hosts, found.username, found.timeout) == (["file:1"], "env", 3)


@pytest.mark.parametrize(
    "text", ["output.file.path=/x", "output.file={path: /x}", "output={file: {path: /x}}"]
)
def test_an_override_may_be_text_or_yaml(text: str) -> None:
    assert output(load(None, [text], {}), "file").path == "/x"


def test_a_list_may_be_written_as_one_text() -> None:
    found = output(load(None, ["output.opensearch.hosts=http://a:1, http://b:2"], {}))
    assert found.hosts == ["http://a:1", "http://b:2"]


def test_a_number_is_text_where_text_is_asked_for(tmp_path: Path) -> None:
    found = output(read(tmp_path, "output.opensearch: {hosts: a:1, username: u, password: 0123}"))
    assert found.password == "0123"  # noqa: S105


def test_variables_have_defaults_and_a_dollar_can_be_written(tmp_path: Path) -> None:
    config = read(tmp_path, "tags: ['${A:x}', '$$5', '${B}', '$5']", environment={"B": "b"})
    assert config.tags == ["x", "$5", "b", "$5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outputt.file.path: x", "kpanic.yml:1: outputt: there is no such key; the nearest is output"),
        (
            "output:\n  opensearch:\n    hosts: [a:1]\n    passwort: x\n",
            "kpanic.yml:4: output.opensearch.passwort: there is no such key; the nearest is password",
        ),
        (
            "output.opensearch:\n  hosts: [a:1]\n  ssl:\n    verification_mod: full\n",
            "kpanic.yml:4: output.opensearch.ssl.verification_mod: there is no such key;",
        ),
        (
            "output.opensearch:\n  hosts: [a:1]\n  ssl.verification_mode: off!\n",
            "kpanic.yml:3: output.opensearch.ssl.verification_mode: expected one of certificate, full, none",
        ),
        ("output.opensearch: {}", "kpanic.yml:1: output.opensearch.hosts: is needed and not there"),
        (
            "output.opensearch:\n  hosts: [a:1]\n  timeout: soon\n",
            "kpanic.yml:3: output.opensearch.timeout: expected a number, got text",
        ),
        (
            "output.opensearch:\n  hosts:\n    - a:1\n    - {b: 1}\n",
            "kpanic.yml:4: output.opensearch.hosts[1]: expected text, got keys and values",
        ),
        (
            "output.elastic.hosts: x",
            "kpanic.yml:1: output.elastic: there is no such key; the nearest is elasticsearch",
        ),
        (
            "output: [opensearch]",
            "kpanic.yml:1: output: expected the name of an output below it, such as output.opensearch",
        ),
        (
            "inputs:\n  - type: kdumpp\n",
            "kpanic.yml:2: inputs[0].type: there is no such input; the nearest is kdump",
        ),
        ("inputs:\n  - {}\n", "kpanic.yml:2: inputs[0]: expected a type: file, journal, kdump"),
        ("path.data: a\npath:\n  data: b\n", "kpanic.yml:2: path.data: appears twice"),
        ("tags: a\ntags: b\n", "kpanic.yml:2: tags: appears twice"),
        ("tags: ['${NIX}']", "kpanic.yml:1: the environment has no NIX; set it, or write ${NIX:default}"),
        (
            "data_stream.namespace: My-Space",
            "kpanic.yml:1: data_stream.namespace: expected a name in lower case without '-', such as default",
        ),
        ("tags: [", "kpanic.yml:1: is not YAML: expected the node content, but found '<stream end>'"),
        ("just text", "kpanic.yml:1: expected keys and values"),
        ("? [a]\n: b\n", "kpanic.yml:1: a key must be plain text"),
        (
            "close_quiet: 5",
            "kpanic.yml:1: close_quiet: there is no such key here; it is one of inputs of type file,",
        ),
        ("paht.data: x", "kpanic.yml:1: paht: there is no such key; the nearest is path"),
        ("colour: x", "kpanic.yml:1: colour: there is no such key; there is name, path, data_stream, fleet,"),
        (
            "output.opensearch.host: x",
            "kpanic.yml:1: output.opensearch.host: there is no such key; the nearest is hosts",
        ),
        ("output.file.path: 5", "kpanic.yml:1: output.file.path: expected text, got a whole number"),
        ("output.file.path: ''", "kpanic.yml:1: output.file.path: expected text that is not empty"),
        (
            "output.opensearch.hosts: ['http://[::1']",
            "kpanic.yml:1: output.opensearch.hosts[0]: expected an address like https://search:9200",
        ),
        (
            "output.opensearch.hosts: [a:b]",
            "kpanic.yml:1: output.opensearch.hosts[0]: expected an address like https://search:9200",
        ),
        (
            "inputs:\n  - type: netconsole\n    allow: [10.0.0.0/8, foo]\n",
            "kpanic.yml:3: inputs[0].allow[1]: expected an address or a network, such as 10.0.0.0/8",
        ),
        (
            "inputs:\n  - type: netconsole\n    host: 0.0.0.0\n",
            "kpanic.yml:3: inputs[0].host: expected address and port, such as 0.0.0.0:6666",
        ),
        (
            "inputs:\n  - type: syslog\n    protocol.udp.host: no-such-host.invalid:514\n",
            "kpanic.yml:3: inputs[0].protocol.udp.host: expected address and port, such as 0.0.0.0:6666",
        ),
        (
            "inputs:\n  - type: syslog\n",
            "kpanic.yml:2: inputs[0].protocol: nowhere to listen at: set protocol.udp.host,",
        ),
        (
            "path.data: ~no-such-user/x",
            "kpanic.yml:1: path.data: there is no such user; expected a folder, such as /var/lib/kpanic",
        ),
        (
            "triage.path: nowhere.yml",
            "kpanic.yml:1: triage.path: nowhere.yml: cannot be read: No such file or directory",
        ),
        ("path: 3", "kpanic.yml:1: path: expected keys and values, got a whole number"),
    ],
)
def test_a_fault_names_file_line_key_and_what_to_do(tmp_path: Path, text: str, expected: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert fault.startswith(expected)


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    text = "tagz: 1\noutput.opensearch: {hosts: a:1, timeout: x, usr: y}\n"
    assert len(faults(tmp_path, text, "nokey", "path.dat=1")) == 5


def test_many_faults_are_reported_by_their_number(tmp_path: Path) -> None:
    before = time.process_time()
    told = faults(tmp_path, "".join(f"key{number}: 1\n" for number in range(20_000)))
    assert time.process_time() - before < 10
    assert len(told) == 101
    assert told[0].startswith("kpanic.yml:1: key0: there is no such key")
    assert told[-1] == "and 19,900 more faults"


def test_a_file_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("swordfish")
    (tmp_path / "triage.yml").write_text("[]")
    text = "output.opensearch: {hosts: [a], username: u, password_file: SECRET}\ntriage.path: triage.yml\n"
    path = tmp_path / "kpanic.yml"
    path.write_text(text.replace("SECRET", str(tmp_path / "secret")))
    for name, key in (
        ("secret", "output.opensearch.password_file"),
        ("triage.yml", "triage"),
        ("kpanic.yml", ""),
    ):
        (tmp_path / name).chmod(0o666)
        with pytest.raises(ConfigError, match=rf"{key}.*{name}: may be written by anybody: 'chmod o-w' it"):
            load(str(path), (), {}, files=("output",))
        (tmp_path / name).chmod(0o664)
    assert load(str(path), (), {}, files=("output",)).outputs


def test_a_fault_of_an_override_or_a_variable_names_it(tmp_path: Path) -> None:
    assert faults(tmp_path, "", "output.file.pth=/x")[0] == (
        "-E output.file.pth: there is no such key; the nearest is path"
    )
    assert faults(tmp_path, "output.opensearch.hosts: a:1", KPANIC_OUTPUT_OPENSEARCH_TIMEOUT="soon") == [
        "$KPANIC_OUTPUT_OPENSEARCH_TIMEOUT: output.opensearch.timeout: expected a number, got text"
    ]


def test_a_variable_that_names_no_key_is_a_warning(tmp_path: Path) -> None:
    config = read(tmp_path, "tags: ['${KPANIC_SITE}']", environment={"KPANIC_SITE": "x", "KPANIC_TAGZ": "y"})
    assert config.warnings == ["$KPANIC_TAGZ: names no key and is not used"]


@pytest.mark.parametrize("name", ["nowhere.yml", "."])
def test_an_unreadable_file_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path / name), (), {})


def test_a_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    (tmp_path / "kpanic.yml").write_bytes(b"tags: [\xff]")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(str(tmp_path / "kpanic.yml"), (), {})


LAUGHS = "".join(
    f"labels.{name}: &{name} [{', '.join(['*' + below if below else 'x'] * 10)}]\n"
    for name, below in zip("abcdefghi", ["", *"abcdefgh"], strict=True)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LAUGHS + "tags: *i\n", "100,000 values"),
        ("tags: &a [*a]\n", "tags[0]: an alias (*name) repeats a part that contains it"),
        ("labels: &a {x: *a}\n", "labels.x: an alias (*name) repeats a part that contains it"),
        ("tags: 2024-99-99\n", "tags: is no timestamp"),
        (f"fleet.size: {'9' * 5000}\n", "fleet.size: a number has at most 1000 digits"),
        ("fleet.size: !!int x\n", "fleet.size: is no int"),
        ("fleet.size: !!bool x\n", "fleet.size: is no bool"),
        ('tags: "\\U00110000"\n', "is not YAML"),
        ('path.data: "/tmp/\\0"\n', "holds a NUL character"),
        (f"? {'a.' * 100_000}\n: 1\n", "a key has more than 64 parts"),
        (
            f"a: &a {'[' * 100}{']' * 100}\nb: &b {'[' * 100}*a{']' * 100}\nc: {'[' * 900}{']' * 900}",
            "nested too deeply",
        ),
    ],
)
def test_malicious_text_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert fault.startswith("kpanic.yml")
    assert expected in fault
    (tmp_path / "triage.yml").write_text(text)
    with pytest.raises(ConfigError, match=r"triage\.yml"):
        read(tmp_path, "triage.path: triage.yml")


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        "[2024-99-99]",
        f"[{'9' * 5000}]",
        "[&a [*a]]",
        "{x: &a [*a]}",
        '["\\0"]',
        "[" * 2000,
        "[&a0 [x], " + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)) + "]",
    ],
)
def test_an_override_made_to_do_harm_is_one_line(tmp_path: Path, value: str) -> None:
    (fault,) = faults(tmp_path, "", f"tags={value}")
    assert fault.startswith("-E tags: ")


def test_a_device_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: is a device, not a file"):
        load("/dev/zero", (), {})


def test_much_text_is_refused_before_it_takes_long(tmp_path: Path) -> None:
    for text, expected in (
        ("tags: [" + "a," * 400_000 + "]", "kpanic.yml: holds more than 100,000 values"),
        ("tags: [" + "a," * 600_000 + "]", "kpanic.yml: is larger than 1 MB, which no configuration is"),
    ):
        assert faults(tmp_path, text) == [expected]


def test_a_pipe_is_no_configuration_unless_it_is_a_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: is a named pipe, not a file"):
        load(str(tmp_path / "pipe"), (), {})
    reading, writing = os.pipe()
    os.write(writing, b"tags: [x]")
    os.close(writing)
    with os.fdopen(reading):
        assert load(f"/dev/fd/{reading}", (), {}).tags == ["x"]


def test_an_empty_variable_counts_as_none_and_an_empty_path_as_a_mistake(tmp_path: Path) -> None:
    assert read(tmp_path, "path.data: /x", environment={"KPANIC_PATH_DATA": ""}).path.data == "/x"
    assert faults(tmp_path, "", "path.data=") == ["-E path.data: expected text that is not empty"]


def test_the_files_that_are_named_are_looked_at_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "no-certificate").write_text("none")
    text = f"""
output.opensearch:
  hosts: [a:b]
  password_file: {tmp_path}/nowhere
output.elasticsearch:
  hosts: [a]
  ssl.certificate_authorities: [{tmp_path}/no-certificate]
  api_key_file: /dev/null
setup.kibana: {{host: a, password_file: {tmp_path}/away}}
inputs:
  - {{type: netconsole, host: '0.0.0.0', allow: [x]}}
triage.path: elsewhere.yml
"""
    (tmp_path / "kpanic.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "kpanic.yml"), (), {}, files=("output", "setup"))
    told = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    gone = "cannot be read: No such file or directory"
    assert [fault.partition(" [X509")[0] for fault in told] == [
        "kpanic.yml:3: output.opensearch.hosts[0]: expected an address like https://search:9200",
        f"kpanic.yml:4: output.opensearch.password_file: nowhere: {gone}",
        "kpanic.yml:8: output.elasticsearch.api_key_file: /dev/null: is a device, not a file",
        "kpanic.yml:7: output.elasticsearch.ssl.certificate_authorities: no-certificate:",
        f"kpanic.yml:9: setup.kibana.password_file: away: {gone}",
        "kpanic.yml:11: inputs[0].host: expected address and port, such as 0.0.0.0:6666",
        "kpanic.yml:11: inputs[0].allow[0]: expected an address or a network, such as 10.0.0.0/8",
        f"kpanic.yml:12: triage.path: elsewhere.yml: {gone}",
    ]


SECRET = "hunter2hunter2"  # noqa: S105


@pytest.mark.parametrize(
    "text",
    [
        f"output.opensearch: {{hosts: a:1, password: [{SECRET}]}}",
        f"output.opensearch: {{hosts: a:1, password: {{a: {SECRET}}}}}",
        f"output.opensearch: {{hosts: a:1, password: {SECRET}, nix: 1}}",
        f"output.opensearch: {{hosts: a:1, password: '{SECRET}', timeout: '{SECRET}'}}",
        f"output.fluentd: {{hosts: a:1, shared_key: {SECRET}, username: {{}}}}",
    ],
)
def test_no_fault_shows_a_secret(tmp_path: Path, text: str) -> None:
    assert SECRET not in "\n".join(faults(tmp_path, text))


def test_a_configuration_does_not_show_its_secrets(tmp_path: Path) -> None:
    config = read(tmp_path, f"output.opensearch: {{hosts: a:1, username: u, password: {SECRET}}}")
    assert SECRET not in repr(config)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_any_yaml_is_read_or_refused_with_a_line(value: object) -> None:
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kpanic.yml"
        for text in (
            json.dumps(value),
            json.dumps({"output": value}),
            json.dumps({"output": {"file": value}}),
        ):
            path.write_text(text)
            try:
                load(str(path), (), {})
            except ConfigError as error:
                shown = str(error)
            else:
                continue
            assert str(path) in shown


@pytest.mark.parametrize(
    ("environment", "root", "expected"),
    [
        ({}, True, "/var/lib/kpanic/kpanic.db"),
        ({"XDG_STATE_HOME": "/s"}, False, "/s/kpanic/kpanic.db"),
        ({"HOME": "/home/u"}, False, "/home/u/.local/state/kpanic/kpanic.db"),
    ],
)
def test_the_store_has_a_default_folder(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, *, root: bool
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    assert str(Config().store_path()) == expected


def test_the_schema_knows_every_section_and_output() -> None:
    schema = configuration.schema()
    assert set(schema["properties"]["output"]["properties"]) >= {
        "opensearch",
        "elasticsearch",
        "fluentd",
        "file",
    }
    assert schema["properties"]["path"]["$ref"] == "#/$defs/PathConfig"
    assert schema["$defs"]["PathConfig"]["properties"]["data"]["type"] == "string"


def test_the_schema_knows_each_input_s_own_keys() -> None:
    kinds = {
        kind["properties"]["type"]["const"]: kind
        for kind in configuration.schema()["properties"]["inputs"]["items"]["oneOf"]
    }
    assert sorted(kinds) == plugins.names(configuration.INPUTS)
    assert kinds["file"]["required"] == ["type", "paths"]
    assert kinds["pstore"]["properties"]["unlink"]["default"] is False
    assert not any(kind["additionalProperties"] for kind in kinds.values())
