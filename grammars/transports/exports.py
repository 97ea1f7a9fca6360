r"""Lines exported from log stores: Loki, CloudWatch, Cloud Logging, Elasticsearch, Docker.

::

    2025-03-14T02:17:41Z {host="web09", job="kernel"} [    6.519598] text      logcli
    {"log": "[    6.519598] text\n", "stream": "stdout"}                       Docker's json-file
    {"labels":{"host":"web09"},"line":"[    6.519598] text","timestamp":"…"}   logcli --output=jsonl
    {"_source":{"host":{"name":"web09"},"message":"[    6.519598] text"}}      elasticdump, _search
            "message": "[    6.519598] text",                                  aws logs get-log-events
        "textPayload": "[    6.519598] text",                                  gcloud logging read
    2025-03-14 02:17:41.519,"[    6.519598] text"                              CSV: Logs Insights, Kibana

Sources: moby daemon/logger/jsonfilelog, grafana/loki pkg/logcli/output, RFC 4180, the commands' reference
pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from kpanic.grammars.lazy import regex
from kpanic.grammars.transport import LineReader, Row, Transport, json_value, scrub
from kpanic.grammars.transports.stamps import DIGITS, ISO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpanic.grammars.model import Line

__all__ = ["CSV", "LOGCLI", "MEMBER", "OBJECT"]

MESSAGES: Final = ("message", "@message", "msg", "log", "line", "textPayload")
"""Members that hold the line, in order of preference."""
HOSTS: Final = ("host", "hostname", "host.name", "node", "instance", "name")
"""Members that name the host, in order of preference; ``name`` is a member of ``host``."""
WRAPPERS: Final = ("_source", "jsonPayload", "fields", "labels", "kubernetes", "stream")
"""Members whose members are searched too."""

_MEMBER: Final = regex(rf'\s+"(?:{"|".join(MESSAGES)})": (?P<text>"(?:[^"\\]|\\.)*"),?')
_LOGCLI: Final = regex(rf"{ISO} \{{(?P<labels>[^{{}}]*)\}} (?P<text>.*)")
_LABEL: Final = regex(rf'(?:^|[ ,])(?:{"|".join(HOSTS[:-1])})="(?P<host>[^"]{{1,255}})"')
_CSV: Final = regex(rf'"?{ISO}"?,"(?P<text>(?:[^"]|"")*)"')


def _carried(reader: LineReader, row: Row, message: str, host: str = "") -> list[Line]:
    """Read the lines of a message; lines that name no host belong to the host of the store's record."""
    parts = [scrub(part) for part in message.rstrip("\n").split("\n")]
    lines = [
        line
        for part in parts
        if part.strip()
        for line in reader.context.again(structs.replace(row, text=part))
    ]
    return [line if line.host or not host else structs.replace(line, host=host) for line in lines]


def _objects(fields: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Yield an object and the objects in it whose members are searched."""
    yield fields
    for name in WRAPPERS:
        if isinstance(inner := fields.get(name), dict):
            yield from _objects(inner)


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> str:
    """Return the first member that is a string."""
    for inner in _objects(fields):
        for name in names:
            if isinstance(value := inner.get(name), str) and value.strip():
                return value
    return ""


def _host(fields: Mapping[str, object]) -> str:
    for inner in _objects(fields):
        if isinstance(value := inner.get("host"), dict):
            return _first(value, ("name", "hostname"))
    return _first(fields, HOSTS[:-1])


class _Object(LineReader):
    """Reads lines with one JSON object each."""

    def read(self, row: Row) -> list[Line] | None:
        fields = json_value(row.text)
        if not isinstance(fields, dict):
            return None
        message = _first(fields, MESSAGES)
        return _carried(self, row, message, _host(fields)) if message else None


class _Member(LineReader):
    """Reads JSON objects with one member a line."""

    def read(self, row: Row) -> list[Line] | None:
        match = _MEMBER.fullmatch(row.text)
        message = match and json_value(match["text"])
        return None if message is None else _carried(self, row, message)


class _Logcli(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _LOGCLI.fullmatch(row.text)
        if match is None:
            return None
        label = _LABEL.search(match["labels"])
        return _carried(self, row, match["text"], label["host"] if label else "")


class _Csv(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _CSV.fullmatch(row.text)
        return _carried(self, row, match["text"].replace('""', '"')) if match else None


OBJECT: Final = Transport(name="object", reader=_Object, order=30, starts="{", breaks=(b"\\n", b"\\t"))
MEMBER: Final = Transport(name="member", reader=_Member, order=31, starts=" \t")
LOGCLI: Final = Transport(name="logcli", reader=_Logcli, order=29, starts=DIGITS)
CSV: Final = Transport(name="csv", reader=_Csv, order=29, starts=DIGITS + '"')
