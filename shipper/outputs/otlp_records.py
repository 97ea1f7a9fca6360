"""Documents as OpenTelemetry's log records.

The body is the whole document. OpenTelemetry's own fields are set too, for receivers that do not know ECS:

====================================  =====================================================================
resource                              ``host.name``, ``host.id``, ``host.arch``, ``os.type``, ``os.version``,
                                      ``service.name`` (``kernel``)
time, observed time                   ``@timestamp``, ``event.created``
severity                              FATAL of what killed the kernel, else ERROR or WARN
event name                            ``kernel.panic``, ``kernel.panic.signature``
``exception.type``, ``.message``,     ``error.type``, ``kernel.panic.title``, ``error.stack_trace``
``.stacktrace``
``process.pid``,                      ``process.pid``, ``process.name``
``process.executable.name``
``log.record.uid``                    the document's ``_id``
``elasticsearch.index``,              where the Collector's Elasticsearch exporter puts the record
``elasticsearch.document_id``
====================================  =====================================================================

:see: https://opentelemetry.io/docs/specs/semconv/, 1.37
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from kpanic import __version__
from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.api import with_delivery_fields
from kpanic.shipper.fields import get
from kpanic.shipper.signature_document import outline, signature_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kpanic.shipper.api import Stored

__all__ = ["Records"]

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i386": "x86", "i686": "x86", "arm": "arm32"}
"""OpenTelemetry's names of machines where they differ from the kernel's."""
_RESOURCE: Final = (("host.name", "host.name"), ("host.id", "host.id"), ("os.version", "host.os.kernel"))
_ATTRIBUTES: Final = (
    ("exception.type", "error.type"),
    ("exception.message", "kernel.panic.title"),
    ("exception.stacktrace", "error.stack_trace"),
    ("process.pid", "process.pid"),
    ("process.executable.name", "process.name"),
    ("log.file.path", "log.file.path"),
)
_ERROR: Final = 3
"""syslog's severity of an error; a larger number is a warning."""
_LARGEST: Final = 1 << 63


class Records:
    """Makes requests from documents.

    :param signatures: whether each new signature has a record of its own.
    """

    def __init__(self, *, signatures: bool) -> None:
        self._known: set[str] | None = set() if signatures else None

    def request(self, batch: Sequence[Stored], moment: str) -> ExportLogsServiceRequest:
        """Return a request with the records of some documents, those of one host together.

        :param moment: ``event.ingested``.
        """
        request = ExportLogsServiceRequest()
        scopes: dict[tuple[tuple[str, str], ...], Any] = {}
        named: set[str] = set()
        for stored in batch:
            body = with_delivery_fields(stored.body, moment, document_id=stored.id)
            document = msgspec.json.decode(body, type=dict[str, Any])
            resource = tuple(_resource(document))
            if (scope := scopes.get(resource)) is None:
                logs = request.resource_logs.add()
                logs.resource.attributes.extend(_pairs(resource))
                scope = scopes[resource] = logs.scope_logs.add()
                scope.scope.name, scope.scope.version = "kpanic", __version__
            index = data_stream(get(document, "data_stream.namespace") or "default")
            _crash(scope.log_records.add(), document, stored.id, index)
            if self._known is None:
                continue
            name, first = signature_document(outline(stored.body), moment, seeded=False)
            if name and name not in self._known | named:
                named.add(name)
                first["labels"] = {"document_id": name}
                _fill(scope.log_records.add(), "kernel.panic.signature", first, name, SIGNATURES)
        return request

    def delivered(self, batch: Iterable[Stored]) -> None:
        """Record that the documents of a request arrived, and so their signatures."""
        if self._known is not None:
            for stored in batch:
                self._known.add(signature_document(outline(stored.body), "", seeded=False)[0])


def _resource(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "service.name", "kernel"
    yield "os.type", "linux"
    for name, field in _RESOURCE:
        if value := get(document, field):
            yield name, value
    if machine := get(document, "host.architecture"):
        yield "host.arch", _ARCHITECTURES.get(machine, machine)


def _crash(record: LogRecord, document: Mapping[str, Any], name: str, index: str) -> None:
    _fill(record, "kernel.panic", document, name, index)
    with contextlib.suppress(TypeError, ValueError):
        record.observed_time_unix_nano = _nanoseconds(get(document, "event.created"))
    severity = get(document, "event.severity")
    if get(document, "kernel.panic.fatal"):
        record.severity_number, record.severity_text = SeverityNumber.SEVERITY_NUMBER_FATAL, "FATAL"
    elif isinstance(severity, int) and severity > _ERROR:
        record.severity_number, record.severity_text = SeverityNumber.SEVERITY_NUMBER_WARN, "WARN"
    else:
        record.severity_number, record.severity_text = SeverityNumber.SEVERITY_NUMBER_ERROR, "ERROR"
    found = ((key, get(document, field)) for key, field in _ATTRIBUTES)
    record.attributes.extend(_pairs((key, value) for key, value in found if value is not None))


def _fill(record: LogRecord, event: str, document: Mapping[str, Any], name: str, index: str) -> None:
    with contextlib.suppress(TypeError, ValueError):  # a plugin's document without a time
        record.time_unix_nano = _nanoseconds(document.get("@timestamp"))
    record.event_name = event
    record.body.CopyFrom(_value(document))
    record.attributes.extend(
        _pairs(
            (("log.record.uid", name), ("elasticsearch.document_id", name), ("elasticsearch.index", index))
        )
    )


def _nanoseconds(text: Any) -> int:  # noqa: ANN401 - a field of a document
    return max(0, int(datetime.fromisoformat(text).timestamp() * 1_000_000)) * 1_000


def _pairs(items: Iterable[tuple[str, Any]]) -> Iterable[KeyValue]:
    return (KeyValue(key=key, value=_value(value)) for key, value in items)


def _value(value: Any) -> AnyValue:  # noqa: ANN401 - JSON of any shape
    made = AnyValue()
    match value:
        case bool():
            made.bool_value = value
        case int() if -_LARGEST <= value < _LARGEST:
            made.int_value = value
        case float():
            made.double_value = value
        case dict():
            made.kvlist_value.values.extend(_pairs(value.items()))
        case list():
            made.array_value.values.extend(_value(item) for item in value)
        case None:
            pass
        case _:
            made.string_value = str(value)
    return made
