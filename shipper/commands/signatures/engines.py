"""The engines' index of reported signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.indices import SIGNATURES
from kpanic.shipper.api import Unavailable, hide_secrets
from kpanic.shipper.cli import Failure
from kpanic.shipper.commands._plugins import make_outputs

if TYPE_CHECKING:
    from kpanic.shipper.config import Config
    from kpanic.shipper.outputs.bulk import BulkOutput, Reply

__all__ = ["engines", "first_report", "forget"]

OK, UNKNOWN_USER, FORBIDDEN, NOT_FOUND = 200, 401, 403, 404


def engines(config: Config) -> list[BulkOutput]:
    """Return the configured engines.

    :raises Failure: one cannot be made as it is configured.
    """
    from kpanic.shipper.outputs.bulk import BulkOutput  # noqa: PLC0415

    return [output for output in make_outputs(config) if isinstance(output, BulkOutput)]


def _ask(engine: BulkOutput, method: str, path: str, body: object = None) -> Reply:
    """Ask an engine.

    :raises Failure: it does not answer, or does not know the user.
    """
    try:
        reply = engine.request(method, path, body)
    except Unavailable as error:
        raise Failure(str(error)) from None
    if reply.status == UNKNOWN_USER:
        raise Failure(f"{engine.name}: {engine.urls[0]} does not know this user or password")
    return reply


def forget(engine: BulkOutput, signature: str) -> tuple[bool, str]:
    """Delete the record that a signature was reported; return whether that failed, and a message."""
    gone = 0
    for name in (signature, f"{signature}-survived"):
        status, data = _ask(engine, "DELETE", f"/{SIGNATURES}/_doc/{name}?refresh=true")
        if status == FORBIDDEN:
            user = _user(engine)
            return True, f"this user may not change {SIGNATURES}; name one that may: {user}"
        if status not in {OK, NOT_FOUND}:
            return True, f"{engine.urls[0]} answered {status}: {hide_secrets(str(data))[:500]}"
        gone += status == OK
    if gone:
        return False, f"{signature}: its next crash is new again"
    return False, f"{signature}: was not reported; its next crash is new"


def _user(engine: BulkOutput) -> str:
    return f"-E output.{engine.name}.username=… -E output.{engine.name}.password_file=…"


def first_report(engine: BulkOutput, signature: str) -> dict[str, Any]:
    """Return when and by which host an engine first had a signature reported; empty if it was not."""
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
