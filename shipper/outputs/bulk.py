"""What the two engines share: chunks of documents, the ``_bulk`` request, a verdict a document.

A verdict follows from what the engine said of that very document and from nothing else. Answers that
are about the whole request decide only how to ask again: smaller, or later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.api import (
    ALREADY_THERE,
    TLS,
    DeliveryStatus,
    Outcome,
    Positive,
    ReadFile,
    Seconds,
    Settings,
    Stored,
    Unavailable,
    check_url,
    timestamp,
    with_delivery_fields,
)
from kpanic.shipper.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["BulkOutput", "Reply", "SearchConfig"]

CHUNK_BYTES = 5_000_000  # engines sync once a request: half of it drains a spool a fifth slower
REASON_CHARACTERS = 2_000  # an engine quotes the document
NEXT_LINES = 3  # what to do, in the message of an alert
KEYWORD_LIMIT = 1024  # ECS's ignore_above
PATIENCE = 3  # refusals of a whole request before it is halved


class Signatures(Settings, frozen=True, kw_only=True):
    """The ``signatures`` keys."""

    seeded: bool = False
    """Mark every new signature as known before, so that none pages, not only those of a backfill: for the
    days after an update that names signatures anew."""


class SearchConfig(Settings, frozen=True, kw_only=True):
    """What ``output.opensearch`` and ``output.elasticsearch`` have in common."""

    hosts: Annotated[list[str], msgspec.Meta(min_length=1)]
    username: str = ""
    password: str = ""
    password_file: ReadFile = ""
    ssl: TLS = TLS()
    compression_level: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
    """gzip's, 0 for none."""
    timeout: Seconds = 90
    bulk_max_size: Positive = 500
    signatures: Signatures = Signatures()

    def __post_init__(self) -> None:
        for index, host in enumerate(self.hosts):
            check_url(host, f"hosts[{index}]", "https://search:9200")
        if self.password and self.password_file:
            raise ValueError("password and password_file exclude each other")

    def urls(self) -> list[str]:
        """Addresses with scheme and port, as both clients want them."""
        found = []
        for host in self.hosts:
            parts = urlsplit(host if "//" in host else f"//{host}")
            scheme = parts.scheme or ("https" if self.ssl != TLS() else "http")
            name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            found.append(f"{scheme}://{name}:{parts.port or 9200}{parts.path.rstrip('/')}")
        return found


class Reply(NamedTuple):
    """What the engine answered: HTTP status, and the body, decoded where it was JSON."""

    status: int
    data: Any


class _Chunk(NamedTuple):
    """Consecutive documents of a batch, each with its lines of the request."""

    stored: list[Stored]
    lines: list[list[bytes]]


