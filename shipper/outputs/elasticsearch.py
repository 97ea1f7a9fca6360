"""Elasticsearch 8 and 9.

:see: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from kpanic.indices import PATTERN, SIGNATURES
from kpanic.shipper.api import ReadFile, Unavailable, read_secret
from kpanic.shipper.outputs.bulk import BulkOutput, SearchConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ElasticsearchConfig", "ElasticsearchOutput"]


class ElasticsearchConfig(SearchConfig, frozen=True, kw_only=True):
    """``output.elasticsearch``."""

    api_key: str = ""
    """``id:key``, as in Filebeat."""
    api_key_file: ReadFile = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.api_key or self.api_key_file) and self.username:
            raise ValueError("api_key and username exclude each other")

    def authorization(self) -> str:
        """Return the header's value for the user or the key; see :class:`SearchConfig`."""
        key = read_secret(self.api_key, self.api_key_file, "api_key")
        if not key:
            return super().authorization()
        return f"ApiKey {b64encode(key.encode()).decode() if ':' in key else key}"


class ElasticsearchOutput(BulkOutput):
    """``output.elasticsearch``."""

    Config = ElasticsearchConfig
    name = "elasticsearch"
    product = "Elasticsearch"

    def _recognise(self, headers: Mapping[str, str]) -> None:
        if headers.get("x-elastic-product") != "Elasticsearch":
            raise Unavailable(
                f"{self.name}: {self.urls[0]} is not Elasticsearch; for OpenSearch use output.opensearch"
            )

    def _rights(self) -> Iterable[str]:
        names = [PATTERN, SIGNATURES]
        wanted = {"index": [{"names": names, "privileges": ["create_doc", "auto_configure"]}]}
        status, data = self.request("POST", "/_security/user/_has_privileges", wanted)
        if status == 200 and not data["has_all_requested"]:  # noqa: PLR2004
            yield "the user may not write: it needs create_doc and auto_configure on " + ", ".join(names)
