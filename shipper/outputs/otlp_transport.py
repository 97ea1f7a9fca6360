"""OTLP over gRPC and over HTTP: sends a request and interprets the answer.

:see: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc, #otlphttp
"""

from __future__ import annotations

import gzip
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from kpanic.shipper.api import Unavailable, base_url, connection_error, hide_secrets, tls_context
from kpanic.shipper.outputs.bounded_answers import bound_answers
from kpanic.shipper.outputs.otlp import PartlyRefused, Refused

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    from kpanic.shipper.outputs.otlp import OtlpConfig

__all__ = ["Transport", "transport"]

ANSWER_BYTES: Final = 65_536
"""Maximum bytes of an answer."""
GRPC_OPTIONS: Final = (("grpc.initial_reconnect_backoff_ms", 500), ("grpc.max_reconnect_backoff_ms", 5_000))
"""The pipeline owns the backoff: the library's own reaches two minutes."""
GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318
_REFUSED_STATUS: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 422}


class Transport(Protocol):
    """Sends requests to a receiver."""

    def send(self, request: ExportLogsServiceRequest) -> None:
        """Send a request, and wait until it is taken.

        :raises Unavailable: it is not taken this time.
        :raises Refused: it will never be taken.
        :raises PartlyRefused: some of its records will never be taken.
        """

    def close(self) -> None:
        """Close the connection."""


def transport(config: OtlpConfig) -> Transport:
    """Return the transport of the settings.

    :raises ValueError: a setting cannot be used.
    """
    return _Grpc(config) if config.protocol == "grpc" else _Http(config)


class _Grpc:
    def __init__(self, config: OtlpConfig) -> None:
        import grpc  # noqa: PLC0415 - an extra
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (  # noqa: PLC0415
            LogsServiceStub,
        )

        self._grpc = grpc
        self._config = config
        parts = urlsplit(config.endpoint)
        target = f"{parts.hostname}:{parts.port or GRPC_PORT}"
        packing = grpc.Compression.Gzip if config.compression == "gzip" else grpc.Compression.NoCompression
        if parts.scheme == "https":
            self._channel = grpc.secure_channel(target, self._credentials(), GRPC_OPTIONS, packing)
        else:
            self._channel = grpc.insecure_channel(target, GRPC_OPTIONS, packing)
        self._export = LogsServiceStub(self._channel).Export  # type: ignore[no-untyped-call] # it has no types
        self._headers = [(key.lower(), value) for key, value in config.headers.items()]

    def _credentials(self) -> Any:  # noqa: ANN401 - it has no types
        tls = self._config.ssl
        if tls.verification_mode != "full":
            raise ValueError("ssl.verification_mode: gRPC always checks certificate and name")
        tls_context(tls)  # names the file that cannot be used
        roots = b"".join(Path(path).read_bytes() for path in tls.certificate_authorities)
        return self._grpc.ssl_channel_credentials(
            roots or None,
            Path(tls.key or tls.certificate).read_bytes() if tls.certificate else None,
            Path(tls.certificate).read_bytes() if tls.certificate else None,
        )

    def send(self, request: ExportLogsServiceRequest) -> None:
        try:
            answer = self._export(request, timeout=self._config.timeout, metadata=self._headers)
        except self._grpc.RpcError as error:
            code, details = error.code(), hide_secrets(str(error.details() or ""))
            reason = f"{code.name}: {details}"
            too_large = code is self._grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details
            if code is self._grpc.StatusCode.INVALID_ARGUMENT or too_large:
                raise Refused(reason) from None
            raise Unavailable(f"otlp: {self._config.endpoint}: {reason}") from None
        _check(answer)

    def close(self) -> None:
        self._channel.close()


class _Http:
    def __init__(self, config: OtlpConfig) -> None:
        import urllib3  # noqa: PLC0415 - few outputs need it

        self._timeout = config.timeout
        base = base_url(config.endpoint, HTTP_PORT, config.ssl)
        self._url = base if urlsplit(base).path else f"{base}/v1/logs"
        self._target = urllib3.util.parse_url(self._url).request_uri
        self._gzip = config.compression == "gzip"
        self._headers = {"content-type": "application/x-protobuf", **config.headers}
        tls = {"ssl_context": tls_context(config.ssl)} if base.startswith("https:") else {}
        self._pool = urllib3.connection_from_url(self._url, retries=False, timeout=self._timeout, **tls)
        bound_answers(self._pool)
        self._errors = urllib3.exceptions.HTTPError

    def send(self, request: ExportLogsServiceRequest) -> None:
        body, headers = request.SerializeToString(), self._headers
        if self._gzip:
            body, headers = gzip.compress(body, 1), {**headers, "content-encoding": "gzip"}
        try:
            with self._pool.request(
                "POST", self._target, body=body, headers=headers, redirect=False, preload_content=False
            ) as answer:
                status, data = answer.status, answer.read(ANSWER_BYTES)
        except (self._errors, OSError) as error:
            raise Unavailable(f"otlp: {self._url}: {connection_error(error)}") from error
        if status == HTTPStatus.OK:
            try:
                _check(ExportLogsServiceResponse.FromString(data))
            except DecodeError:
                raise Unavailable(f"otlp: {self._url} gave no answer of OTLP") from None
            return
        said = " ".join(hide_secrets(data.decode("utf-8", "replace")).split())[:200]
        reason = f"HTTP {status}: {''.join(one if one.isprintable() else '?' for one in said)}"
        if status in _REFUSED_STATUS:
            raise Refused(reason)
        raise Unavailable(f"otlp: {self._url}: {reason}")

    def close(self) -> None:
        self._pool.close()


def _check(answer: ExportLogsServiceResponse) -> None:
    partial = answer.partial_success
    if partial.rejected_log_records > 0:
        raise PartlyRefused(partial.error_message or "the receiver refused it and does not say why")
