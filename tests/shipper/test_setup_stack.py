"""``kpanic setup``: the requests for dashboards and rules.

No Kibana, OpenSearch Dashboards, Alerting plugin or Watcher can be had here. A stand-in speaks their
documented interfaces: it shows what is sent and how answers are read, not that the real ones take it. The
engine that does without any of them is a real one.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import ssl
import threading
import uuid
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from kpanic.dashboards import export
from kpanic.dashboards.products import kibana_alerting
from kpanic.dashboards.rules import RULES
from tests.engines.monitors import read
from tests.shipper.test_cli import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.search import Engine

Json = dict[str, Any]
RULES = {rule.id: kibana_alerting.rule_id(rule) for rule in RULES}


class StandIn:
    """A server in place of all others; ``rules``, ``monitors`` and ``watches`` are the installed ones."""

    def __init__(self, tls: trustme.LeafCert | None = None) -> None:
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.imported: list[str] = []
        self.deleted: list[str] = []
        self.answers: dict[str, tuple[int, Json]] = {}
        """Scripted answers, by the beginning of the path."""
        self.rules: dict[str, Json] = {}
        self.monitors: dict[str, Json] = {}
        self.watches: dict[str, Json] = {}
        self.connector = ".slack"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers["content-encoding"] == "gzip":
                    content = gzip.decompress(content)
                outer.requests.append((self.command, self.path))
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                status, body = outer.answer(self.command, self.path, content, self.headers["content-type"])
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("x-elastic-product", "Elasticsearch")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815 - named by http.server

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wrote(self) -> list[tuple[str, str]]:
        """Return the requests that change something, since the last call."""
        found = [one for one in self.requests if one[0] != "GET" and not one[1].endswith("_search")]
        self.requests.clear()
        return found

    def answer(self, method: str, path: str, content: bytes, kind: str | None) -> tuple[int, Json]:
        for start, instead in self.answers.items():
            if path.startswith(start):
                return instead
        path = re.sub(r"^/s/[^/]+", "", path)
        if path == "/api/saved_objects/_import?overwrite=true":
            return self._import(content, kind or "")
        if path.startswith("/api/actions/connector/"):
            return 200, {"id": path.rpartition("/")[2], "connector_type_id": self.connector}
        body = json.loads(content) if content else {}
        if method == "DELETE":
            return self._delete(path)
        if path.startswith("/api/alerting/rule/"):
            return self._rule(method, path.rpartition("/")[2], body)
        if path.startswith("/_plugins/_alerting/monitors"):
            return self._monitor(method, path, body)
        if path.startswith("/_watcher/watch/"):
            return self._watch(method, path.rpartition("/")[2], body)
        return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}

    def _import(self, content: bytes, kind: str) -> tuple[int, Json]:
        message = BytesParser(policy=HTTP).parsebytes(
            b"content-type: " + kind.encode() + b"\r\n\r\n" + content
        )
        (part,) = message.iter_parts()  # type: ignore[attr-defined]
        assert part.get_filename() == "kernel-panics.ndjson"
        text = part.get_payload(decode=True).decode()
        self.imported.append(text.replace("\r\n", "\n"))
        return 200, {"success": True, "successCount": len(text.splitlines()), "warnings": []}

    def _watch(self, method: str, name: str, body: Json) -> tuple[int, Json]:
        if method == "PUT":
            self.watches[name] = body
            return 201, {"_id": name, "created": True}
        if name not in self.watches:
            return 404, {"_id": name, "found": False}
        return 200, {"_id": name, "found": True, "watch": self.watches[name]}

    def _delete(self, path: str) -> tuple[int, Json]:
        self.deleted.append(path)
        name = path.rpartition("/")[2]
        for kept in (self.rules, self.monitors, self.watches):
            if kept.pop(name, None) is not None:
                return 200, {}
        return (200, {}) if path.startswith("/api/saved_objects/") else (404, {"message": "Not Found"})

    def _rule(self, method: str, name: str, body: Json) -> tuple[int, Json]:
        if method == "GET" and name not in self.rules:
            return 404, {"statusCode": 404, "error": "Not Found", "message": f"alert/{name} not found"}
        if method == "POST":
            assert uuid.UUID(name).version == 4
            self.rules[name] = {"id": name, "enabled": True} | body
        elif method == "PUT":
            assert body.keys() == {"name", "tags", "schedule", "params", "actions"}
            self.rules[name] |= body
        shown = [action | {"connector_type_id": ".slack"} for action in self.rules[name]["actions"]]
        return 200, self.rules[name] | {"actions": shown}

    def _monitor(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        if path.endswith("/_search"):
            if not self.monitors:  # its index is created with the first monitor
                reason = "Configured indices are not found: [.opendistro-alerting-config]"
                return 404, {"error": {"type": "alerting_exception", "reason": reason}, "status": 404}
            hits = [
                {"_id": name, "_seq_no": 7, "_primary_term": 1, "_source": monitor}
                for name, monitor in self.monitors.items()
            ]
            return 200, {"hits": {"hits": hits}}
        name = path.rpartition("/")[2].partition("?")[0] if method == "PUT" else f"m{len(self.monitors)}"
        if method == "PUT":
            assert path.endswith("?if_seq_no=7&if_primary_term=1")
        self.monitors[name] = body
        return 201 if method == "POST" else 200, {"_id": name, "monitor": body}


@pytest.fixture
def server() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


def keys(**given: object) -> list[str]:
    return [word for key, value in given.items() for word in ("-E", f"{key.replace('__', '.')}={value}")]


@pytest.mark.parametrize(
    ("product", "form", "header", "key"),
    [
        ("kibana", "kibana", "kbn-xsrf", "space.id"),
        ("opensearch_dashboards", "opensearch-dashboards", "osd-xsrf", "tenant"),
    ],
)
def test_dashboards_are_imported_as_they_are_exported(  # noqa: PLR0913, PLR0917
    server: StandIn, kpanic: Run, product: str, form: str, header: str, key: str
) -> None:
    to = ["-E", f"setup.{product}.host={server.url}", "-E", f"setup.{product}.{key}=team"]
    to += ["-E", f"setup.{product}.username=u", "-E", f"setup.{product}.password=p"]
    for _ in range(2):
        out, _ = kpanic("setup", "--dashboards", *to)
        count = len(export("dashboard", form).splitlines())
        assert out == f"{product}: dashboards: {count} objects imported\n"
    assert server.imported == [export("dashboard", form)] * 2
    path = "/api/saved_objects/_import?overwrite=true"
    assert server.wrote() == [("POST", f"/s/team{path}" if product == "kibana" else path)] * 2
    assert server.headers[0][header] == "true"
    assert server.headers[0]["authorization"] == f"Basic {base64.b64encode(b'u:p').decode()}"
    if product != "kibana":
        assert server.headers[0]["securitytenant"] == "team"


def test_errors_in_an_answer_of_200_are_read(server: StandIn, kpanic: Run) -> None:
    conflict = {"type": "missing_references", "references": [{"type": "index-pattern", "id": "x"}]}
    errors = [{"type": "visualization", "id": "kpanic-a", "error": conflict}]
    server.answers["/api/saved_objects"] = (200, {"success": False, "successCount": 3, "errors": errors})
    _, err = kpanic("setup", "--dashboards", *keys(setup__kibana__host=server.url), code=1)
    assert err == (
        "kpanic: kibana: dashboards: 3 objects imported, not all:"
        " visualization kpanic-a: missing_references: index-pattern x\n"
    )


def test_rules_go_to_kibana_once_and_keep_what_people_added(server: StandIn, kpanic: Run) -> None:
    to = keys(setup__kibana__host=server.url)
    out, _ = kpanic("setup", "--alerts", *to)
    assert out.splitlines() == [
        f"kibana: alert {name}: installed; it has no action: set setup.alerts.kibana_connector, or add one"
        for name in RULES
    ]
    assert server.rules.keys() == set(RULES.values())
    server.wrote()

    out, _ = kpanic("setup", "--alerts", *to)
    assert out.splitlines() == [f"kibana: alert {name}: as it should be" for name in RULES]
    assert server.wrote() == []

    mine = {"id": "c1", "group": "query matched", "params": {"message": "!"}, "uuid": "1"}
    server.rules[RULES["outbreak"]] |= {"enabled": False, "actions": [mine]}
    out, _ = kpanic("setup", "--alerts", *to, *keys(setup__alerts__outbreak_hosts=9))
    assert "kibana: alert outbreak: renewed\n" in out
    assert server.wrote() == [("PUT", f"/api/alerting/rule/{RULES['outbreak']}")]
    assert server.rules[RULES["outbreak"]]["enabled"] is False
    assert server.rules[RULES["outbreak"]]["actions"] == [mine]
    assert "count > 8" in server.rules[RULES["outbreak"]]["params"]["esqlQuery"]["esql"]


def test_a_kibana_connector_gets_the_messages(server: StandIn, kpanic: Run) -> None:
    to = keys(setup__kibana__host=server.url, setup__alerts__kibana_connector="c1")
    assert "it has no action" not in kpanic("setup", "--alerts", *to)[0]
    (action,) = server.rules[RULES["new-signature"]]["actions"]
    assert action["id"] == "c1"
    assert "{{#_source.title}}Title: {{.}}" in action["params"]["message"]

    mine = {"id": "c1", "group": "query matched", "params": {"message": "page me"}, "uuid": "1"}
    server.rules[RULES["outbreak"]]["actions"].append(mine)
    server.wrote()
    out, _ = kpanic("setup", "--alerts", *to)
    assert "kibana: alert outbreak: as it should be\n" in out
    assert server.wrote() == []
    kpanic("setup", "--alerts", *to, *keys(setup__alerts__outbreak_hosts=9))
    ours, theirs = server.rules[RULES["outbreak"]]["actions"]
    assert theirs == mine
    assert "on 9 hosts or more" in ours["params"]["message"]

    server.connector = ".email"
    out, _ = kpanic("setup", "--alerts", *to)
    assert out.startswith("kibana: alerts: a connector of type .email needs more than a text")
    server.answers["/api/actions"] = (404, {"message": "no c1"})
    _, err = kpanic("setup", "--alerts", *to, code=1)
    assert err.startswith("kpanic: kibana: setup.alerts.kibana_connector: 404: no c1")


def test_monitors_are_found_by_name_and_keep_what_people_added(server: StandIn, kpanic: Run) -> None:
    to = keys(output__opensearch__hosts=server.url)
    names = [f"kpanic-{name}" for name in RULES]
    out, _ = kpanic("setup", "--alerts", *to)
    assert [line.split(";")[0] for line in out.splitlines()] == [
        f"opensearch: monitor {name}: installed" for name in names
    ]
    assert [monitor["name"] for monitor in server.monitors.values()] == names
    server.wrote()

    def stored() -> None:
        """Read and write the monitors with the engine's code, as the plugin does with installed ones."""
        for name, known in zip(server.monitors, read("monitors", [*server.monitors.values()]), strict=True):
            server.monitors[name] = known

    stored()
    out, _ = kpanic("setup", "--alerts", *to)
    assert out.splitlines() == [f"opensearch: monitor {name}: as it should be" for name in names]
    assert server.wrote() == []

    mine = {"id": "x", "name": "page me", "destination_id": "d"}
    outbreak = server.monitors["m2"]
    outbreak["enabled"] = False
    outbreak["triggers"][0]["bucket_level_trigger"]["actions"] = [mine]
    out, _ = kpanic("setup", "--alerts", *to, *keys(setup__alerts__outbreak_hosts=9))
    assert [line.split(";")[0] for line in out.splitlines()] == [
        f"opensearch: monitor {name}: {'renewed' if name == 'kpanic-outbreak' else 'as it should be'}"
        for name in names
    ]
    trigger = server.monitors["m2"]["triggers"][0]["bucket_level_trigger"]
    assert trigger["condition"]["script"]["source"] == "params.count > 8"
    assert (trigger["actions"], server.monitors["m2"]["enabled"]) == ([mine], False)
    assert len(server.monitors) == len(names)

    channel = keys(setup__alerts__opensearch_channel="ch")
    for _ in range(2):
        kpanic("setup", "--alerts", *to, *channel)
        for monitor in server.monitors.values():
            (trigger,) = (next(iter(one.values())) for one in monitor["triggers"])
            told = [action["destination_id"] for action in trigger["actions"]]
            assert told == ["ch", *(["d"] if monitor["name"] == "kpanic-outbreak" else [])]
    stored_actions = server.monitors["m2"]["triggers"][0]["bucket_level_trigger"]["actions"]
    kpanic("setup", "--alerts", *to, *keys(setup__alerts__opensearch_channel="other"))
    told = server.monitors["m2"]["triggers"][0]["bucket_level_trigger"]["actions"]
    assert [action["destination_id"] for action in told] == ["other", "d"]
    assert len(stored_actions) == 2


