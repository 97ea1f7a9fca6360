"""A server that is read but not changed: ``kpanic setup --dry-run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.shipper.outputs.bulk import Reply

if TYPE_CHECKING:
    from kpanic.shipper.frontend import Frontend
    from kpanic.shipper.outputs.bulk import BulkOutput

__all__ = ["DryRun"]


class DryRun:
    """Passes on requests that only read, and answers all others as if they had succeeded."""

    def __init__(self, server: BulkOutput | Frontend) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the server's
        return getattr(self._server, name)

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request to the server, unless it would change something.

        :raises Unavailable: there was no answer.
        """
        if method == "GET" or path.endswith("/_search"):
            return self._server.request(method, path, body)
        return Reply(200, body if isinstance(body, dict) else {})

    def upload(self, path: str, name: str, content: str) -> Reply:  # noqa: ARG002 - as a frontend has it
        """Answer as if each line had been imported."""
        return Reply(200, {"success": True, "successCount": len(content.splitlines())})
