"""OpenSearch, through opensearch-py.

:see: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

import gzip
import logging
import warnings
from typing import TYPE_CHECKING

from kpanic.shipper.api import (
    TLS,
    Unavailable,
    connection_error,
    read_secret,
    tls_context,
    trust_context_only,
)
from kpanic.shipper.outputs.bounded_answers import bound_answers
from kpanic.shipper.outputs.bulk import BulkOutput, Reply, SearchConfig

if TYPE_CHECKING:
    from opensearchpy import Urllib3HttpConnection

__all__ = ["OpenSearchOutput"]


class OpenSearchOutput(BulkOutput):
    """``output.opensearch``."""

    Config = SearchConfig
    name = "opensearch"
    product = "OpenSearch"

    def __init__(self, config: SearchConfig) -> None:
        password = read_secret(config.password, config.password_file, "password")
        super().__init__(config)
        import opensearchpy  # noqa: PLC0415 - slow to import, and most commands send nothing

        # It logs each failure with a traceback; ours is one line.
        logging.getLogger("opensearch").setLevel(logging.CRITICAL)
        self._client = opensearchpy.OpenSearch(
            self.urls,
            http_auth=(config.username, password) if config.username else None,
            ssl_context=tls_context(config.ssl)
            if any(url.startswith("https:") for url in self.urls)
            else None,
            connection_class=_connection(config.ssl),
            timeout=config.timeout,
            # Another try is another host; when to try the same one again is the pipeline's decision.
            max_retries=len(self.urls) - 1,
            retry_on_status=(),
        )
        self._errors = opensearchpy.TransportError
        self._level = config.compression_level

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request; see :meth:`BulkOutput.request`."""
        headers = {}
        if isinstance(body, bytes):
            headers["content-type"] = "application/x-ndjson"
            if self._level:
                headers["content-encoding"] = "gzip"
                body = gzip.compress(body, self._level)  # the client's own is level 9: three times slower
        try:
            with warnings.catch_warnings(action="ignore"):  # deprecations are the template's business
                data = self._client.transport.perform_request(method, path, body=body, headers=headers)
        except self._errors as error:
            if isinstance(error.status_code, int):
                return Reply(error.status_code, error.info or error.error)
            raise Unavailable(f"{self.name}: {', '.join(self.urls)}: {connection_error(error)}") from error
        except Exception as error:  # an answer of anybody else raises whatever its body provokes
            raise Unavailable(
                f"{self.name}: {self.urls[0]} gave no answer of OpenSearch: {connection_error(error)}"
            ) from error
        return Reply(200, data)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _connection(tls: TLS) -> type[Urllib3HttpConnection]:
    """Return the client's connection with our rules of trust and of answers."""
    from opensearchpy import Urllib3HttpConnection  # noqa: PLC0415 - see above

    class Connection(Urllib3HttpConnection):
        def _create_urllib3_pool(self) -> None:
            super()._create_urllib3_pool()
            bound_answers(self.pool)
            if self.use_ssl:
                trust_context_only(self.pool, tls)

    return Connection
