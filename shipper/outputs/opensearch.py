"""OpenSearch.

:see: https://docs.opensearch.org/latest/api-reference/document-apis/bulk/
"""

from __future__ import annotations

from kpanic.shipper.outputs.bulk import BulkOutput, SearchConfig

__all__ = ["OpenSearchOutput"]


class OpenSearchOutput(BulkOutput):
    """``output.opensearch``."""

    Config = SearchConfig
    name = "opensearch"
    product = "OpenSearch"