def test_a_dry_run_says_what_a_run_would_and_changes_nothing(server: StandIn, kpanic: Run) -> None:
    to = keys(setup__kibana__host=server.url, setup__opensearch_dashboards__host=server.url)
    to += keys(output__opensearch__hosts=server.url)
    dry, _ = kpanic("setup", "--alerts", "--dashboards", "--dry-run", *to)
    assert server.wrote() == []
    done, _ = kpanic("setup", "--alerts", "--dashboards", *to)
    assert dry.splitlines() == [f"dry run: {line}" for line in done.splitlines()]
    assert "monitor kpanic-outbreak: installed" in dry


def test_teardown_removes_what_setup_made_and_nothing_else(server: StandIn, kpanic: Run) -> None:
    to = keys(setup__kibana__host=server.url, output__opensearch__hosts=server.url)
    kpanic("setup", "--alerts", "--dashboards", *to)
    server.rules["theirs"] = {"name": "my rule"}
    server.monitors["mine"] = {"name": "kpanic-of-mine"}
    made = {(one["type"], one["id"]) for one in map(json.loads, export("dashboard", "kibana").splitlines())}
    out, _ = kpanic("teardown", "--alerts", "--dashboards", *to)
    assert server.rules.keys() == {"theirs"}
    assert server.monitors.keys() == {"mine"}
    objects = {
        tuple(path.split("/")[3:]) for path in server.deleted if path.startswith("/api/saved_objects/")
    }
    assert made <= objects
    assert all(identity.startswith("kpanic-") for _, identity in objects)
    assert "kibana: alert outbreak: removed\n" in out
    assert "opensearch: monitor kpanic-outbreak: removed\n" in out
    again, _ = kpanic("teardown", "--alerts", *to)
    assert "kibana: alert outbreak: not there\n" in again


