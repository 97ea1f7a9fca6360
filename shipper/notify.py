"""Messages about crashes from the service itself: one target of ``notify`` as an output.

A target is an output that takes each document and sends a message for those that fire a rule
(:mod:`kpanic.shipper.notices`). Like every output it has its own cursor in the store, retries with growing
waits while the message is refused, and a line in ``kpanic status``.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, ClassVar, Final

from kpanic.dashboards.products.notification import notification
from kpanic.shipper.api import ALREADY_THERE, DeliveryStatus, Outcome, Unavailable
from kpanic.shipper.notify_config import Target, service
from kpanic.shipper.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apprise import NotifyBase

    from kpanic.shipper.api import Settings, Stored
    from kpanic.shipper.notices import Notices

__all__ = ["PREFIX", "NotifyOutput", "send"]

_ACTIVE: Final = re.compile(
    r"(?<!\w)@(?=[\w*])|@(?=(?i:everyone|here))|<[!#](?=\w)|<(?=(?i:[a-z]{2,10}:|users/))|!(?=\[)|\](?=\()"
)
"""Beginnings of a mention, an image or a link: Slack's, Discord's, Mattermost's, Zulip's, Google Chat's."""
PREFIX: Final = "notify."
"""Prefix of a target's name among the outputs."""


class NotifyOutput:
    """One target.

    :param notices: its rules.
    :param base: address of Kibana or OpenSearch Dashboards for links; may be empty.
    :raises ValueError: the address cannot be used; the text begins with its key.
    """

    Config: ClassVar[type[Settings]] = Target

    def __init__(self, config: Target, notices: Notices, base: str = "") -> None:
        self.name = f"{PREFIX}{config.name}"
        self._rules = config.rules
        self._notices = notices
        self._base = base
        self._service = service(config)

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send a message for the first document that fires a rule; later documents wait for the next try.

        So each message is settled before the next one is sent: a kill repeats one message at most.

        :raises Unavailable: the message is refused, and no document came before it.
        """
        outcomes: list[Outcome] = []
        for stored in batch:
            fired = self._notices.fired(stored)
            if not fired:
                outcomes.append(Outcome(stored.id, DeliveryStatus.DELIVERED, ALREADY_THERE))
                continue
            failed = send(self._service, *notification(fired, self._base))
            if not failed:
                outcomes.append(Outcome(stored.id, DeliveryStatus.DELIVERED))
            elif not outcomes:
                raise Unavailable(f"{self.name}: {failed}")
            break
        later = batch[len(outcomes) :]
        return [*outcomes, *(Outcome(stored.id, DeliveryStatus.RETRY) for stored in later)]

    def check(self) -> str:
        """Describe the target and its rules; only a real message shows whether the target takes one."""
        return f"{self.name}: {self._service.service_name}, gets messages of {', '.join(self._rules)}"

    def close(self) -> None:
        """Do nothing: each message has its own connection."""


def inert(text: str) -> str:
    """Return text with blanks inserted into mentions, images and named links of chats.

    Not every service can show text verbatim, and Apprise escapes text for some services only.

    >>> inert("@everyone <!channel> ![](https://x) irq@5")
    '@ everyone <! channel> ! [] (https://x) irq@5'
    """
    return _ACTIVE.sub(lambda found: f"{found[0]} ", text)


class _Reasons(logging.Handler):
    """The last complaint of Apprise."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = " ".join(record.getMessage().split())


def send(target: NotifyBase, subject: str, text: str) -> str:
    """Send a message; return why it was refused, empty if it was taken.

    :param target: of :func:`service`.
    """
    from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415 - an extra

    logger = logging.getLogger("apprise")
    reasons = _Reasons()
    logger.addHandler(reasons)
    try:
        taken = Apprise([target]).notify(
            title=inert(visible(subject)),
            body=inert(visible(text, lines=True)),
            notify_type=NotifyType.FAILURE,
            body_format=NotifyFormat.TEXT,
        )
    finally:
        logger.removeHandler(reasons)
    return "" if taken else reasons.last or "the message was not taken"
