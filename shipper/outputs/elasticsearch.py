"""Elasticsearch, 7.14 or newer: that says its name in every answer.

:see: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipper.outputs._bulk import BulkOutput, SearchConfig
from shipper.outputs._settings import secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ElasticsearchConfig", "ElasticsearchOutput"]


class ElasticsearchConfig(SearchConfig, frozen=True, kw_only=True):
    """``output.elasticsearch``."""

    api_key: str = ""
    """``id:key``, as Filebeat takes it."""
    api_key_file: str = ""

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
        super().__init__(config, api_key=secret(config.api_key, config.api_key_file, "api_key"))

    def _foreign(self, headers: Mapping[str, str]) -> str:
        if headers.get("x-elastic-product") == "Elasticsearch":
            return ""
        return "is not Elasticsearch; for OpenSearch use output.opensearch"

    def _rights(self) -> Iterable[str]:
        names = ["logs-kernel.panic-*", "kernel-panic-signatures"]
        wanted = {"index": [{"names": names, "privileges": ["create_doc", "auto_configure"]}]}
        status, data = self.request("POST", "/_security/user/_has_privileges", wanted)
        if status == 200 and not data["has_all_requested"]:  # noqa: PLR2004
            yield "the user may not write: it needs create_doc and auto_configure on " + ", ".join(names)
