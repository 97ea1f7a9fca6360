"""Messages of the service to real receivers, without an engine."""

from __future__ import annotations

import html
import json
import math
import re
import signal
import subprocess
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kpanic import grammars
from kpanic.dashboards.products.message import jinja, opening
from kpanic.dashboards.rules import Options, rules
from kpanic.shipper.api import hide_secrets
from kpanic.shipper.document import build
from kpanic.shipper.notices import Notices
from kpanic.shipper.notify import inert
from kpanic.shipper.notify_config import NotifyConfig, Target, service
from kpanic.shipper.origin import Origin
from kpanic.shipper.packed import pack
from kpanic.shipper.store import Store
from kpanic.shipper.triage import Entry, Triage
from tests.shipper import processes
from tests.shipper.processes import KPANIC
from tests.waiting import lines_of, stays, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from kpanic.dashboards.products.notification import Fired

pytest.importorskip("apprise")
pytest.importorskip("aiosmtpd")
from tests.engines.messages import Mail, Slack, Web

LOGS = Path(__file__).parent.parent / "logs"
GPF = LOGS / "lab" / "6.1.0-56-amd64-x86_64-gpf.log"
NULL = LOGS / "lab" / "6.1.0-56-amd64-x86_64-null_read.log"
TOKENS = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
SECRET = "correct-horse-77"  # noqa: S105 - made up


def undated(log: Path) -> bytes:
    """Return a console's log without a time, which the folder's name must give."""
    return b"".join(
        line
        for line in log.read_bytes().splitlines(keepends=True)
        if b"setting system clock" not in line and b"RTC" not in line
    )


class Machines:
    """The service, and kdump folders of several machines."""

    def __init__(self, folder: Path, targets: str, environment: dict[str, str]) -> None:
        self.crash = folder / "crash"
        self.errors = folder / "errors"
        self.config = folder / "kpanic.yml"
        self.environment = environment
        self.config.write_text(
            f"""
path.data: {folder}/data
inputs: [{{type: kdump, paths: ['{self.crash}/{{host}}'], scan_interval: 0.1, settle: 0}}]
setup.alerts: {{watched_causes: [null-dereference], outbreak_hosts: 3}}
notify.targets:
{targets}
"""
        )
        self.crash.mkdir()

    def die(self, host: str, log: Path = GPF, *, days: int = 0) -> None:
        """Write the files that kdump writes for a crash, of now or of some days ago."""
        moment = datetime.now().astimezone() + timedelta(seconds=5, days=-days)
        folder = self.crash / host / f"127.0.0.1-{moment:%Y-%m-%d-%H:%M:%S}"
        folder.mkdir(parents=True)
        (folder / "vmcore-dmesg.txt").write_bytes(
            undated(log).replace(b"boom: ", f"boom {host}: ".encode())  # no two crashes have the same bytes
        )

    def running(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return processes.service(self.config, self.errors, **self.environment)

    def said(self) -> list[str]:
        return [json.loads(line)["message"] for line in lines_of(self.errors)]

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.said())