def test_indices_older_than_the_policy_are_put_under_it(kpanic: Run) -> None:
    """No engine of the tests has Index State Management; the answers are from its documentation."""
    server = StandIn()
    policy = json.loads(export("policy", "opensearch"))
    key = "index.plugins.index_state_management.policy_id"
    names = [f".ds-logs-kernel.panic-default-00000{n}" for n in (1, 2, 3)]
    server.answers |= {
        "/_plugins/_ism/policies/": (200, policy | {"_seq_no": 1, "_primary_term": 1}),
        "/_plugins/_ism/explain/": (
            200,
            {names[0]: {key: None}, names[1]: {key: "kernel-panic"}, names[2]: {key: "other"}, "total": 2},
        ),
        "/_plugins/_ism/add/": (200, {"updated_indices": 1, "failures": False, "failed_indices": []}),
        "/_index_template": (200, {"index_templates": [{"index_template": {}}]}),
        "/logs-kernel": (200, {}),
        "/kernel-panic-signatures": (200, {}),
    }
    out, _ = kpanic("setup", "--index-management", *keys(output__opensearch__hosts=server.url))
    server.close()
    assert f"retention policy kernel-panic: put on older indices: {names[0]}\n" in out
    assert f"index {names[2]}: left alone: it is under the retention policy other\n" in out
    assert ("POST", f"/_plugins/_ism/add/{names[0]}") in server.requests


