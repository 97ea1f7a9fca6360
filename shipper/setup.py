"""Installs index templates, the retention policy and the signatures' index in an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpanic.dashboards import templates
from kpanic.indices import PATTERN, SIGNATURES
from kpanic.shipper.api import Unavailable, hide_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.outputs.bulk import BulkOutput, Reply

__all__ = ["engine_of", "same", "setup_index_management", "words"]

OK, FORBIDDEN, NOT_FOUND = 200, 403, 404


def engine_of(output: BulkOutput) -> templates.Engine:
    """Return the engine that an output delivers to."""
    return "elasticsearch" if output.name == "elasticsearch" else "opensearch"


def setup_index_management(output: BulkOutput) -> Iterator[str]:
    """Install or renew each part, in an order that is safe to interrupt; yield a line for each.

    A second run changes nothing. Parts that the engine does not support are left out, with the reason.

    :raises Unavailable: the engine does not answer, or does not know or trust the user.
    :raises ValueError: the engine refuses a part; its reason is in the text.
    """
    engine = engine_of(output)
    lifecycle, said = _policy(output, engine)
    yield said
    if lifecycle:
        yield from _adopt(output, engine)
    yield _template(output, templates.NAME, templates.panics_template(engine, lifecycle=lifecycle))
    yield from _streams(output, engine)
    yield _template(output, SIGNATURES, templates.signatures_template(engine))
    yield _signatures(output)


def _policy(output: BulkOutput, engine: templates.Engine) -> tuple[bool, str]:
    """Install the retention policy; return whether the engine has it now, and a line."""
    kind = "lifecycle (ILM)" if engine == "elasticsearch" else "index state management (ISM)"
    path = templates.policy_path(engine)
    reply = output.request("GET", path)
    if reply.status not in {OK, NOT_FOUND} or _unknown_path(reply):
        if reply.status in {401, FORBIDDEN}:
            return False, f"retention policy {templates.NAME}: not installed: {words(output, reply)}"
        return False, (
            f"retention policy {templates.NAME}: not installed: this engine has no {kind}; "
            "nothing is ever deleted"
        )
    query = ""
    if engine == "opensearch" and reply.status == OK:
        if same(templates.policy(engine)["policy"], reply.data["policy"]):
            return True, f"retention policy {templates.NAME}: as it should be"
        # ISM refuses to overwrite a policy that changed since it was read.
        query = f"?if_seq_no={reply.data['_seq_no']}&if_primary_term={reply.data['_primary_term']}"
    wrote = output.request("PUT", path + query, templates.policy(engine))
    if wrote.status not in {OK, 201}:
        return (
            reply.status == OK,
            f"retention policy {templates.NAME}: not installed: {words(output, wrote)}",
        )
    return True, f"retention policy {templates.NAME}: {'renewed' if reply.status == OK else 'installed'}"


def _adopt(output: BulkOutput, engine: templates.Engine) -> Iterator[str]:
    """Apply the policy to older indices: an engine applies it to new ones only."""
    if engine == "elasticsearch":
        reply = output.request("GET", f"/{PATTERN}/_ilm/explain")
        found = reply.data.get("indices", {}) if reply.status == OK else {}
        policies = {name: one.get("policy") for name, one in found.items()}
    else:
        reply = output.request("GET", f"/_plugins/_ism/explain/{PATTERN}")
        found = reply.data if reply.status == OK and isinstance(reply.data, dict) else {}
        key = "index.plugins.index_state_management.policy_id"
        policies = {name: one.get(key) for name, one in found.items() if isinstance(one, dict)}
    alone = sorted(name for name, policy in policies.items() if not policy)
    for name, policy in sorted(policies.items()):
        if policy and policy != templates.NAME:
            yield f"index {name}: left alone: it is under the retention policy {policy}"
    if not alone:
        return
    names = ",".join(alone)
    if engine == "elasticsearch":
        wrote = output.request("PUT", f"/{names}/_settings", {"index.lifecycle.name": templates.NAME})
    else:
        wrote = output.request("POST", f"/_plugins/_ism/add/{names}", {"policy_id": templates.NAME})
    if wrote.status == OK and not (isinstance(wrote.data, dict) and wrote.data.get("failures")):
        yield f"retention policy {templates.NAME}: put on older indices: {', '.join(alone)}"
    else:
        yield f"index {', '.join(alone)}: under no retention policy, never deleted: {words(output, wrote)}"


def _template(output: BulkOutput, name: str, body: templates.Json) -> str:
    path = f"/_index_template/{name}"
    before = output.request("GET", path)
    found = before.data["index_templates"][0]["index_template"] if before.status == OK else None
    note = ""
    if _same_template(body, found):
        return f"index template {name}: as it should be"
    reply = output.request("PUT", path, body)
    if reply.status == 400 and "synthetic_source_keep" in str(reply.data):  # noqa: PLR2004
        # Elasticsearch before 8.16 neither knows it nor needs it.
        _strip(body["template"]["mappings"]["properties"])
        note = " (without synthetic_source_keep, which this version does not know)"
        if _same_template(body, found):
            return f"index template {name}: as it should be{note}"
        reply = output.request("PUT", path, body)
    if reply.status != OK:
        raise ValueError(f"index template {name}: {words(output, reply)}")
    return f"index template {name}: {'renewed' if found else 'installed'}{note}"


def _same_template(wanted: templates.Json, found: templates.Json | None) -> bool:
    """Compare templates; an engine nests the dotted names of settings."""
    if found is None:
        return False
    template = found.get("template", {})
    nested = template.get("settings", {}).get("index", {})
    settings = {f"index.{name}": value for name, value in _dotted(nested)}
    return same(wanted, found | {"template": template | {"settings": settings}})


def _dotted(settings: templates.Json, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _streams(output: BulkOutput, engine: templates.Engine) -> Iterator[str]:
    """Add new fields to existing data streams: a template acts on new indices only."""
    reply = output.request("GET", f"/{PATTERN}/_mapping?allow_no_indices=true&expand_wildcards=all")
    if reply.status != OK or not reply.data:
        return
    plain = sorted(name for name in reply.data if not name.startswith(".ds-"))
    if plain:
        yield (
            f"{', '.join(plain)}: a plain index, made before the template; "
            "reindex it into a data stream of another name, or delete it"
        )
    if len(plain) == len(reply.data):
        return
    mappings = templates.panics_template(engine)["template"]["mappings"]
    wrote = output.request("PUT", f"/{PATTERN}/_mapping", mappings)
    if wrote.status == OK:
        yield f"data streams {PATTERN}: fields as they should be"
    else:
        reason = words(output, wrote)
        yield f"data streams {PATTERN}: older fields stay until the next rollover: {reason}"


def _signatures(output: BulkOutput) -> str:
    """Create the index before the first crash: a monitor whose first run finds no index skips crashes."""
    if output.request("GET", f"/{SIGNATURES}/_mapping").status == OK:
        return f"index {SIGNATURES}: there already"
    reply = output.request("PUT", f"/{SIGNATURES}")
    if reply.status == OK or "resource_already_exists_exception" in str(reply.data):
        return f"index {SIGNATURES}: created"
    raise ValueError(f"index {SIGNATURES}: {words(output, reply)}")


def _unknown_path(reply: Reply) -> bool:
    """Tell whether the engine has no policies at all, rather than not this one: both answer 404 or 400."""
    return "no handler found" in str(reply.data) or reply.status in {400, 405, 501}


def words(output: BulkOutput, reply: Reply) -> str:
    """Return the engine's status and reason; the reason names a right that the user lacks.

    :raises Unavailable: the engine does not know the user.
    """
    error = reply.data.get("error", reply.data) if isinstance(reply.data, dict) else reply.data
    reason = error.get("reason", error) if isinstance(error, dict) else error
    if reply.status == 401:  # noqa: PLR2004
        raise Unavailable(f"{output.name}: {output.urls[0]} does not know this user or password")
    return hide_secrets(f"{reply.status}: {reason}")


def same(wanted: Any, found: Any) -> bool:  # noqa: ANN401 - JSON
    """Tell whether a server has all wanted values; it adds defaults, and writes numbers as text."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(same(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(same(*pair) for pair in zip(wanted, found, strict=True))
        )
    return (
        str(wanted).lower() == str(found).lower() if isinstance(wanted, bool) else str(wanted) == str(found)
    )


def _strip(properties: templates.Json) -> None:
    for field in properties.values():
        field.pop("synthetic_source_keep", None)
        _strip(field.get("properties", {}))
