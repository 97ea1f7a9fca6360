"""Delivers documents where they are read: ``kpanic ship --direct``.

If a process or worker dies, it is unknown what it delivered. Its files are read and delivered again, so that
direct outputs must know a document by its ``_id``.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

from msgspec import structs

from kpanic.plugins import load
from kpanic.shipper.api import DeliveryStatus, Stored, Unavailable, shown_reason
from kpanic.shipper.config import OUTPUTS
from kpanic.shipper.triage import Triage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.shipper.api import Output
    from kpanic.shipper.config import Plugin
    from kpanic.shipper.packed import Packed
    from kpanic.shipper.parsing import Parsed
    from kpanic.shipper.triage import Entry

__all__ = ["Direct"]

PAUSE = 10.0
"""Seconds for which a thread sends nothing after a receiver gave no answer."""


class _Here(threading.local):
    """What a thread delivers with.

    :ivar token: token of its :class:`Direct`.
    :ivar resumes: when it may send again, by the monotonic clock.
    :ivar trouble: why it may not send earlier.
    """

    token = ""
    outputs: tuple[Output, ...] = ()
    triage = Triage()
    resumes = 0.0
    trouble = ""


_here = _Here()


class Direct:
    """Delivers parsed documents to every output, in the process that calls it.

    Processes and workers receive a copy and make the outputs anew.

    :param plugins: outputs that know a document by its ``_id``.
    :param entries: the entries of the triage file.
    """

    def __init__(self, plugins: Sequence[Plugin], entries: Sequence[Entry]) -> None:
        self._plugins = tuple(plugins)
        self._entries = tuple(entries)
        self._token = uuid.uuid4().hex

    def __call__(self, parsed: Parsed) -> Parsed:
        """Return the parsed documents, without the bodies of those that every output has.

        A document without printk's time keeps its body, because only the store knows its incident.
        """
        documents = [one for one in parsed.documents if one.sighting is None or one.sighting.timed]
        if not documents:
            return parsed
        try:
            delivered, reason = self._send(documents)
        except Exception as error:  # noqa: BLE001 - the caller meets the same fault
            name = "" if isinstance(error, Unavailable) else f"{type(error).__name__}: "
            _here.trouble = shown_reason(f"{name}{error}")
            _here.resumes = time.monotonic() + PAUSE
            return structs.replace(parsed, undelivered=_here.trouble)
        rest = [one._replace(body=b"") if one.id in delivered else one for one in parsed.documents]
        return structs.replace(parsed, documents=rest, undelivered=reason)

    def _send(self, documents: Sequence[Packed]) -> tuple[set[str], str]:
        """Return the ``_id`` of the documents that every output has, and why an output lacks some."""
        delivered, reason = {one.id for one in documents}, ""
        if _here.token != self._token:
            self._connect()
        if time.monotonic() < _here.resumes:
            return set(), _here.trouble
        batch = [_here.triage.stamp(Stored(0, one.id, one.body)) for one in documents]
        for output in _here.outputs:
            outcomes = list(output.send(batch))
            delivered &= {one.id for one in outcomes if one.status is DeliveryStatus.DELIVERED}
            reasons = (one.reason for one in outcomes if one.status is not DeliveryStatus.DELIVERED)
            reason = reason or shown_reason(next(reasons, ""))
        return delivered, reason

    def _connect(self) -> None:
        """Make the outputs of this thread.

        :raises ValueError: an output cannot be made here, such as for lack of a file.
        """
        for output in _here.outputs:
            output.close()
        _here.outputs = ()
        _here.outputs = tuple(load(OUTPUTS, name)(settings) for name, settings in self._plugins)
        _here.triage = Triage(self._entries)
        _here.token, _here.resumes = self._token, 0.0
