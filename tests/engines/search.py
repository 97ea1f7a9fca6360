"""A real OpenSearch or Elasticsearch node, which can be queried, killed and restarted."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engines import parts
from tests.waiting import until

if TYPE_CHECKING:
    import ssl

START_SECONDS = 300
DROPPED = ("jdk.incubator.vector", "gc.log", "HeapDump", "ErrorFile")
"""Lines of jvm.options: a module that the trimmed JDK lacks, and files in the read-only tree."""
RELEASES = {
    "opensearch": ("org.opensearch.distribution.integ-test-zip", "3.4.0"),
    "elasticsearch": ("org.elasticsearch.distribution.integ-test-zip", "8.19.0"),
}
MODULES = {
    "opensearch": {
        "lang-painless": "org.opensearch.painless.PainlessModulePlugin",
        "ingest-common": "org.opensearch.ingest.common.IngestCommonModulePlugin",
    },
}
"""Modules that the distributions for users have; those of Elasticsearch are not published."""


@dataclass
class Engine:
    """An engine for tests, possibly a cluster of the user; :class:`Node` can also be killed and restarted."""

    product: str
    url: str
    user: tuple[str, str] | None = None
    tls: ssl.SSLContext | None = None

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request without code of kpanic; return the JSON of the answer, also of an error."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"content-type": "application/json"})  # noqa: S310
        request.method = method
        if self.user:
            token = base64.b64encode(":".join(self.user).encode()).decode()
            request.add_header("authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.tls) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
        return json.loads(text or b"{}")

    def found(self, index: str, query: object = None) -> list[dict[str, Any]]:
        """Return all documents of an index as ``hits``, after a refresh."""
        self.ask("POST", f"/{index}/_refresh")
        answer = self.ask("POST", f"/{index}/_search", {"size": 10000, "query": query or {"match_all": {}}})
        hits: list[dict[str, Any]] = answer.get("hits", {}).get("hits", [])
        return hits

    def count(self, index: str) -> int:
        """Return the number of documents of an index."""
        self.ask("POST", f"/{index}/_refresh")
        counted: int = self.ask("GET", f"/{index}/_count").get("count", 0)
        return counted


@dataclass
class Node(Engine):
    """A node that the tests start."""

    settings: dict[str, object] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    users: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Users of the file realm: name to password and role."""
    heap: str = "512m"

    def __post_init__(self) -> None:
        group, version = RELEASES[self.product]
        self.tree = parts.distribution(group, self.product, version, MODULES.get(self.product))
        self.folder = Path(tempfile.mkdtemp(prefix=f"kpanic-{self.product}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = int(self.url.rpartition(":")[2])
        for name in ("data", "logs", "tmp"):
            (self.folder / name).mkdir()
        shutil.copytree(self.tree / "config", self.folder / "config")
        self._configure()
        if parts.ROOT:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, parts.NOBODY, parts.NOBODY)

    @property
    def environment(self) -> dict[str, str]:
        prefix = "OPENSEARCH" if self.product == "opensearch" else "ES"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            f"{prefix}_JAVA_HOME": str(parts.java()),
            f"{prefix}_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap}",
            f"{prefix}_PATH_CONF": str(self.folder / "config"),
            f"{prefix}_TMPDIR": str(self.folder / "tmp"),
        }

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "logs" / "console").open("ab") as console:
            self.process = subprocess.Popen(
                [self.tree / "bin" / self.product],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=parts.NOBODY if parts.ROOT else None,
            )
        process = self.process

        def answers() -> bool:
            assert process.poll() is None
            with contextlib.suppress(OSError):
                health = self.ask("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
                return bool(health.get("status"))
            return False

        try:
            until(answers, START_SECONDS, every=0.3)
        except AssertionError as error:
            text = (self.folder / "logs" / "console").read_text(errors="replace")
            self.kill()
            raise RuntimeError(f"{self.product} did not start:\n{text[-3000:]}") from error

    def kill(self) -> None:
        """Kill it, as in a power failure; Elasticsearch's server is a child of the started process."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def running(self) -> bool:
        """Whether it is running."""
        return self.process is not None

    def remove(self) -> None:
        """Stop it, and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        config = self.folder / "config"
        for path in (config / "jvm.options", *(config / "jvm.options.d").glob("*")):
            lines = path.read_text().splitlines()
            path.write_text("\n".join(line for line in lines if not any(word in line for word in DROPPED)))
        settings: dict[str, object] = {
            "cluster.name": f"kpanic-{self.port}",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "transport.port": parts.free_port(self.port + 1),
            "discovery.type": "single-node",
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
            "action.destructive_requires_name": False,
        }
        if self.product == "elasticsearch":
            settings["xpack.security.enabled"] = False
        settings |= self.settings
        # JSON is YAML.
        text = "".join(
            f"{key}: {json.dumps(value)}\n" for key, value in settings.items() if value is not None
        )
        (config / f"{self.product}.yml").write_text(text)
        for name, content in self.files.items():
            (config / name).write_bytes(content)
        for name, (password, _) in self.users.items():
            with (config / "users").open("a") as users:
                users.write(f"{name}:{_hash(password)}\n")
        roles = (f"{role}:{name}\n" for name, (_, role) in self.users.items())
        if self.users:
            (config / "users_roles").write_text("".join(roles))


def cluster(count: int, heap: str = "384m") -> list[Node]:
    """Return OpenSearch nodes that form a cluster; they must be started together."""
    ports = [parts.free_port(23_000) for _ in range(2 * count)]
    names = [f"node-{number}" for number in range(count)]
    return [
        Node(
            "opensearch",
            f"http://127.0.0.1:{port}",
            settings={
                "cluster.name": f"kpanic-{ports[0]}",
                "node.name": name,
                "transport.port": transport,
                "discovery.type": None,
                "discovery.seed_hosts": [f"127.0.0.1:{port}" for port in ports[count:]],
                "cluster.initial_cluster_manager_nodes": names,
            },
            heap=heap,
        )
        for name, port, transport in zip(names, ports[:count], ports[count:], strict=True)
    ]


def _hash(password: str) -> str:
    """Hash a password like ``elasticsearch-users`` with ``pbkdf2``; the tool starts a JVM for each user."""
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