def test_watches_go_to_elasticsearch_unless_kibana_has_the_rules(server: StandIn, kpanic: Run) -> None:
    to = keys(output__elasticsearch__hosts=server.url)
    out, _ = kpanic("setup", "--alerts", *to)
    names = [f"kpanic-{name}" for name in RULES]
    assert out.splitlines() == [f"elasticsearch: watch {name}: installed" for name in names]
    server.watches["kpanic-outbreak"]["actions"]["page"] = {"email": {}}
    server.wrote()
    out, _ = kpanic("setup", "--alerts", *to)
    assert out.splitlines() == [f"elasticsearch: watch {name}: as it should be" for name in names]
    assert server.wrote() == []
    kpanic("setup", "--alerts", *to, *keys(setup__alerts__outbreak_hosts=9))
    assert server.watches["kpanic-outbreak"]["actions"].keys() == {"page", "log"}

    server.watches.clear()
    out, _ = kpanic("setup", "--alerts", *to, *keys(setup__kibana__host=server.url))
    assert server.watches == {}
    assert len(server.rules) == len(names)


def test_a_real_engine_without_alerting_is_reported_and_the_rest_continues(
    engine: Engine, kpanic: Run
) -> None:
    lacks = {"opensearch": "no alerting plugin", "elasticsearch": "no Watcher"}[engine.product]
    out, _ = kpanic("setup", *keys(**{f"output__{engine.product}__hosts": engine.url}))
    assert f"{engine.product}: index template kernel-panic: " in out
    (line,) = [line for line in out.splitlines() if ": alerts: " in line]
    assert line.startswith(f"{engine.product}: alerts: not installed: this engine has {lacks}; ")


