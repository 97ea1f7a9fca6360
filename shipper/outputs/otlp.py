"""OpenTelemetry: ``output.otlp``, logs over gRPC or HTTP.

A receiver answers a request once its queue holds it. The queue needs a storage on disk, or its content dies
with the receiver. Receivers do not recognise a repeat; ``log.record.uid`` identifies a record for the systems
after them. What a record looks like: :mod:`.otlp_records`.

:see: https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

from collections import deque
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from kpanic.shipper.api import (
    TLS,
    DeliveryStatus,
    Outcome,
    Positive,
    Seconds,
    Settings,
    Unavailable,
    check_url,
    remember_secret,
    timestamp,
)
from kpanic.shipper.batch import groups
from kpanic.shipper.outputs.outcomes import outcomes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpanic.shipper.api import Stored
    from kpanic.shipper.outputs.otlp_records import Records
    from kpanic.shipper.outputs.otlp_transport import Transport

__all__ = ["OtlpConfig", "OtlpOutput"]

REQUEST_BYTES: Final = 3_000_000
"""Maximum bytes of documents in a request of several. Records are up to a quarter larger; receivers of gRPC
refuse 4 MiB by default."""


class OtlpConfig(Settings, frozen=True, kw_only=True):
    """``output.otlp``."""

    endpoint: str
    """``http://collector:4317``; with https there is TLS. Over HTTP an empty path becomes ``/v1/logs``."""
    protocol: Literal["grpc", "http/protobuf"] = "grpc"
    headers: dict[Annotated[str, msgspec.Meta(min_length=1)], str] = msgspec.field(default_factory=dict)
    """Headers of each request, such as one with a key."""
    compression: Literal["none", "gzip"] = "gzip"
    ssl: TLS = TLS()
    timeout: Seconds = 30
    bulk_max_size: Positive = 100
    signatures: bool = False
    """Send a record for each new signature too."""

    def __post_init__(self) -> None:
        example = "http://collector:4317"
        check_url(self.endpoint, "endpoint", example)
        if "://" not in self.endpoint:
            raise ValueError(f"endpoint: expected an address with its scheme like {example}")
        for value in self.headers.values():
            remember_secret(value)


class Refused(Exception):  # noqa: N818 - a property of the request
    """The receiver never takes this request, however often it is sent."""


class PartlyRefused(Exception):  # noqa: N818 - a property of the request
    """The receiver took a request without some of its records, and does not name them."""


class OtlpOutput:
    """``output.otlp``."""

    Config = OtlpConfig
    name = "otlp"

    def __init__(self, config: OtlpConfig) -> None:
        needed = ["opentelemetry.proto"] + ["grpc"] * (config.protocol == "grpc")
        if not all(_there(name) for name in needed):
            raise ValueError("protocol: needs OpenTelemetry's packages: pip install 'kpanic[otlp]'")
        from kpanic.shipper.outputs.otlp_records import Records  # noqa: PLC0415 - protobuf
        from kpanic.shipper.outputs.otlp_transport import transport  # noqa: PLC0415

        self._records: Records = Records(signatures=config.signatures)
        self._transport: Transport = transport(config)
        self._most = config.bulk_max_size
        self.endpoint = config.endpoint

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        """Send in requests; halve a refused one, so that one bad document does not hold back others.

        If a request was taken in part, each of its documents is sent again alone, because the answer does not
        name the refused ones. The others arrive twice.

        :raises Unavailable: no document of the batch was settled.
        """
        outcomes: dict[str, Outcome] = {}
        moment, failure = timestamp(), ""
        waiting = deque(groups(batch, lambda stored: len(stored.body), self._most, REQUEST_BYTES))
        while waiting and not failure:
            part = waiting.popleft()
            try:
                self._transport.send(self._records.request(part, moment))
            except Unavailable as error:
                failure = str(error)
            except (Refused, PartlyRefused) as error:
                if len(part) == 1:
                    name = part[0].id
                    outcomes[name] = Outcome(name, DeliveryStatus.REJECTED, str(error))
                elif isinstance(error, PartlyRefused):
                    waiting.extendleft([[stored] for stored in reversed(part)])
                else:
                    half = len(part) // 2
                    waiting.extendleft((part[half:], part[:half]))
            else:
                self._records.delivered(part)
                outcomes |= {stored.id: Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in part}
        return outcomes_of(batch, outcomes, failure)

    def check(self) -> str:
        """Send a request without records.

        :raises Unavailable: there is no answer.
        """
        try:
            self._transport.send(self._records.request([], timestamp()))
        except (Refused, PartlyRefused) as error:
            raise Unavailable(f"otlp: {self.endpoint}: {error}") from None
        return f"OTLP at {self.endpoint}: answers"

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
