"""HTTP to a search engine through elastic-transport, which the clients of Elasticsearch are built on.

Each request goes to one of the engine's hosts, and to the next host if that one takes no connections.

:see: https://elastic-transport-python.readthedocs.io/
"""

from __future__ import annotations

import gzip
import logging
import warnings
from typing import TYPE_CHECKING, Any

from kpanic.shipper.outputs.hidden_imports import hidden

with hidden("aiohttp", "httpx", "requests"):  # it would import installed ones, in 0.15 s
    from elastic_transport import Transport, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, url_to_node_config

from kpanic.shipper.api import TLS, tls_context, trust_context_only
from kpanic.shipper.outputs.bounded_answers import bound_answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic_transport import HttpHeaders, NodeConfig, TransportApiResponse
    from elastic_transport.client_utils import DefaultType

__all__ = ["SearchClient"]


class SearchClient:
    """Connections to the hosts of one engine.

    :param urls: with scheme and port.
    :param authorization: the header's value; empty for none.
    :param compression_level: gzip's, 0 for none.
    :param timeout: seconds for each read of an answer, and for the answer as a whole.
    """

    def __init__(
        self, urls: Sequence[str], *, authorization: str, tls: TLS, compression_level: int, timeout: float
    ) -> None:
        # The library logs each failure with a traceback; kpanic logs one line.
        logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
        headers = {"user-agent": "kpanic"}
        if authorization:
            headers["authorization"] = authorization
        context = tls_context(tls) if any(url.startswith("https:") for url in urls) else None
        self._transport = Transport(
            [
                url_to_node_config(url).replace(
                    headers=headers,
                    request_timeout=timeout,
                    ssl_context=context if url.startswith("https:") else None,
                )
                for url in urls
            ],
            node_class=_node(compression_level, tls),
            # Another try uses another host; the pipeline decides when to try the same host again.
            max_retries=len(urls) - 1,
            retry_on_status=(),
            meta_header=False,
        )

    def request(self, method: str, path: str, body: object) -> TransportApiResponse:
        """Send a request and return the answer, with any status.

        :param body: bytes of newline delimited JSON, anything that JSON can express, or None.
        :raises elastic_transport.TransportError: there was no answer in time, or it could not be decoded.
        """
        headers = {"accept": "application/json"}
        if body is not None:
            kind = "x-ndjson" if isinstance(body, bytes) else "json"
            headers["content-type"] = f"application/{kind}"
        with warnings.catch_warnings(action="ignore"):  # the configuration itself turns the verification off
            return self._transport.perform_request(method, path, headers=headers, body=body)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _node(level: int, tls: TLS) -> type[Urllib3HttpNode]:
    """Return the library's node with kpanic's compression (its own level 9 is slow), trust and limits."""

    class Node(Urllib3HttpNode):
        def __init__(self, config: NodeConfig) -> None:
            super().__init__(config)
            bound_answers(self.pool)
            if config.scheme == "https":
                trust_context_only(self.pool, tls)

        def perform_request(
            self,
            method: str,
            target: str,
            body: bytes | None = None,
            headers: HttpHeaders | None = None,
            request_timeout: DefaultType | float | None = DEFAULT,
        ) -> Any:  # noqa: ANN401 - its type is private
            if body and level and headers is not None:
                body = gzip.compress(body, level)
                headers = headers.copy()
                headers["content-encoding"] = "gzip"
            return super().perform_request(method, target, body, headers, request_timeout)

    return Node
