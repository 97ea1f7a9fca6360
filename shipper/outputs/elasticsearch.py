"""Elasticsearch 8 and 9, through elasticsearch-py 8, which both understand.

:see: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

from __future__ import annotations

import gzip
import logging
import warnings
from typing import TYPE_CHECKING, Any

from kpanic.indices import PATTERN, SIGNATURES
from kpanic.shipper.api import (
    ReadFile,
    Unavailable,
    connection_error,
    read_secret,
    tls_context,
    trust_context_only,
)
from kpanic.shipper.outputs.bounded_answers import bound_answers
from kpanic.shipper.outputs.bulk import BulkOutput, Reply, SearchConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from elastic_transport import HttpHeaders, Urllib3HttpNode

    from kpanic.shipper.api import TLS

__all__ = ["ElasticsearchConfig", "ElasticsearchOutput"]


class ElasticsearchConfig(SearchConfig, frozen=True, kw_only=True):
    """``output.elasticsearch``."""

    api_key: str = ""
    """``id:key``, as Filebeat takes it."""
    api_key_file: ReadFile = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.api_key or self.api_key_file) and self.username:
            raise ValueError("api_key and username exclude each other")


class ElasticsearchOutput(BulkOutput):
    """``output.elasticsearch``."""

    Config = ElasticsearchConfig
    name = "elasticsearch"
    product = "Elasticsearch"

    def __init__(self, config: ElasticsearchConfig) -> None:
        password = read_secret(config.password, config.password_file, "password")
        key = read_secret(config.api_key, config.api_key_file, "api_key")
        super().__init__(config)
        import elasticsearch  # noqa: PLC0415 - slow to import, and most commands send nothing

        # It logs each failure with a traceback; ours is one line.
        logging.getLogger("elastic_transport").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {}
        if any(url.startswith("https:") for url in self.urls):
            options["ssl_context"] = tls_context(config.ssl)
        if config.username:
            options["basic_auth"] = (config.username, password)
        if key:
            options["api_key"] = tuple(key.split(":", 1)) if ":" in key else key
        self._client = elasticsearch.Elasticsearch(
            self.urls,
            node_class=_node(config.compression_level, config.ssl),
            request_timeout=config.timeout,
            # Another try is another host; when to try the same one again is the pipeline's decision.
            max_retries=len(self.urls) - 1,
            retry_on_status=(),
            **options,
        )
        self._api_error = elasticsearch.ApiError
        self._foreign = elasticsearch.UnsupportedProductError
        self._no_answer = elasticsearch.TransportError

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request; see :meth:`BulkOutput.request`."""
        kind = "x-ndjson" if isinstance(body, bytes) else "json"
        headers = {"accept": "application/json", "content-type": f"application/{kind}"}
        try:
            with warnings.catch_warnings(action="ignore"):  # deprecations are the template's business
                answer = self._client.perform_request(
                    method,
                    path,
                    headers=headers if body is not None else {"accept": headers["accept"]},
                    body=body,
                )
        except self._foreign as error:
            raise Unavailable(
                f"{self.name}: {self.urls[0]} is not Elasticsearch; for OpenSearch use output.opensearch"
            ) from error
        except self._api_error as error:
            return Reply(error.meta.status, error.body)
        except self._no_answer as error:
            raise Unavailable(f"{self.name}: {', '.join(self.urls)}: {connection_error(error)}") from error
        except Exception as error:  # an answer of anybody else raises whatever its body provokes
            raise Unavailable(
                f"{self.name}: {self.urls[0]} gave no answer of Elasticsearch: {connection_error(error)}"
            ) from error
        return Reply(answer.meta.status, answer.body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _rights(self) -> Iterable[str]:
        names = [PATTERN, SIGNATURES]
        wanted = {"index": [{"names": names, "privileges": ["create_doc", "auto_configure"]}]}
        status, data = self.request("POST", "/_security/user/_has_privileges", wanted)
        if status == 200 and not data["has_all_requested"]:  # noqa: PLR2004
            yield "the user may not write: it needs create_doc and auto_configure on " + ", ".join(names)


def _node(level: int, tls: TLS) -> type[Urllib3HttpNode]:
    """Return the client's node with our rules of compression (its own level 9 is slow), trust and answers."""
    from elastic_transport import NodeConfig, Urllib3HttpNode  # noqa: PLC0415 - see above
    from elastic_transport.client_utils import DEFAULT, DefaultType  # noqa: PLC0415

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
