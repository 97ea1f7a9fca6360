"""Grafana Loki: ``output.loki``.

A document is a line of the stream ``{job="kpanic", host="…"}`` at the time of its crash.

:see: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import urllib3

from kpanic.shipper.api import (
    TLS,
    DeliveryStatus,
    Outcome,
    ReadFile,
    Seconds,
    Settings,
    Unavailable,
    base_url,
    check_url,
    connection_error,
    read_secret,
    timestamp,
    tls_context,
    with_delivery_fields,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.shipper.api import Stored


class LokiConfig(Settings, frozen=True, kw_only=True):
    """The keys of ``output.loki``."""

    host: str
    tenant: str = ""
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    ssl: TLS = TLS()
    timeout: Seconds = 30

    def __post_init__(self) -> None:
        check_url(self.host, "host", "https://loki:3100")


class LokiOutput:
    """Pushes a batch in one request."""

    Config = LokiConfig
    name = "loki"

    def __init__(self, config: LokiConfig) -> None:
        self._url = base_url(config.host, 3100, config.ssl)
        headers = {"content-type": "application/json"}
        if config.tenant:
            headers["x-scope-orgid"] = config.tenant
        if config.username:
            password = read_secret(config.password, config.password_file, "password")
            headers |= urllib3.make_headers(basic_auth=f"{config.username}:{password}")
        self._http = urllib3.PoolManager(
            headers=headers, timeout=config.timeout, retries=False, ssl_context=tls_context(config.ssl)
        )

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Push a batch; if Loki refuses a part, push it line by line, as the answer does not name it."""
        if not batch:
            return []
        if self._push(batch):
            return [self._send_alone(stored) for stored in batch]
        return [Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in batch]

    def check(self) -> str:
        """Ask whether Loki is ready."""
        status, answer = self._request("GET", "/ready")
        if status != 200:
            raise Unavailable(f"loki: {self._url} is not ready ({status}: {answer})")
        return f"Loki at {self._url}: ready"

    def close(self) -> None:
        """Close the connections."""
        self._http.clear()

    def _send_alone(self, stored: Stored) -> Outcome:
        try:
            refused = self._push([stored])
        except Unavailable as error:
            return Outcome(stored.id, DeliveryStatus.RETRY, str(error))
        return Outcome(stored.id, DeliveryStatus.REJECTED if refused else DeliveryStatus.DELIVERED, refused)

    def _push(self, batch: Sequence[Stored]) -> str:
        """Return why Loki refused some of the lines; empty if it accepted all."""
        streams = [_stream(stored, timestamp()) for stored in batch]
        status, answer = self._request("POST", "/loki/api/v1/push", json.dumps({"streams": streams}).encode())
        if status == 400:
            return answer or "400"
        if status != 204:
            raise Unavailable(f"loki: {self._url} takes nothing ({status}: {answer})")
        return ""

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        try:
            response = self._http.request(method, self._url + path, body=body, preload_content=False)
            answer = response.read(10_000).decode("utf-8", "replace")
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"loki: {self._url}: {connection_error(error)}") from error
        return response.status, " ".join(answer.split())


def _stream(stored: Stored, ingested: str) -> dict[str, object]:
    document = json.loads(stored.body)
    crashed = datetime.fromisoformat(document.get("@timestamp") or ingested)
    line = with_delivery_fields(stored.body, ingested, document_id=stored.id).decode()
    host = document.get("host", {}).get("name", "unknown")
    nanoseconds = str(int(crashed.timestamp() * 1000) * 1_000_000)
    return {"stream": {"job": "kpanic", "host": host}, "values": [[nanoseconds, line]]}
