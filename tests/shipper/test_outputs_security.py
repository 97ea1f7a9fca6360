"""Elasticsearch's security: TLS, and a user that may only create documents."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trustme

from kpanic.shipper.api import DeliveryStatus, Unavailable
from kpanic.shipper.delivery import Delivery
from kpanic.shipper.outputs.elasticsearch import ElasticsearchOutput
from kpanic.shipper.outputs.opensearch import OpenSearchOutput
from kpanic.shipper.packed import Packed
from kpanic.shipper.setup import setup_index_management
from kpanic.shipper.store import Store
from tests.engines import parts
from tests.engines.documents import batch, stored
from tests.engines.search import Node
from tests.shipper.test_cli import Run
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines.search import Engine

ROLES = b"""
panic_writer:
  cluster: []
  indices:
    - names: ['logs-kernel.panic-*', 'kernel-panic-signatures']
      privileges: [create_doc, auto_configure]
panic_reader:
  indices:
    - names: ['logs-kernel.panic-*']
      privileges: [read]
"""
PASSWORDS = {"admin": "adm1n-pass", "writer": "wr1ter-pass", "reader": "re4der-pass"}


class Secured:
    """A node with TLS, its users, and the files for clients."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self.context = ssl.create_default_context(cafile=str(self.ca))
        self.node = Node(
            "elasticsearch",
            f"https://127.0.0.1:{parts.free_port(20000)}",
            user=("admin", PASSWORDS["admin"]),
            tls=self.context,
            settings={
                "xpack.security.enabled": True,
                "xpack.security.authc.password_hashing.algorithm": "pbkdf2",
                "xpack.security.http.ssl.enabled": True,
                "xpack.security.http.ssl.key": "key.pem",
                "xpack.security.http.ssl.certificate": "cert.pem",
                "xpack.security.transport.ssl.enabled": False,
            },
            files={
                "key.pem": issued.private_key_pem.bytes(),
                "cert.pem": b"".join(part.bytes() for part in issued.cert_chain_pems),
                "roles.yml": ROLES,
            },
            users={
                "admin": (PASSWORDS["admin"], "superuser"),
                "writer": (PASSWORDS["writer"], "panic_writer"),
                "reader": (PASSWORDS["reader"], "panic_reader"),
            },
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A secured node, started once for this module."""
    if os.environ.get("ELASTICSEARCH_URL"):
        pytest.skip("needs a node of its own, not the one at ELASTICSEARCH_URL")
    try:
        made = Secured(tmp_path_factory.mktemp("tls"))
        made.node.start()
    except Exception as error:  # noqa: BLE001 - downloads, Java, the engine: any of them
        parts.missing("Elasticsearch with security", error)
    yield made
    made.node.remove()


@pytest.fixture
def connect(secured: Secured, tmp_path: Path) -> Iterator[Callable[..., ElasticsearchOutput]]:
    """Connect as a user with a password file."""
    made: list[ElasticsearchOutput] = []

    def make(user: str, **keys: object) -> ElasticsearchOutput:
        path = tmp_path / user
        path.write_text(f"{PASSWORDS.get(user, 'none')}\n")
        config: dict[str, Any] = {
            "hosts": [secured.node.url],
            "username": user,
            "password_file": str(path),
            "ssl": {"certificate_authorities": [str(secured.ca)]},
        }
        made.append(ElasticsearchOutput(msgspec.convert(config | keys, ElasticsearchOutput.Config)))
        return made[-1]

    yield make
    for output in made:
        output.close()


def test_a_user_who_may_only_create_documents_is_enough(
    secured: Secured, connect: Callable[..., ElasticsearchOutput], namespace: str
) -> None:
    list(setup_index_management(connect("admin")))
    output = connect("writer")
    outcomes = output.send(batch(300, namespace))
    assert {outcome.status for outcome in outcomes} == {DeliveryStatus.DELIVERED}
    assert secured.node.count(f"logs-kernel.panic-{namespace}") == 300
    assert output.check() == f"Elasticsearch at {secured.node.url}: reached"


def test_a_user_who_may_not_write_keeps_everything_and_is_reported(
    secured: Secured, connect: Callable[..., ElasticsearchOutput], namespace: str
) -> None:
    output = connect("reader")
    with pytest.raises(
        Unavailable, match=r"403: security_exception: action .* is unauthorized for user \[reader\]"
    ):
        output.send(batch(5, namespace))
    assert "the user may not write: it needs create_doc and auto_configure" in output.check()
    assert secured.node.count(f"logs-kernel.panic-{namespace}") == 0


def test_a_user_who_may_not_set_up_is_reported(connect: Callable[..., ElasticsearchOutput]) -> None:
    with pytest.raises(ValueError, match=r"index template kernel-panic: 403: action .* \[writer\]"):
        list(setup_index_management(connect("writer")))


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("wr1ter-pass", "this user may not change kernel-panic-signatures; name one that may"),
        ("wrong", "does not know this user or password"),
    ],
)
def test_a_user_who_ships_may_not_re_arm_and_is_reported(
    secured: Secured,
    connect: Callable[..., ElasticsearchOutput],
    tmp_path: Path,
    password: str,
    said: str,
) -> None:
    list(setup_index_management(connect("admin")))
    keys = {
        "hosts": secured.node.url,
        "username": "writer",
        "password": password,
        "ssl.certificate_authorities": secured.ca,
    }
    options = [text for key, value in keys.items() for text in ("-E", f"output.elasticsearch.{key}={value}")]
    _, err = Run(tmp_path)("signatures", "re-arm", "v1-00", *options, code=1)
    (line,) = err.splitlines()
    assert said in line


@pytest.mark.parametrize("user", ["writer", "nobody"])
def test_a_wrong_password_keeps_everything_and_is_reported(
    connect: Callable[..., ElasticsearchOutput], namespace: str, user: str
) -> None:
    output = connect(user, password="wrong-pass", password_file="")  # noqa: S106
    said = r"does not know this user or password; check username and password .401: "
    for action in (lambda: output.send(batch(5, namespace)), output.check):
        with pytest.raises(Unavailable, match=said) as told:
            action()
        assert "wrong-pass" not in str(told.value)


def test_a_certificate_of_another_authority_is_not_trusted(
    connect: Callable[..., ElasticsearchOutput], namespace: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for authorities in ([str(other)], []):
        output = connect("writer", ssl={"certificate_authorities": authorities})
        with pytest.raises(Unavailable, match=r"certificate not trusted: "):
            output.send(batch(5, namespace))


def test_a_certificate_for_another_name_is_trusted_only_when_names_do_not_matter(
    secured: Secured, connect: Callable[..., ElasticsearchOutput], namespace: str
) -> None:
    # 127.1 is 127.0.0.1 for the system, but not the name in the certificate.
    hosts, authorities = [secured.node.url.replace("127.0.0.1", "127.1")], [str(secured.ca)]
    with pytest.raises(Unavailable, match=r"certificate not trusted: .*mismatch"):
        connect("writer", hosts=hosts).send(batch(5, namespace))
    ssl = {"certificate_authorities": authorities, "verification_mode": "certificate"}
    outcomes = connect("writer", hosts=hosts, ssl=ssl).send(batch(5, namespace))
    assert {outcome.status for outcome in outcomes} == {DeliveryStatus.DELIVERED}


def test_an_authority_that_is_not_a_file_is_reported(connect: Callable[..., ElasticsearchOutput]) -> None:
    with pytest.raises(ValueError, match=r"ssl.certificate_authorities: /nowhere/ca.pem: No such file"):
        connect("writer", ssl={"certificate_authorities": ["/nowhere/ca.pem"]})


def test_a_missing_password_file_is_reported(connect: Callable[..., ElasticsearchOutput]) -> None:
    with pytest.raises(ValueError, match=r"password_file: /nowhere/password: No such file"):
        connect("writer", password_file="/nowhere/password")  # noqa: S106


def test_unverified_tls_works_on_request(connect: Callable[..., ElasticsearchOutput], namespace: str) -> None:
    output = connect("writer", ssl={"verification_mode": "none"})
    assert {outcome.status for outcome in output.send(batch(5, namespace))} == {DeliveryStatus.DELIVERED}


def test_plain_http_to_a_tls_port_keeps_everything(
    secured: Secured, connect: Callable[..., ElasticsearchOutput], namespace: str
) -> None:
    hosts = [secured.node.url.replace("https", "http")]
    with pytest.raises(Unavailable):
        connect("writer", hosts=hosts).send(batch(5, namespace))


@pytest.mark.parametrize("fault", ["password", "authority"])
def test_held_documents_arrive_once_the_setting_is_fixed(
    secured: Secured,
    connect: Callable[..., ElasticsearchOutput],
    namespace: str,
    tmp_path: Path,
    fault: str,
) -> None:
    list(setup_index_management(connect("admin")))
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    wrong = {
        "password": connect("writer", password="wrong-pass", password_file=""),  # noqa: S106
        "authority": connect("writer", ssl={"certificate_authorities": [str(other)]}),
    }
    with spooled(tmp_path, namespace) as store:
        assert "; everything is kept" in delivered(store, wrong[fault])
        assert store.outputs()[0].pending == 300
        assert delivered(store, connect("writer")) == ""
        assert store.outputs()[0].pending == 0
    assert secured.node.count(f"logs-kernel.panic-{namespace}") == 300


@contextlib.contextmanager
def spooled(folder: Path, namespace: str) -> Iterator[Store]:
    """Store 300 documents, one of which is hardly compressible."""
    documents = batch(300, namespace)
    documents[7] = stored(7, namespace, cause_detail=random.Random(7).randbytes(40_000).hex())  # noqa: S311
    with Store(folder / "kpanic.db") as store:
        store.add(
            [
                Packed(one.id, one.id, "2026-01-01T00:00:00.000Z", fatal=True, body=one.body)
                for one in documents
            ]
        )
        yield store


def delivered(store: Store, output: ElasticsearchOutput | OpenSearchOutput) -> str:
    """Deliver until all documents are settled or the output fails; return the failure."""
    delivery = Delivery(store, output, attempts=1)
    delivery.start()
    delivery.finish()
    delivery.join()
    return delivery.trouble


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 20k;
  proxy_http_version 1.1;
  auth_basic "search";
  auth_basic_user_file {folder}/users;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/valid.pem;
    ssl_certificate_key {folder}/valid.pem;
    location / {{ proxy_pass {engine}; }}
  }}
  server {{
    listen 127.0.0.1:{expired} ssl;
    ssl_certificate {folder}/expired.pem;
    ssl_certificate_key {folder}/expired.pem;
    location / {{ proxy_pass {engine}; }}
  }}
}}
"""


class Nginx:
    """A usual proxy in front of an OpenSearch: TLS, a password, a size limit."""

    def __init__(self, folder: Path, engine: str) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if not program:
            parts.missing("nginx", "it is not installed")
        authority = trustme.CA()
        self.ca = folder / "nginx-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        for name, end in (("valid", None), ("expired", datetime(2020, 1, 1, tzinfo=UTC))):
            authority.issue_cert("127.0.0.1", not_after=end).private_key_and_cert_chain_pem.write_to_path(
                str(folder / f"{name}.pem")
            )
        (folder / "users").write_text("kpanic:{PLAIN}right-pass\n")
        port = parts.free_port(24_000)
        expired = parts.free_port(24_000)
        self.url, self.expired = (f"https://127.0.0.1:{number}" for number in (port, expired))
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, engine=engine, port=port, expired=expired))
        self._process = subprocess.Popen([program, "-c", config, "-e", folder / "error.log"])

        def listens() -> bool:
            assert self._process.poll() is None, (folder / "error.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", expired)):
                return True
            return False

        try:
            until(listens)
        except AssertionError:
            self.close()
            raise

    def close(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def nginx(opensearch: Engine, tmp_path: Path) -> Iterator[Nginx]:
    made = Nginx(tmp_path, opensearch.url)
    yield made
    made.close()


def test_through_nginx_with_tls_a_password_and_a_limit_everything_arrives_once(
    opensearch: Engine, nginx: Nginx, namespace: str, tmp_path: Path
) -> None:
    right = {
        "hosts": [nginx.url],
        "username": "kpanic",
        "password": "right-pass",
        "ssl": {"certificate_authorities": [str(nginx.ca)]},
    }

    def output(**keys: object) -> OpenSearchOutput:
        return OpenSearchOutput(msgspec.convert(right | keys, OpenSearchOutput.Config))

    list(setup_index_management(OpenSearchOutput(OpenSearchOutput.Config(hosts=[opensearch.url]))))
    faults: dict[str, dict[str, object]] = {
        "does not know this user or password": {"password": "wrong-pass"},
        "certificate has expired": {"hosts": [nginx.expired]},
        "certificate not trusted": {"ssl": {}},
    }
    with spooled(tmp_path, namespace) as store:
        for said, keys in faults.items():
            trouble = delivered(store, output(**keys))
            assert said in trouble
            assert "everything is kept" in trouble
            assert "-pass" not in trouble
        assert store.outputs()[0].pending == 300
        assert delivered(store, output()) == ""
        (letter,) = store.dead_letters()
        assert (letter.id, letter.reason[:4]) == (f"v1-{namespace}-000007-kdump", "413:")
        assert (store.outputs()[0].delivered, store.outputs()[0].pending) == (299, 0)
    assert opensearch.count(f"logs-kernel.panic-{namespace}") == 299


@pytest.mark.parametrize("kind", [ElasticsearchOutput, OpenSearchOutput])
@pytest.mark.parametrize("expired", [False, True])
def test_an_expired_certificate_is_not_trusted(
    tmp_path: Path, namespace: str, kind: type[ElasticsearchOutput | OpenSearchOutput], *, expired: bool
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(
        "127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    )
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(serving)
    listener = serving.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    config = {
        "hosts": [f"https://127.0.0.1:{listener.getsockname()[1]}"],
        "ssl": {"certificate_authorities": [str(tmp_path / "ca.pem")]},
    }
    output = kind(msgspec.convert(config, kind.Config))  # type: ignore[arg-type]
    with listener, pytest.raises(Unavailable) as told:
        output.send(batch(1, namespace))
    output.close()
    assert ("certificate not trusted: certificate has expired" in str(told.value)) is expired
