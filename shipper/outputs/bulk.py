"""What the two search engines share: documents in chunks, the ``_bulk`` request, an outcome a document.

An outcome follows only from the engine's answer about that document. Answers about the whole request only
decide whether the next request is smaller or later.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from kpanic.shipper.api import (
    TLS,
    DeliveryStatus,
    Outcome,
    Positive,
    ReadFile,
    Seconds,
    Settings,
    Stored,
    Unavailable,
    base_url,
    check_url,
    connection_error,
    read_secret,
    timestamp,
)
from kpanic.shipper.outputs.bulk_actions import Action, bulk_actions
from kpanic.shipper.outputs.bulk_answers import item_status, names_documents, reason_of
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["BulkOutput", "Reply", "SearchConfig"]

CHUNK_BYTES: Final = 5_000_000
"""Maximum bytes of a request; engines sync once per request, and half this size drains a spool a fifth
slower.
"""
PATIENCE: Final = 3
"""Refusals of a whole request before it is halved."""


class Signatures(Settings, frozen=True, kw_only=True):
    """The ``signatures`` keys."""

    seeded: bool = False
    """Mark every new signature as known before, not only those of a backfill, so that none alerts. Meant for
    the days after an update that renames signatures.
    """


class SearchConfig(Settings, frozen=True, kw_only=True):
    """What ``output.opensearch`` and ``output.elasticsearch`` have in common."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    ssl: TLS = TLS()
    compression_level: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
    """Level of gzip, 0 for no compression."""
    timeout: Seconds = 90
    bulk_max_size: Positive = 500
    signatures: Signatures = Signatures()

    def __post_init__(self) -> None:
        for index, host in enumerate(self.hosts):
            check_url(host, f"hosts[{index}]", "https://search:9200")
        if self.password and self.password_file:
            raise ValueError("password and password_file exclude each other")

    def urls(self) -> list[str]:
        """Return the addresses with scheme and port."""
        return [base_url(host, 9200, self.ssl) for host in self.hosts]

    def authorization(self) -> str:
        """Return the value of the header ``Authorization``; empty without a user.

        :raises ValueError: a secret cannot be read; the text begins with its key.
        """
        password = read_secret(self.password, self.password_file, "password")
        return f"Basic {b64encode(f'{self.username}:{password}'.encode()).decode()}" if self.username else ""


class Reply(NamedTuple):
    """An answer of the engine: the HTTP status, and the body, decoded if it was JSON."""

    status: int
    data: Any


class _Chunk(NamedTuple):
    """Consecutive documents of a batch, each with its actions."""

    stored: list[Stored]
    actions: list[list[Action]]