class BulkOutput(ABC):
    """An engine that speaks ``_bulk``."""

    name: str
    product: str
    """As people write it."""

    def __init__(self, config: SearchConfig) -> None:
        self.urls = config.urls()
        self._documents = config.bulk_max_size
        self._seeded = config.signatures.seeded
        self._busy = 0

    @abstractmethod
    def request(self, method: str, path: str, body: object = None) -> Reply:
        """Ask the engine; ``body`` is bytes (newline delimited JSON) or anything that JSON can say.

        :raises Unavailable: there was no answer, or not one of this engine.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connections."""

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send in chunks; a chunk that is refused as a whole is asked again in halves.

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
                    waiting.appendleft(_Chunk(chunk.stored[half:], chunk.lines[half:]))
                    waiting.appendleft(_Chunk(chunk.stored[:half], chunk.lines[:half]))
        except Unavailable as error:
            if not outcomes:
                raise
            left = [stored for chunk in waiting for stored in chunk.stored]
            tried = {outcome.id for outcome in outcomes} | {stored.id for stored in left}
            missing = [stored for stored in batch if stored.id not in tried]
            outcomes += [Outcome(stored.id, DeliveryStatus.RETRY, str(error)) for stored in missing + left]
        return outcomes

    def check(self) -> str:
        """Ask for health, for the right to write and for the template.

        A user who may only create documents is told so little that each question may stay open.

        :raises Unavailable: nobody answers, or the user is not known.
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

    def _rights(self) -> Iterable[str]:
        """Say what the user may not do; engines without a way to ask say nothing."""
        return ()

    def _chunks(self, batch: Sequence[Stored]) -> Iterator[_Chunk]:
        moment = timestamp()
        chunk, size, signatures = _Chunk([], []), 0, set[str]()
        for stored in batch:
            lines = _lines(stored, moment, seeded=self._seeded, known=signatures)
            length = sum(map(len, lines))
            if chunk.stored and (size + length > CHUNK_BYTES or len(chunk.stored) >= self._documents):
                yield chunk
                chunk, size = _Chunk([], []), 0
            chunk.stored.append(stored)
            chunk.lines.append(lines)
            size += length
        if chunk.stored:
            yield chunk

    def _deliver(self, chunk: _Chunk) -> list[Outcome]:
        """Send one chunk; an empty answer asks for halves.

        :raises Unavailable: nothing can be said of any document.
        """
        status, data = self.request(
            "POST", "/_bulk", b"".join(line for lines in chunk.lines for line in lines)
        )
        if status == 200:  # noqa: PLR2004
            self._busy = 0
            return self._verdicts(chunk, data)
        reason = f"{status}: {_reason(data)}"
        if status == 413 or (status == 400 and _about_documents(data)):  # noqa: PLR2004
            if len(chunk.stored) > 1:
                return []
            return [Outcome(chunk.stored[0].id, DeliveryStatus.REJECTED, reason)]
        if status == 429:  # noqa: PLR2004
            # Larger than the engine's indexing pressure ever allows looks the same as a busy engine.
            self._busy += 1
            if self._busy > PATIENCE and len(chunk.stored) > 1:
                return []
        raise Unavailable(self._refused(status, data))

    def _verdicts(self, chunk: _Chunk, data: Any) -> list[Outcome]:  # noqa: ANN401 - whatever JSON says
        items = data.get("items") if isinstance(data, dict) else None
        # Each action and its source are two lines, and one item of the answer.
        counts = [len(lines) // 2 for lines in chunk.lines]
        if not isinstance(items, list) or len(items) != sum(counts):
            raise Unavailable(
                f"{self.name}: {self.urls[0]} answered 200 without the verdicts of a bulk request"
            )
        outcomes, at = [], 0
        for stored, count in zip(chunk.stored, counts, strict=True):
            verdicts = [_verdict(item) for item in items[at : at + count]]
            at += count
            worst = max(verdicts, key=lambda pair: _SEVERITY[pair[0]])
            outcomes.append(Outcome(stored.id, *worst))
        return outcomes

    def _refused(self, status: int, data: object) -> str:
        """Say in a line why the engine takes nothing at all."""
        what = {
            401: "does not know this user or password; check username and password",
            403: "does not allow this user to write; it needs create_doc and auto_configure",
            429: "is too busy",
        }.get(status, "takes nothing" if status >= 500 else "is not answering as a search engine does")  # noqa: PLR2004
        return f"{self.name}: {self.urls[0]} {what} ({status}: {_reason(data)})"


_SEVERITY = {DeliveryStatus.DELIVERED: 0, DeliveryStatus.REJECTED: 1, DeliveryStatus.RETRY: 2}
_ABOUT_THE_CLUSTER = ("validation_exception", "media_type_header_exception", "security_exception")


def _verdict(item: Any) -> tuple[DeliveryStatus, str]:  # noqa: ANN401 - whatever JSON says
    """Classify one item of a bulk answer, ``{"create": {"status": 201, …}}``."""
    result = item.get("create") if isinstance(item, dict) else None
    status = result.get("status") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(status, int):
        return DeliveryStatus.RETRY, "an answer without a status"
    if 200 <= status < 300:  # noqa: PLR2004
        return DeliveryStatus.DELIVERED, ""
    if status == 409:  # noqa: PLR2004
        return DeliveryStatus.DELIVERED, ALREADY_THERE
    reason = f"{status}: {_reason(result)}"
    # A full shard limit is a 400 of the document's item all the same, a blocked index a 403.
    if status in {400, 404, 413} and _about_documents(result):
        return DeliveryStatus.REJECTED, reason
    return DeliveryStatus.RETRY, reason


def _about_documents(data: object) -> bool:
    """Tell an engine's complaint of documents from its complaint of anything else, and from a proxy's."""
    error = data.get("error") if isinstance(data, dict) else None
    return isinstance(error, dict) and error.get("type") not in _ABOUT_THE_CLUSTER


def _reason(data: object) -> str:
    """Find the engine's own words: ``type: reason: caused by``."""
    error = data.get("error", data) if isinstance(data, dict) else data
    words: list[str] = []
    while isinstance(error, dict) and len(words) < 4:  # noqa: PLR2004 - deeper causes are Java's business
        words += [str(error[key]) for key in ("type", "reason") if error.get(key)]
        error = error.get("caused_by")
    text = ": ".join(words) if words else " ".join(str(data).split())
    return text[:REASON_CHARACTERS] or "no reason given"


