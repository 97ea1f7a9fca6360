"""Where a crash was read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct, field

from kpanic.shipper.crashed_host import HostRules
from kpanic.shipper.redact import STANDARD, Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Origin"]

UNSTATED = HostRules()


class Origin(Struct, frozen=True):
    """Where a crash was read, and all that is known about it in addition to its text."""

    provider: str
    """``kdump``, ``pstore``, ``netconsole``, ``serial``, ``journal``, ``kmsg``, ``syslog`` or ``file``."""
    path: str = ""
    """The file, as the user named it; empty for a socket."""
    hosts: HostRules = UNSTATED
    """The operator's rules for the host of each file."""
    host_stated: str = ""
    """Name of the host that crashed, given by the operator."""
    host_ip: str = ""
    """Address of the host that crashed, from kdump's folder name or netconsole's sender."""
    host_name: str = ""
    """Name of the host that crashed, from the same sources."""
    folder_epoch: float | None = None
    """Wall clock in kdump's folder name, seconds since 1970 UTC."""
    mtime: float | None = None
    """Last change of the file, seconds since 1970 UTC."""
    agent_host: str = ""
    """Name of the host that this shipper runs on."""
    own: bool = False
    """The source holds crashes of the shipper's host alone."""
    relayed: bool = False
    """The crash came from another host over the network: the shipper's host is the observer."""
    namespace: str = "default"
    """``data_stream.namespace``."""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    backfill_before: float | None = None
    """Seconds since 1970 UTC; a crash before this moment is history and does not alert. None for no history.
    """
    backfill_until: float = math.inf
    """Seconds since 1970 UTC; a crash read after this moment is new, because its host's clock may lag by
    years.
    """
    redactor: Redactor = STANDARD
