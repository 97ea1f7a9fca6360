"""All that an input or an output needs: the public face of the shipper for plugins.

An input is a class registered under the entry point group ``kpanic.inputs``, an output one under
``kpanic.outputs``; the entry point's name is the ``type`` of the item of ``inputs``, or the ``<name>`` of
``output.<name>``. Both bring a ``Config``, a subclass of :class:`Settings` whose fields are their keys. The
built-in ones are registered in the same way and import from here alone.

:mod:`kpanic.shipper.contract` checks that a plugin keeps what its protocol promises.

=====================  ==============================================================================
Inputs                 :class:`Input`, :class:`Feed`, :class:`Crash`, :class:`Origin`, :class:`Unreadable`,
                       :class:`DropReason`
Parsing in an input    :class:`Reader`, :class:`Readers`, :func:`parse_fault`
Memory of queues       :data:`MEMORY`, :class:`Memory`, :class:`Share`
Waiting                :class:`Stop`, :class:`Waiter`
Outputs                :class:`Output`, :class:`Stored`, :class:`Outcome`, :class:`DeliveryStatus`,
                       :class:`Unavailable`, :data:`ALREADY_THERE`
A document's encoding  :func:`with_delivery_fields`, :func:`timestamp`
Files of strangers     :func:`open_named`
Settings               :class:`Settings`, :class:`PathSettings`, :data:`FilePath`, :data:`ReadFile`,
                       :data:`Positive`, :data:`Seconds`, :func:`read_secret`, :func:`remember_secret`,
                       :func:`hide_secrets`, :func:`shown_reason`, :data:`REASON`
Hosts and TLS          :func:`split_address`, :func:`check_addresses`, :func:`check_url`,
                       :func:`base_url`, :class:`TLS`, :class:`OptionalTLS`,
                       :func:`tls_context`, :func:`trust_context_only`, :func:`connection_error`
=====================  ==============================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpanic.shipper.api._connections import connection_error
    from kpanic.shipper.api._documents import timestamp, with_delivery_fields
    from kpanic.shipper.api._input import Crash, DropReason, Feed, Input, Unreadable
    from kpanic.shipper.api._memory import MEMORY, Memory, Share
    from kpanic.shipper.api._output import (
        ALREADY_THERE,
        DeliveryStatus,
        Outcome,
        Output,
        Stored,
        Unavailable,
    )
    from kpanic.shipper.api._reader import Reader, Readers
    from kpanic.shipper.api._secrets import REASON, hide_secrets, remember_secret, shown_reason
    from kpanic.shipper.api._settings import (
        TLS,
        OptionalTLS,
        PathSettings,
        Positive,
        Seconds,
        Settings,
        base_url,
        check_addresses,
        check_url,
        read_secret,
        split_address,
        tls_context,
        trust_context_only,
    )
    from kpanic.shipper.api._waiting import Stop, Waiter
    from kpanic.shipper.api._watchdog import WATCHDOG, TooCostly, cost, parse_fault, too_costly
    from kpanic.shipper.files import FilePath, ReadFile, open_named
    from kpanic.shipper.origin import Origin

__all__ = [
    "ALREADY_THERE",
    "MEMORY",
    "REASON",
    "TLS",
    "WATCHDOG",
    "Crash",
    "DeliveryStatus",
    "DropReason",
    "Feed",
    "FilePath",
    "Input",
    "Memory",
    "OptionalTLS",
    "Origin",
    "Outcome",
    "Output",
    "PathSettings",
    "Positive",
    "ReadFile",
    "Reader",
    "Readers",
    "Seconds",
    "Settings",
    "Share",
    "Stop",
    "Stored",
    "TooCostly",
    "Unavailable",
    "Unreadable",
    "Waiter",
    "base_url",
    "check_addresses",
    "check_url",
    "connection_error",
    "cost",
    "hide_secrets",
    "open_named",
    "parse_fault",
    "read_secret",
    "remember_secret",
    "shown_reason",
    "split_address",
    "timestamp",
    "tls_context",
    "too_costly",
    "trust_context_only",
    "with_delivery_fields",
]

_MODULES: dict[str, tuple[str, ...]] = {
    "kpanic.shipper.api._connections": ("connection_error",),
    "kpanic.shipper.api._documents": (
        "timestamp",
        "with_delivery_fields",
    ),
    "kpanic.shipper.api._input": (
        "Crash",
        "DropReason",
        "Feed",
        "Input",
        "Unreadable",
    ),
    "kpanic.shipper.api._memory": (
        "MEMORY",
        "Memory",
        "Share",
    ),
    "kpanic.shipper.api._output": (
        "ALREADY_THERE",
        "DeliveryStatus",
        "Outcome",
        "Output",
        "Stored",
        "Unavailable",
    ),
    "kpanic.shipper.api._reader": (
        "Reader",
        "Readers",
    ),
    "kpanic.shipper.api._secrets": (
        "REASON",
        "hide_secrets",
        "remember_secret",
        "shown_reason",
    ),
    "kpanic.shipper.api._settings": (
        "TLS",
        "OptionalTLS",
        "PathSettings",
        "Positive",
        "Seconds",
        "Settings",
        "base_url",
        "check_url",
        "read_secret",
        "check_addresses",
        "split_address",
        "tls_context",
        "trust_context_only",
    ),
    "kpanic.shipper.api._waiting": (
        "Stop",
        "Waiter",
    ),
    "kpanic.shipper.api._watchdog": (
        "WATCHDOG",
        "TooCostly",
        "cost",
        "parse_fault",
        "too_costly",
    ),
    "kpanic.shipper.document": ("Origin",),
    "kpanic.shipper.files": (
        "FilePath",
        "ReadFile",
        "open_named",
    ),
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: a command that parses one file needs few of them."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value