class _Signature(msgspec.Struct):
    id: str = ""
    version: int = 0
    quality: str = ""


class _Analysis(msgspec.Struct):
    summary: str = ""
    why: str = ""
    next: list[str] = []


class _Hardware(msgspec.Struct):
    product: str = ""


class _Panic(msgspec.Struct):
    title: str = ""
    kind: str = ""
    cause: str = ""
    function: str = ""
    fatal: bool = False
    backfill: bool = False
    signature: _Signature = msgspec.field(default_factory=_Signature)
    analysis: _Analysis = msgspec.field(default_factory=_Analysis)
    hardware: _Hardware = msgspec.field(default_factory=_Hardware)
    trace_head: str = ""
    triage: dict[str, Any] = {}


class _Kernel(msgspec.Struct):
    panic: _Panic = msgspec.field(default_factory=_Panic)


class _Stream(msgspec.Struct):
    namespace: str = "default"


class _System(msgspec.Struct):
    kernel: str = ""


class _Host(msgspec.Struct):
    name: str = ""
    os: _System = msgspec.field(default_factory=_System)


class _Document(msgspec.Struct):
    """The few fields of a document that its delivery needs."""

    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    data_stream: _Stream = msgspec.field(default_factory=_Stream)
    kernel: _Kernel = msgspec.field(default_factory=_Kernel)
    host: _Host = msgspec.field(default_factory=_Host)


_decode = msgspec.json.Decoder(_Document).decode
_encode = msgspec.json.Encoder().encode


def _lines(stored: Stored, moment: str, *, seeded: bool, known: set[str]) -> list[bytes]:
    """Write a document's lines of the request: its own, and its signature's if that is not ``known``.

    ``create`` lets exactly one of all senders be the first with a signature: its arrival in the side
    index is what "first seen" means. It holds what an alert's message needs. A fault that a kernel survived
    and one that it died of are two firsts, so that the warning does not keep the panic quiet.
    """
    document = _decode(stored.body)
    lines = [
        _action(data_stream(document.data_stream.namespace), stored.id),
        with_delivery_fields(stored.body, moment) + b"\n",
    ]
    panic = document.kernel.panic
    identity = panic.signature.id + ("" if panic.fatal else "-survived")
    if panic.signature.id and identity not in known:
        known.add(identity)
        first = {
            "@timestamp": document.timestamp or moment,
            "event": {"ingested": moment},
            "id": panic.signature.id,
            "version": panic.signature.version,
            "quality": panic.signature.quality,
            "seeded": seeded or panic.backfill,
            "title": panic.title,
            "kind": panic.kind,
            "cause": panic.cause,
            "function": panic.function,
            "fatal": panic.fatal,
            "trace": panic.trace_head[:KEYWORD_LIMIT],
            "summary": panic.analysis.summary[:KEYWORD_LIMIT],
            "why": panic.analysis.why[:KEYWORD_LIMIT],
            "next": "\n".join(panic.analysis.next[:NEXT_LINES])[:KEYWORD_LIMIT],
            "machine": panic.hardware.product,
            "triage": panic.triage,
            "host": {"name": document.host.name, "os": {"kernel": document.host.os.kernel}},
        }
        lines += [_action(SIGNATURES, identity), _encode(first) + b"\n"]
    return lines


def _action(index: str, identity: str) -> bytes:
    return _encode({"create": {"_index": index, "_id": identity}}) + b"\n"