@pytest.mark.process
def test_a_new_signature_is_reported_once_despite_an_outage_and_a_restart(tmp_path: Path) -> None:
    web, mail, slack = Web(), Mail(), Slack(tmp_path)
    (tmp_path / "slack").write_text(f"slack://{TOKENS}\n")
    (tmp_path / "slack").chmod(0o600)
    (tmp_path / "password").write_text(SECRET)
    (tmp_path / "password").chmod(0o600)
    targets = f"""
  - {{name: hook, url: 'json://127.0.0.1:{web.port}/kpanic'}}
  - {{name: slack, url_file: {tmp_path}/slack}}
  - name: mail
    url: 'mailto://127.0.0.1:{mail.port}?from=kpanic@example.com&to=oncall@example.com&mode=insecure'
"""
    machines = Machines(tmp_path, targets, slack.environment)

    def told() -> list[int]:
        return [len(web.requests), len(slack.requests), len(mail.messages)]

    machines.die("old", NULL, days=30)  # of a watched cause
    with machines.running() as process:  # no server answers
        until(lambda: machines.has_said("kept: 1 crash from before this store was made"))
        machines.die("web1")
        for name in ("hook", "slack", "mail"):
            until(lambda name=name: machines.has_said(f"notify.{name}: ") and machines.has_said("is kept"))  # type: ignore[misc]
        until(lambda: machines.has_said("kept: web1, "))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with machines.running(), ExitStack() as answering:
        for one in (web, slack, mail):
            answering.enter_context(one.up())
        until(lambda: told() == [1, 1, 1], 120)
        for name in ("hook", "slack", "mail"):  # recorded: if it is killed before, it sends the message again
            until(lambda name=name: machines.has_said(f"delivered to notify.{name}: web1, "))  # type: ignore[misc]
        machines.die("web2")  # the same signature
        until(lambda: machines.has_said("kept: web2, "))
        stays(lambda: told() == [1, 1, 1], 2)
    with machines.running() as process, ExitStack() as answering:
        for one in (web, slack, mail):
            answering.enter_context(one.up())
        machines.die("web3")  # the third host: an outbreak
        until(lambda: told() == [2, 2, 2], 120)
        stays(lambda: told() == [2, 2, 2], 2)
        tried = subprocess.run(
            [*KPANIC, "test", "notify", "hook", "-c", str(machines.config)], capture_output=True, check=True
        )
        assert tried.stdout == b"hook: took the message\n"
        assert json.loads(web.requests.pop().body)["title"] == "Test message of kpanic"
    slack.close()
    assert not any(token in line for line in machines.said() for token in TOKENS.split("/"))
    first = json.loads(web.requests[0].body)
    assert web.requests[0].path == "/kpanic"
    assert first["title"] == "New kernel-panic signature"
    assert "Title: general protection fault in boom_gpf\n" in first["message"]
    assert "\nHost: web1\n" in first["message"]
    posted = json.loads(slack.requests[0].body)
    assert slack.requests[0].path == f"/services/{TOKENS}"
    assert first["message"].splitlines()[2] in json.dumps(posted)
    letter = mail.messages[0]
    assert (letter["To"], letter["Subject"]) == ("oncall@example.com", "New kernel-panic signature")
    body = letter.get_body(("plain", "html"))
    assert body is not None
    words = html.unescape(re.sub(r"<br/?>", "\n", body.get_content()))
    assert "general protection fault in boom_gpf" in words
    second = json.loads(web.requests[1].body)
    assert second["title"] == "One kernel panic on many hosts"
    assert "Number of hosts: 3\n" in second["message"]


NOW = 1.9e9


class Arrivals:
    """A store, and the rules that its documents fire."""

    def __init__(self, folder: Path, entries: tuple[Entry, ...] = ()) -> None:
        self.store = Store(folder / "kpanic.db")
        self.triage = Triage(entries)
        options = Options(watched_causes=("null-dereference",), outbreak_hosts=3)
        chosen = [rule for rule in rules(options) if not rule.growth]
        self.notices = Notices(self.store, chosen, self.triage)
        self._number = 0

    def arrive(self, host: str, log: Path = GPF, **how: Any) -> list[str]:  # noqa: ANN401 - as of fired
        """Store a crash and return the rules that it fires."""
        return [one.rule.id for one in self.fired(host, log, **how)]

    def fired(
        self,
        host: str,
        log: Path = GPF,
        *,
        provider: str = "kdump",
        history: bool = False,
        again: bool = False,
    ) -> list[Fired]:
        self._number += not again
        before = math.inf if history else None
        origin = Origin(provider, host_stated=host, mtime=NOW, backfill_before=before)
        (report,) = grammars.parse(undated(log).replace(b"[    ", f"[{self._number:4}".encode()))
        document = build(report, origin, now=NOW)
        known = set(self.seqs())
        self.store.add([pack(document)])
        (new,) = set(self.seqs()) - known
        (stored,) = self.store.stored([new])
        fired = self.notices.fired(self.triage.stamp(stored))
        assert [one.rule for one in fired] == [
            one.rule for one in self.notices.fired(self.triage.stamp(stored))
        ]  # the same result for a second call
        return fired

    def seqs(self) -> list[int]:
        return [crash.seq for crash in self.store.each_crash()]


@pytest.fixture
def arrivals(tmp_path: Path) -> Iterator[Arrivals]:
    made = Arrivals(tmp_path)
    with made.store:
        yield made


def test_the_first_crash_of_a_signature_is_news_and_the_next_is_not(arrivals: Arrivals) -> None:
    assert arrivals.arrive("web1") == ["new-signature"]
    assert arrivals.arrive("web2") == []


def test_the_same_crash_by_another_transport_is_reported_once(arrivals: Arrivals) -> None:
    assert arrivals.arrive("web1", NULL, provider="netconsole") == ["new-signature", "watched-cause"]
    assert arrivals.arrive("web1", NULL, provider="pstore", again=True) == []
    assert arrivals.arrive("web1", NULL) == ["watched-cause"]


