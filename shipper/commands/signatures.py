"""``kpanic signatures``: the faults there are, one of them, and how to be told of one again."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from kpanic.indices import SIGNATURES, data_stream
from kpanic.shipper.api import Unavailable, hide_secrets
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._configuration import configured, read_config
from kpanic.shipper.commands._plugins import make_outputs
from kpanic.shipper.commands._store import open_store
from kpanic.shipper.terminal import counted, say, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kpanic.dashboards.embedded import Row
    from kpanic.dashboards.panels import Metric, Panel
    from kpanic.shipper.config import Config
    from kpanic.shipper.outputs.bulk import BulkOutput, Reply

__all__ = ["command"]

MOST = 10_000
"""Signatures of a list, documents of one signature: what engines return at once (max_result_window)."""
OK, UNKNOWN, FORBIDDEN, NOT_FOUND = 200, 401, 403, 404


class _Group(click.Group):
    """A group whose first command is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in {"-h", "--help"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("signatures", cls=_Group)
def command() -> None:
    """List the faults there are, show one, or ask to be told of one again.

    Without a command: list.
    """


def _asked(made: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of those that look."""
    for option in (
        click.option(
            "--from",
            "source",
            type=click.Choice(["store", "opensearch", "elasticsearch"]),
            default="store",
            show_default=True,
            help="Whom to ask: this machine's store, or a configured engine with every machine's.",
        ),
        click.option("--format", "form", type=click.Choice(["table", "json"]), default="table"),
        configured,
    ):
        made = option(made)
    return made


@command.command("list")
@_asked
def list_command(source: str, form: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """List the faults, those of most incidents first."""
    config = read_config(config_file, overrides)
    rows = [_line(config, row) for row in _rows(config, source)]
    if form == "json":
        _print_json(rows)
        return 0
    if not rows:
        say("kpanic: no crash so far")
    _print_table(rows)
    return 0


@command.command("show")
@click.argument("signature", metavar="ID")
@_asked
def show(signature: str, source: str, form: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Show everything about the fault ID; the beginning of its name will do."""
    config = read_config(config_file, overrides)
    known = [str(row.key) for row in _rows(config, source)]
    found = [name for name in known if name == signature] or [
        name for name in known if name.startswith(signature)
    ]
    if len(found) != 1:
        many = f"; it may be {', '.join(found[:5])}" if found else ""
        raise Failure(f"{signature}: {'names several signatures' if found else 'no such signature'}{many}")
    told = _told(config, source, found[0])
    told["alerts"] = {
        engine.name: said for engine in _engines(config) if (said := _registered(engine, found[0]))
    }
    if form == "json":
        _print_json(told)
        return 0
    _print_one(told)
    return 0


@command.command("re-arm")
@click.argument("signature", metavar="ID")
@configured
def re_arm(signature: str, config_file: str | None, overrides: tuple[str, ...]) -> int:
    """Forget that the fault ID was reported: its next crash is new and pages.

    Deletes its document in every configured engine. The user that ships may not do that.
    """
    if not re.fullmatch(r"v\d{1,9}-[0-9a-f]{1,128}", signature):
        raise Failure(f"{signature}: is not the name of a signature, such as v1-bcacd554630c387c", 2)
    config = read_config(config_file, overrides)
    engines = _engines(config)
    if not engines:
        raise Failure(
            "neither output.opensearch nor output.elasticsearch is configured; nothing to re-arm", 2
        )
    faults = 0
    for engine in engines:
        fault, said = _forget(engine, signature)
        faults += fault
        (say if fault else _tell)(f"{'kpanic: ' if fault else ''}{engine.name}: {said}")
        engine.close()
    return 1 if faults else 0


def _tell(text: str) -> None:
    sys.stdout.write(visible(text) + "\n")


# --- engines ----------------------------------------------------------------------------------------


def _engines(config: Config, only: str | None = None) -> list[BulkOutput]:
    from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

    outputs = make_outputs(config, only)
    return [output for output in outputs if isinstance(output, BulkOutput)]


def _ask(engine: BulkOutput, method: str, path: str, body: object = None) -> Reply:
    """Ask an engine.

    :raises Failure: it does not answer, or does not know the user.
    """
    try:
        reply = engine.request(method, path, body)
    except Unavailable as error:
        raise Failure(str(error)) from None
    if reply.status == UNKNOWN:
        raise Failure(f"{engine.name}: {engine.urls[0]} does not know this user or password")
    return reply


def _search(config: Config, source: str, body: object) -> Any:  # noqa: ANN401 - JSON
    (engine,) = _engines(config, source)
    stream = data_stream(config.data_stream.namespace)
    status, data = _ask(engine, "POST", f"/{stream}/_search", body)
    engine.close()
    if status == FORBIDDEN:
        raise Failure(f"{engine.name}: this user may not read {stream}; name one that may: {_user(engine)}")
    if status != OK:
        raise Failure(f"{engine.name}: {engine.urls[0]} answered {status}: {hide_secrets(str(data))[:500]}")
    return data


def _forget(engine: BulkOutput, signature: str) -> tuple[bool, str]:
    """Delete what says that a signature was reported; return whether that failed, and what to say."""
    gone = 0
    for name in (signature, f"{signature}-survived"):
        status, data = _ask(engine, "DELETE", f"/{SIGNATURES}/_doc/{name}?refresh=true")
        if status == FORBIDDEN:
            user = _user(engine)
            return True, f"this user may not take out of {SIGNATURES}; name one that may: {user}"
        if status not in {OK, NOT_FOUND}:
            return True, f"{engine.urls[0]} answered {status}: {hide_secrets(str(data))[:500]}"
        gone += status == OK
    if gone:
        return False, f"{signature}: its next crash is new again"
    return False, f"{signature}: was not reported; its next crash is new"


def _user(engine: BulkOutput) -> str:
    return f"-E output.{engine.name}.username=… -E output.{engine.name}.password_file=…"


def _registered(engine: BulkOutput, signature: str) -> dict[str, Any]:
    """Return what an engine says of the first report; empty where it says nothing."""
    try:
        status, data = _ask(engine, "GET", f"/{SIGNATURES}/_doc/{signature}")
    except Failure as error:
        return {"reported": f"unknown: {error}"}
    finally:
        engine.close()
    if status == FORBIDDEN:
        return {"reported": f"unknown: this user may not read {SIGNATURES}"}
    if status != OK:
        return {}
    source = data["_source"]
    return {
        "reported": source["event"]["ingested"],
        "host": source.get("host", {}).get("name", ""),
        "pages": not source["seeded"] and source["quality"] != "weak" and not source.get("triage"),
    }


# --- what there is ----------------------------------------------------------------------------------


def _panel() -> Panel:
    from kpanic.dashboards import panels  # noqa: PLC0415

    return panels.Panel(
        "list",
        "",
        "",
        "table",
        (
            panels.INCIDENTS,
            panels.HOSTS,
            panels.FIRST,
            panels.LAST,
            panels.TITLE,
            panels.CAUSE,
            panels.Metric("newest", "kernel.panic.signature.quality", "Quality"),
            panels.Metric("newest", "host.os.kernel", "Kernel"),
        ),
        by=panels.FAULTS.field,
        size=MOST,
    )


def _documents(config: Config, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the store's documents with no more than the fields ``names``."""
    from kpanic.shipper.fields import get  # noqa: PLC0415

    wanted = [(name, name.split(".")) for name in names]
    with open_store(config, readonly=True) as store:
        for document in store.documents():
            kept: dict[str, Any] = {}
            for name, (*parents, leaf) in wanted:
                value = get(document, name)
                if value is not None:
                    place = kept
                    for parent in parents:
                        place = place.setdefault(parent, {})
                    place[leaf] = value
            yield kept


def _rows(config: Config, source: str) -> list[Row]:
    from kpanic.dashboards.embedded import evaluate  # noqa: PLC0415
    from kpanic.dashboards.query import query, read  # noqa: PLC0415

    panel = _panel()
    if source == "store":
        return evaluate(panel, _documents(config, {panel.by, "event.id", *_fields(panel.metrics)}))
    return read(panel, _search(config, source, query(panel)))


def _fields(metrics: Iterable[Metric]) -> Iterator[str]:
    return (metric.field for metric in metrics)


def _line(config: Config, row: Row) -> dict[str, Any]:
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    incidents, hosts, first, last, title, cause, quality, kernel = row.values
    triage = Triage(config.entries).words(str(row.key), str(title or ""), str(kernel or ""))
    return {
        "id": row.key,
        "title": title,
        "cause": cause,
        "incidents": incidents,
        "hosts": hosts,
        "first": _day(first),
        "last": _day(last),
        "quality": quality,
        "triage": triage,
    }


def _told(config: Config, source: str, signature: str) -> dict[str, Any]:
    """Return everything about one signature."""
    from kpanic.dashboards.embedded import age, evaluate, first, values  # noqa: PLC0415
    from kpanic.dashboards.panels import FAULTS, FIRST, HOSTS, INCIDENTS, LAST, Panel  # noqa: PLC0415
    from kpanic.shipper.fields import get  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    found: list[dict[str, Any]]
    if source == "store":
        with open_store(config, readonly=True) as store:
            found = [one for one in store.documents() if signature in values(one, FAULTS.field)]
    else:
        body = {"size": MOST, "query": {"term": {FAULTS.field: signature}}, "sort": [{"@timestamp": "desc"}]}
        body["_source"] = {"excludes": ["event.original", "kernel.panic.registers"]}
        found = [hit["_source"] for hit in _search(config, source, body)["hits"]["hits"]]
    newest = Triage(config.entries).put(max(found, key=age))

    def groups(field: str) -> dict[str, Any]:
        panel = Panel("show", "", "", "table", (INCIDENTS,), by=field, size=MOST)
        return {str(row.key): row.values[0] for row in evaluate(panel, found)}

    whole = Panel("show", "", "", "number", (INCIDENTS, HOSTS, FIRST, LAST))
    incidents, hosts, since, until = evaluate(whole, found)[0].values
    return {
        "id": signature,
        "title": first(newest, "kernel.panic.title"),
        "cause": first(newest, "kernel.panic.cause"),
        "quality": first(newest, "kernel.panic.signature.quality"),
        "incidents": incidents,
        "hosts": hosts,
        "first": _day(since),
        "last": _day(until),
        "triage": get(newest, "kernel.panic.triage") or {},
        "by_host": groups("host.name"),
        "by_kernel": groups("host.os.kernel"),
        "trace": list(values(newest, "kernel.panic.call_trace")),
        "reading": list(values(newest, "kernel.panic.analysis.steps")),
    }


def _day(moment: str | int | None) -> str:
    """Return milliseconds since 1970 UTC as documents write them."""
    from datetime import UTC, datetime  # noqa: PLC0415

    if not isinstance(moment, int):
        return ""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- on the screen ----------------------------------------------------------------------------------


def _print_json(content: object) -> None:
    import msgspec  # noqa: PLC0415

    from kpanic.shipper.terminal import escape_controls  # noqa: PLC0415

    sys.stdout.buffer.write(escape_controls(msgspec.json.format(msgspec.json.encode(content))) + b"\n")


def _triage_words(triage: dict[str, Any]) -> str:
    words = [triage.get("status", ""), triage.get("ticket", ""), triage.get("owner", "")]
    return ", ".join(filter(None, words))


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in ("signature", "title", "cause", "incidents", "hosts", "first", "last", "quality", "triage"):
        numeric = name in {"incidents", "hosts"}
        whole = name in {"signature", "first", "last"}
        table.add_column(name, justify="right" if numeric else "left", no_wrap=whole, overflow="fold")
    for row in rows:
        day = {"first": row["first"][:10], "last": row["last"][:10], "triage": _triage_words(row["triage"])}
        cells = (row | day).values()
        table.add_row(*(Text(visible(str(cell if cell is not None else ""))) for cell in cells))
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else 1000, highlight=False, soft_wrap=False).print(table)


def _print_one(told: dict[str, Any]) -> None:
    on = counted(told["hosts"], "host")
    lines = [
        f"signature  {told['id']} ({told['quality']})",
        f"title      {told['title']}",
        f"cause      {told['cause']}",
        f"incidents  {told['incidents']} on {on}, {told['first']} to {told['last']}",
    ]
    for label, groups in (("hosts", told["by_host"]), ("kernels", told["by_kernel"])):
        shown = [f"{name} ({count})" for name, count in list(groups.items())[:20]]
        more = f", and {len(groups) - 20} more" if len(groups) > 20 else ""  # noqa: PLR2004
        lines.append(f"{label:<11}{', '.join(shown)}{more}")
    triage = told["triage"]
    if triage:
        lines.append(f"triage     {_triage_words(triage)}")
        if triage.get("fixed_in"):
            lines.append(f"fixed in   {', '.join(triage['fixed_in'])}")
        if triage.get("note"):
            lines.append(f"note       {triage['note']}")
    for engine, said in told["alerts"].items():
        pages = "" if said.get("pages", True) else "; did not page"
        host = f" by {said['host']}" if said.get("host") else ""
        lines.append(f"{engine:<10} first reported {said['reported']}{host}{pages}")
    lines += ["", *told["reading"], "", "trace", *(f"  {frame}" for frame in told["trace"])]
    sys.stdout.write("".join(f"{visible(line)}\n" for line in lines))
