"""Clients of Kibana and OpenSearch Dashboards for ``kpanic setup``, configured by Filebeat's keys.

:see: https://www.elastic.co/docs/api/doc/kibana (saved objects, alerting),
    https://docs.opensearch.org/latest/dashboards/management/multi-tenancy/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from kpanic.shipper.api import (
    TLS,
    Positive,
    ReadFile,
    Seconds,
    Settings,
    Unavailable,
    check_url,
    connection_error,
    read_secret,
    tls_context,
)
from kpanic.shipper.outputs.bulk import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AlertsConfig", "Frontend", "SetupConfig"]


class _Server(Settings, frozen=True, kw_only=True):
    """Keys that both servers have."""

    host: str = ""
    """``https://kibana:5601``, with its path if it has one."""
    public_url: str = ""
    """Address for browsers, in the links of alerts; by default ``host``."""
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    ssl: TLS = TLS()
    timeout: Seconds = 90

    def __post_init__(self) -> None:
        for key in ("host", "public_url"):
            if getattr(self, key):
                check_url(getattr(self, key), key, "https://kibana:5601")

    def url(self) -> str:
        """Return the address with its scheme, without a slash at its end."""
        parts = urlsplit(self.host if "//" in self.host else f"//{self.host}")
        scheme = parts.scheme or ("https" if self.ssl != TLS() else "http")
        name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{scheme}://{name}:{parts.port or 5601}{parts.path.rstrip('/')}"

    def address(self) -> str:
        """Return the address for browsers, without a slash at its end; empty if nothing is configured."""
        return self.public_url.rstrip("/") or (self.url() if self.host else "")


class SpaceConfig(Settings, frozen=True, kw_only=True):
    """``setup.kibana.space``."""

    id: str = ""
    """Id of the space; the default space if empty."""


class KibanaConfig(_Server, frozen=True, kw_only=True):
    """``setup.kibana``."""

    api_key: str = ""
    """``id:key``, or the encoded key, as in Filebeat."""
    api_key_file: ReadFile = ""
    space: SpaceConfig = SpaceConfig()

    def address(self) -> str:
        """Return the address for browsers, including the space; empty if nothing is configured."""
        found = super().address()
        return f"{found}/s/{quote(self.space.id, safe='')}" if found and self.space.id else found


class OpenSearchDashboardsConfig(_Server, frozen=True, kw_only=True):
    """``setup.opensearch_dashboards``."""

    tenant: str = ""
    """Tenant; the user's default if empty, ``global`` for all users."""


class AlertsConfig(Settings, frozen=True, kw_only=True):
    """``setup.alerts``."""

    watched_causes: tuple[str, ...] = ("machine-check", "out-of-memory")
    """Values of ``kernel.panic.cause`` that alert for each panic."""
    outbreak_hosts: Positive = 3
    """Number of hosts with the same signature within an hour that count as an outbreak."""
    opensearch_channel: str = ""
    """Id of the notification channel for messages of OpenSearch's monitors."""
    kibana_connector: str = ""
    """Id of the connector for messages of Kibana's rules."""
    elastalert2: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    """Keys for each ElastAlert2 rule: ``alert: slack`` and its settings."""


class SetupConfig(Settings, frozen=True, kw_only=True):
    """``setup``: the servers that take dashboards and alert rules."""

    kibana: KibanaConfig = KibanaConfig()
    opensearch_dashboards: OpenSearchDashboardsConfig = OpenSearchDashboardsConfig()
    alerts: AlertsConfig = AlertsConfig()


class Frontend:
    """A connection to Kibana or OpenSearch Dashboards.

    :raises ValueError: the configuration is not usable.
    """

    def __init__(self, config: KibanaConfig | OpenSearchDashboardsConfig) -> None:
        import urllib3  # noqa: PLC0415 - both engines' clients bring it

        self.url = config.url()
        self._base = self.url
        self._timeout = config.timeout
        password = read_secret(config.password, config.password_file, "password")
        headers: dict[str, str] = {}
        if config.username:
            headers |= urllib3.make_headers(basic_auth=f"{config.username}:{password}")
        if isinstance(config, KibanaConfig):
            self.name, self.product = "kibana", "Kibana"
            headers["kbn-xsrf"] = "true"
            if key := read_secret(config.api_key, config.api_key_file, "api_key"):
                import base64  # noqa: PLC0415

                encoded = base64.b64encode(key.encode()).decode() if ":" in key else key
                headers["authorization"] = f"ApiKey {encoded}"
            if config.space.id:
                self._base += f"/s/{quote(config.space.id, safe='')}"
        else:
            self.name, self.product = "opensearch_dashboards", "OpenSearch Dashboards"
            headers["osd-xsrf"] = "true"
            if config.tenant:
                headers["securitytenant"] = config.tenant
        self._headers = headers
        options: dict[str, Any] = {}
        if self.url.startswith("https:"):
            options["ssl_context"] = tls_context(config.ssl)
            if config.ssl.verification_mode != "full":
                options["assert_hostname"] = False
        # All requests can be repeated; a redirect leads to a login page.
        retries = urllib3.Retry(
            3, redirect=False, allowed_methods=None, status_forcelist=(502, 503, 504), backoff_factor=0.2
        )
        self._pool = urllib3.PoolManager(retries=retries.new(raise_on_status=False), **options)
        self._errors = urllib3.exceptions.HTTPError

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request; return the answer's JSON, or its text if it is not JSON.

        :raises Unavailable: there was no answer.
        """
        content = json.dumps(body).encode() if body is not None else None
        kind = {"content-type": "application/json"} if body is not None else {}
        return self._send(method, path, kind, {"body": content})

    def upload(self, path: str, name: str, content: str) -> Reply:
        """Post a file as a multipart form.

        :raises Unavailable: there was no answer.
        """
        file = (name, content.encode(), "application/ndjson")
        return self._send("POST", path, {}, {"fields": {"file": file}})

    def _send(self, method: str, path: str, headers: Mapping[str, str], content: Any) -> Reply:  # noqa: ANN401
        try:
            answer = self._pool.request(
                method,
                self._base + path,
                headers={**self._headers, **headers},
                timeout=self._timeout,
                redirect=False,
                **content,
            )
        except self._errors as error:
            raise Unavailable(f"{self.name}: {self.url}: {connection_error(error)}") from error
        try:
            data: object = msgspec.json.decode(answer.data)
        except msgspec.DecodeError:
            data = answer.data.decode("utf-8", "replace")[:500]
        if answer.status in {401, 302}:
            raise Unavailable(f"{self.name}: {self.url} does not know this user or password")
        return Reply(answer.status, data)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
