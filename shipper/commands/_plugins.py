"""Makes the inputs and outputs of the configuration, and the origin of their crashes."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

from kpanic.shipper.cli import Failure
from kpanic.shipper.origin import UNSTATED, Origin

if TYPE_CHECKING:
    from kpanic.shipper.api import Input, Output
    from kpanic.shipper.config import Config
    from kpanic.shipper.crashed_host import HostRules
    from kpanic.shipper.store import Store

__all__ = ["make_inputs", "make_outputs", "make_targets", "origin"]


def origin(
    config: Config | None = None,
    *,
    hosts: HostRules = UNSTATED,
    backfill_before: float | None = None,
    backfill_until: float = math.inf,
) -> Origin:
    """Return what is known about every crash before it is read."""
    host = socket.gethostname()
    if config is None:
        return Origin("file", agent_host=host, hosts=hosts)
    from kpanic.shipper.redact import DEFAULT_PATTERNS, Redactor  # noqa: PLC0415

    return Origin(
        "file",
        agent_host=config.name or host,
        hosts=hosts,
        namespace=config.data_stream.namespace,
        tags=tuple(config.tags),
        labels=config.labels,
        backfill_before=backfill_before,
        backfill_until=backfill_until,
        redactor=Redactor(DEFAULT_PATTERNS + tuple(config.redact.command_line)),
    )


def make_inputs(config: Config) -> list[Input]:
    """Make the configured inputs.

    :raises Failure: one cannot be made as it is configured.
    """
    from kpanic.plugins import load  # noqa: PLC0415
    from kpanic.shipper.config import INPUTS  # noqa: PLC0415

    made: list[Input] = []
    for number, plugin in enumerate(config.inputs):
        try:
            made.append(load(INPUTS, plugin.name)(plugin.settings))
        except ValueError as error:
            raise Failure(f"{config.source or 'configuration'}: inputs[{number}]: {error}", 2) from None
    return made


def make_outputs(config: Config, only: str | None = None) -> list[Output]:
    """Make the configured outputs, or the one named ``only``.

    :raises Failure: one cannot be made as it is configured, or is not configured.
    """
    from kpanic.plugins import load  # noqa: PLC0415
    from kpanic.shipper.config import OUTPUTS  # noqa: PLC0415

    chosen = [plugin for plugin in config.outputs if only in (None, plugin.name)]
    if only is not None and not chosen:
        have = ", ".join(plugin.name for plugin in config.outputs) or "none"
        raise Failure(f"output.{only} is not configured; there is {have}", 2)
    outputs: list[Output] = []
    for plugin in chosen:
        try:
            outputs.append(load(OUTPUTS, plugin.name)(plugin.settings))
        except ValueError as error:
            raise Failure(f"{config.source or 'configuration'}: output.{plugin.name}: {error}", 2) from None
    return outputs


def make_targets(config: Config, store: Store) -> list[Output]:
    """Make the targets of ``notify``; a new target gets messages only about later documents.

    :raises Failure: one cannot be made as it is configured.
    """
    if not config.notify.targets:
        return []
    from kpanic.dashboards.rules import rules  # noqa: PLC0415
    from kpanic.shipper.commands._configuration import site_options  # noqa: PLC0415
    from kpanic.shipper.notices import Notices  # noqa: PLC0415
    from kpanic.shipper.notify import NotifyOutput  # noqa: PLC0415
    from kpanic.shipper.triage import Triage  # noqa: PLC0415

    options = site_options(config)
    base = options.opensearch_dashboards_url or options.kibana_url
    made: list[Output] = []
    for number, target in enumerate(config.notify.targets):
        wanted = [rule for rule in rules(options) if rule.id in target.rules]
        try:
            one = NotifyOutput(target, Notices(store, wanted, Triage(config.entries)), base)
        except ValueError as error:
            raise Failure(
                f"{config.source or 'configuration'}: notify.targets[{number}].{error}", 2
            ) from None
        store.register_output(one.name, from_now=True)
        made.append(one)
    return made
