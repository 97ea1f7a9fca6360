"""A real ElastAlert2, in its own environment, because it pins an incompatible client."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import venv
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.engines import parts

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "2.19.0"
STEPS = """
import sys
from elastalert.elastalert import ElastAlerter
alerter = ElastAlerter(["--pin_rules", "--config", sys.argv[1]])
for rule in alerter.rules:
    rule.setdefault("initial_starttime", None)
print("ready", flush=True)
for line in sys.stdin:
    alerter.run_all_rules()
    print("done", flush=True)
"""
"""ElastAlert2's loop, which runs once for each line of input: as a daemon it would wait for seconds."""


def python() -> Path:
    """The interpreter of the environment."""
    folder = parts.cache() / f"elastalert2-{VERSION}-python{sys.version_info.major}.{sys.version_info.minor}"
    with parts.made_once(folder) as work:
        if work:
            venv.create(work, with_pip=True, symlinks=True)
            # It imports pytz without depending on it.
            command = [
                work / "bin" / "python",
                "-m",
                "pip",
                "install",
                "-q",
                f"elastalert2=={VERSION}",
                "pytz",
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder / "bin" / "python"


class ElastAlert:
    """ElastAlert2 with kpanic's rules; ``step`` runs each rule once."""

    def __init__(self, folder: Path, url: str, rules: dict[str, dict[str, Any]]) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        (folder / "rules").mkdir(parents=True, exist_ok=True)
        for name, rule in rules.items():
            (folder / "rules" / name).write_text(json.dumps(rule))  # JSON is YAML
        self.config = folder / "config.yaml"
        self.config.write_text(
            json.dumps(
                {
                    "rules_folder": str(folder / "rules"),
                    "scan_subdirectories": False,
                    "run_every": {"seconds": 1},
                    "buffer_time": {"minutes": 15},
                    "es_host": host,
                    "es_port": int(port),
                    "writeback_index": "elastalert_status",
                    "alert_time_limit": {"minutes": 10},
                    "disable_rules_on_error": False,
                }
            )
        )
        self.log = folder / "log"
        self.python = python()
        self._process: subprocess.Popen[str] | None = None

    def create_index(self) -> None:
        """Create ElastAlert2's indices in the engine."""
        command = [self.python, "-m", "elastalert.create_index", "--config", self.config]
        subprocess.run(command, check=True, capture_output=True, timeout=180)

    def start(self) -> None:
        """Start, and wait until it has read its rules."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [self.python, "-c", STEPS, str(self.config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._expect("ready")

    def step(self) -> None:
        """Run each rule once."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._expect("done")

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
            self._process = None

    def _expect(self, word: str) -> None:
        assert self._process
        assert self._process.stdout
        said = self._process.stdout.readline().strip()
        assert said == word, f"{said}\n{self.log.read_text()[-3000:]}"


class Receiver:
    """Receives alerts like Slack; ``alerts`` has the path and the text of each."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []
        self.failures = 0
        """Number of the next alerts that are refused."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.failures:
                    outer.failures -= 1
                    self.send_response(503)
                else:
                    outer.alerts.append((self.path.strip("/"), json.loads(body)["attachments"][0]["text"]))
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def taken(self) -> list[tuple[str, str]]:
        """Return the alerts since the last call."""
        taken, self.alerts = self.alerts, []
        return taken

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