class BulkOutput:
    """A search engine that speaks ``_bulk``."""

    name: ClassVar[str]
    product: ClassVar[str]
    """The product's usual spelling."""

    def __init__(self, config: SearchConfig) -> None:
        authorization = config.authorization()
        from kpanic.shipper.outputs.search_client import SearchClient  # noqa: PLC0415 - slow to import

        self.urls = config.urls()
        self._documents = config.bulk_max_size
        self._seeded = config.signatures.seeded
        self._busy = 0
        self._client = SearchClient(
            self.urls,
            authorization=authorization,
            tls=config.ssl,
            compression_level=config.compression_level,
            timeout=config.timeout,
        )

    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Send a request and return the answer, with any status.

        :param path: below the engine's address, with the query.
        :param body: bytes of newline delimited JSON, or anything that JSON can express.
        :raises Unavailable: there was no answer in time, or not this engine's.
        """
        from elastic_transport import ConnectionError, ConnectionTimeout  # noqa: A004, PLC0415

        try:
            meta, data = self._client.request(method, path, body)
        except (ConnectionError, ConnectionTimeout) as error:
            raise Unavailable(f"{self.name}: {', '.join(self.urls)}: {connection_error(error)}") from error
        except Exception as error:  # a foreign answer may raise any error
            raise Unavailable(
                f"{self.name}: {self.urls[0]} gave no answer of {self.product}: {type(error).__name__}"
            ) from error
        if 200 <= meta.status < 300:  # noqa: PLR2004
            self._recognise(meta.headers)
        return Reply(meta.status, data)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send in chunks; a chunk that is refused as a whole is sent again in halves.

        :raises Unavailable: no document of the batch was settled.
        """
        outcomes: list[Outcome] = []
        waiting = deque(self._chunks(batch))
        try:
            while waiting:
                chunk = waiting.popleft()
                if settled := self._deliver(chunk):
                    outcomes += settled
                else:
                    half = len(chunk.stored) // 2
                    waiting.appendleft(_Chunk(chunk.stored[half:], chunk.actions[half:]))
                    waiting.appendleft(_Chunk(chunk.stored[:half], chunk.actions[:half]))
        except Unavailable as error:
            if not outcomes:
                raise
            left = [stored for chunk in waiting for stored in chunk.stored]
            tried = {outcome.id for outcome in outcomes} | {stored.id for stored in left}
            missing = [stored for stored in batch if stored.id not in tried]
            outcomes += [Outcome(stored.id, DeliveryStatus.RETRY, str(error)) for stored in missing + left]
        return outcomes

    def check(self) -> str:
        """Ask for health, for the right to write and for the template, and return the answers.

        A user who may only create documents learns little: each question may stay unanswered.

        :raises Unavailable: no engine answers, or the user is not known.
        """
        where = f"{self.product} at {', '.join(self.urls)}"
        status, data = self.request("GET", "/_cluster/health")
        if status == 401:  # noqa: PLR2004
            raise Unavailable(self._refused(status, data))
        known = status == 200  # noqa: PLR2004
        health = data if known and isinstance(data, dict) else {}
        nodes = health.get("number_of_nodes")
        said = [str(health.get("status", "reached"))]
        if isinstance(nodes, int):
            said[0] += f", {counted(nodes, 'node')}"
        said += self._rights()
        status, _ = self.request("GET", "/_index_template/kernel-panic")
        if status == 404:  # noqa: PLR2004
            said.append("the index template is missing: run `kpanic setup --index-management`")
        return f"{where}: {'; '.join(said)}"

    def _recognise(self, headers: Mapping[str, str]) -> None:
        """Check that an answer is this engine's.

        :param headers: of an answer that reports success.
        :raises Unavailable: the answer is another product's.
        """

    def _rights(self) -> Iterable[str]:
        """Return the missing rights of the user; empty if the engine cannot be asked."""
        return ()

    def _chunks(self, batch: Sequence[Stored]) -> Iterator[_Chunk]:
        moment = timestamp()
        chunk, size, signatures = _Chunk([], []), 0, set[str]()
        for stored in batch:
            actions = bulk_actions(stored, moment, seeded=self._seeded, known=signatures)
            length = sum(len(action.lines) for action in actions)
            if chunk.stored and (size + length > CHUNK_BYTES or len(chunk.stored) >= self._documents):
                yield chunk
                chunk, size = _Chunk([], []), 0
            chunk.stored.append(stored)
            chunk.actions.append(actions)
            size += length
        if chunk.stored:
            yield chunk

    def _deliver(self, chunk: _Chunk) -> list[Outcome]:
        """Send one chunk; return no outcomes if it must be sent again in halves.

        :raises Unavailable: the answer settles no document.
        """
        request = b"".join(action.lines for actions in chunk.actions for action in actions)
        status, data = self.request("POST", "/_bulk", request)
        if status == 200:  # noqa: PLR2004
            self._busy = 0
            return self._outcomes(chunk, data)
        reason = f"{status}: {reason_of(data)}"
        if status == 413 or (status == 400 and names_documents(data)):  # noqa: PLR2004
            if len(chunk.stored) > 1:
                return []
            return [Outcome(chunk.stored[0].id, DeliveryStatus.REJECTED, reason)]
        if status == 429:  # noqa: PLR2004
            # A request beyond the engine's indexing pressure gets the same answer as a busy engine's.
            self._busy += 1
            if self._busy > PATIENCE and len(chunk.stored) > 1:
                return []
        raise Unavailable(self._refused(status, data))

    def _outcomes(self, chunk: _Chunk, data: Any) -> list[Outcome]:  # noqa: ANN401 - JSON of any shape
        items = data.get("items") if isinstance(data, dict) else None
        if not isinstance(items, list) or len(items) != sum(map(len, chunk.actions)):
            raise Unavailable(
                f"{self.name}: {self.urls[0]} answered 200 without an item for each document of the request"
            )
        outcomes, left = [], iter(items)
        for stored, actions in zip(chunk.stored, chunk.actions, strict=True):
            found = [item_status(next(left), action.id) for action in actions]
            status, reason = max(found, key=lambda pair: _SEVERITY[pair[0]])
            outcomes.append(Outcome(stored.id, status, reason))
        return outcomes

    def _refused(self, status: int, data: object) -> str:
        """Return a line for the operator with the reason why the engine refuses all documents."""
        what = {
            401: "does not know this user or password; check username and password",
            403: "does not allow this user to write; it needs create_doc and auto_configure",
            429: "is too busy",
        }.get(status, "takes nothing" if status >= 500 else "is not answering as a search engine does")  # noqa: PLR2004
        return f"{self.name}: {self.urls[0]} {what} ({status}: {reason_of(data)})"


_SEVERITY: Final = {DeliveryStatus.DELIVERED: 0, DeliveryStatus.REJECTED: 1, DeliveryStatus.RETRY: 2}