def test_a_server_that_wants_a_login_or_is_not_there_is_one_clear_line_each(
    server: StandIn, kpanic: Run
) -> None:
    server.answers["/api"] = (401, {"message": "[security_exception]"})
    gone = keys(setup__opensearch_dashboards__host="http://127.0.0.1:9")
    _, err = kpanic("setup", "--dashboards", *keys(setup__kibana__host=server.url), *gone, code=1)
    login, absent = err.splitlines()
    assert login == f"kpanic: kibana: {server.url} does not know this user or password"
    assert absent.startswith("kpanic: opensearch_dashboards: http://127.0.0.1:9: ")
    assert "refused" in absent

    server.answers["/api"] = (404, {"message": "Not Found"})
    _, err = kpanic("setup", "--dashboards", *keys(setup__kibana__host=server.url), code=1)
    assert err.endswith("404: Not Found; is this Kibana, and does the space exist?\n")


def test_tls_is_trusted_as_an_output_would(kpanic: Run, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = StandIn(authority.issue_cert("127.0.0.1"))
    to = keys(setup__kibana__host=server.url, setup__kibana__api_key="id:key")
    _, err = kpanic("setup", "--dashboards", *to, code=1)
    assert "certificate not trusted" in err
    kpanic(
        "setup", "--dashboards", *to, *keys(setup__kibana__ssl__certificate_authorities=tmp_path / "ca.pem")
    )
    assert server.headers[-1]["authorization"] == f"ApiKey {base64.b64encode(b'id:key').decode()}"
    kpanic("setup", "--dashboards", *to, *keys(setup__kibana__ssl__verification_mode="none"))
    server.close()


def test_an_exported_dashboard_is_named_as_the_import_wants_it(kpanic: Run) -> None:
    export_it = ("export", "dashboard", "--format", "opensearch-dashboards", "-o")
    _, err = kpanic(*export_it, kpanic.folder / "panics.json")
    assert err.endswith("panics.json: OpenSearch Dashboards imports it only from a file named .ndjson\n")
    assert kpanic(*export_it, kpanic.folder / "panics.ndjson")[1] == ""


def test_elastalert2_gets_a_file_a_rule_with_the_sites_way_out(kpanic: Run) -> None:
    (kpanic.folder / "kpanic.yml").write_text(
        "setup.alerts.elastalert2:\n  alert: [slack]\n  slack_webhook_url: https://hooks/x\n"
    )
    (kpanic.folder / "rules").mkdir()
    kpanic("export", "alert", "--format", "elastalert2", "-c", "kpanic.yml", "-o", "rules")
    files = {path.name: yaml.safe_load(path.read_text()) for path in (kpanic.folder / "rules").iterdir()}
    assert files.keys() == {f"kpanic-{name}.yaml" for name in RULES}
    for rule in files.values():
        assert (rule["alert"], rule["slack_webhook_url"]) == (["slack"], "https://hooks/x")


def test_a_cause_that_no_crash_has_is_doubted(kpanic: Run) -> None:
    watched = "setup.alerts.watched_causes=machine_check, oom, sysrq"
    out, err = kpanic("export", "alert", "--format", "elastalert2", "-E", watched)
    assert "kernel.panic.cause: sysrq" in out
    assert err == (
        "kpanic: setup.alerts.watched_causes: kpanic itself names no cause machine_check; the nearest is"
        " machine-check\nkpanic: setup.alerts.watched_causes: kpanic itself names no cause oom\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dashboards", "-E", "output.opensearch.hosts=x:1"], "neither setup.kibana.host nor"),
        (["--alerts"], "neither output.opensearch nor output.elasticsearch is configured"),
        (["-E", "setup.kibana.hots=x"], "-E setup.kibana.hots: there is no such key; the nearest is host"),
        (["-E", "setup.kibana.host=ftp://x"], "-E setup.kibana.host: "),
        (["-E", "setup.alerts.outbreak_hosts=0"], "-E setup.alerts.outbreak_hosts: expected a whole number"),
    ],
)
def test_impossible_options_give_one_clear_line(kpanic: Run, arguments: list[str], said: str) -> None:
    _, err = kpanic("setup", *arguments, code=2)
    (line,) = err.splitlines()
    assert line.startswith(f"kpanic: {said}")