def test_history_is_never_reported_and_its_signatures_are_known(arrivals: Arrivals) -> None:
    assert arrivals.arrive("web1", NULL, history=True) == []
    assert arrivals.arrive("web1", NULL) == ["watched-cause"]


def test_an_outbreak_is_reported_with_the_host_that_makes_it_one(arrivals: Arrivals) -> None:
    assert [arrivals.arrive(host) for host in ("web1", "web1", "web2")] == [["new-signature"], [], []]
    (outbreak,) = arrivals.fired("web3")
    assert (outbreak.rule.id, outbreak.counted) == ("outbreak", 3)
    assert [arrivals.arrive(host) for host in ("web4", "web5")] == [[], []]


def test_hosts_that_nothing_names_make_no_outbreak(arrivals: Arrivals) -> None:
    assert [arrivals.arrive("") for _ in range(4)] == [["new-signature"], [], [], []]


def test_the_third_crash_of_a_host_within_a_day_is_reported(arrivals: Arrivals) -> None:
    assert [arrivals.arrive("web1") for _ in range(4)] == [["new-signature"], [], ["repeating-host"], []]


def test_ignored_faults_of_the_triage_file_are_not_reported(tmp_path: Path) -> None:
    ignored = Entry(title="*boom_null_read", status="ignored")
    made = Arrivals(tmp_path, (ignored,))
    with made.store:
        assert made.arrive("web1", NULL) == []


def test_the_message_is_that_of_the_stack_s_rule(arrivals: Arrivals) -> None:
    from jinja2 import Template  # noqa: PLC0415

    from kpanic.dashboards.products.notification import notification  # noqa: PLC0415

    (fired,) = arrivals.fired("web1")
    base = "https://dashboards:5601"
    subject, text = notification([fired], base)
    assert subject == fired.rule.name
    assert text == Template(opening(fired.rule) + jinja("signatures", base)).render(fired.document)
    assert f"{base}/app/dashboards#/view/kpanic-" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "x"}, r"^url: expected an address"),
        ({"name": "x", "url": "json://h", "url_file": "/f"}, r"^url and url_file exclude"),
        ({"name": "x", "url": "json://h", "password": "p"}, r"^password: needs username"),
        ({"name": "x", "url": "json://h", "rules": []}, r"^rules: expected at least one"),
    ],
)
def test_a_target_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Target(**settings)


def test_two_targets_have_two_names() -> None:
    with pytest.raises(ValueError, match=r"^targets\[1\].name: appears twice"):
        NotifyConfig(targets=[Target(name="x", url="json://a"), Target(name="x", url="json://b")])


def test_an_address_that_no_service_has_is_refused_without_its_secret() -> None:
    with pytest.raises(ValueError, match=r"^url: Apprise knows no service of this address$"):
        service(Target(name="x", url=f"bogus://{SECRET}@host"))


def test_user_and_password_come_from_their_keys(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss/word\n")
    target = Target(name="x", url="mailto://mail:25?to=a@b.c", username="me", password_file=str(file))
    assert target.address() == "mailto://me:p%40ss%2Fword@mail:25?to=a@b.c"
    assert "p@ss" not in repr(target)


def test_a_token_before_a_colon_is_hidden_too() -> None:
    Target(name="x", url="tgram://123456789:AAHdqTcvCH1vGWJxfSeofSAs/12315544").address()
    assert hide_secrets("bot123456789:AAHdqTcvCH1vGWJxfSeofSAs/x") == "bot[secret]:[secret]/x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Comm: @everyone", "Comm: @ everyone"),
        ("x@here", "x@ here"),
        ("<!channel> <#C024BE91L> <@U024BE7LH>", "<! channel> <# C024BE91L> <@ U024BE7LH>"),
        ("@**all**", "@ **all**"),
        ("<users/all>", "< users/all>"),
        ("<https://x|login> [login](https://x)", "< https://x|login> [login] (https://x)"),
        ("![](https://x/seen.png)", "! [] (https://x/seen.png)"),
        ("<IRQ> usb@3f980000 a[1] <0>", "<IRQ> usb@3f980000 a[1] <0>"),
    ],
)
def test_text_of_a_crash_makes_no_mentions_and_no_links(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_tokens_of_an_address_are_hidden_and_its_words_are_not() -> None:
    Target(name="x", url=f"slack://{TOKENS}/services?token=abcd1234efgh&to=ops-team").address()
    tokens = [*TOKENS.split("/"), "abcd1234efgh"]
    said = hide_secrets(f"services of {' '.join(tokens)} are closed to ops-team")
    assert said == f"services of {' '.join(['[secret]'] * len(tokens))} are closed to ops-team"
