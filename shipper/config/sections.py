"""The sections of the configuration, a struct each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from kpanic.shipper.files import FilePath  # noqa: TC001 - msgspec looks at annotations
from kpanic.shipper.frontend import SetupConfig
from kpanic.shipper.notify_config import NotifyConfig
from kpanic.shipper.triage import Entry  # noqa: TC001 - msgspec looks at annotations

INPUTS, OUTPUTS = "kpanic.inputs", "kpanic.outputs"


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the structs of configuration."""


class PathConfig(_Strict, frozen=True, kw_only=True):
    """``path``."""

    data: FilePath = ""
    """Folder of the store; /var/lib/kpanic for root, else below $XDG_STATE_HOME."""


class DataStreamConfig(_Strict, frozen=True, kw_only=True):
    """``data_stream``."""

    namespace: Annotated[
        str,
        msgspec.Meta(
            pattern=r'^[^\\/*?"<>| ,#:A-Z-]{1,100}$',
            description="a name in lower case without '-', such as default",
        ),
    ] = "default"
    """Last part of the data stream's name: lower case, without ``-``."""


class RetentionConfig(_Strict, frozen=True, kw_only=True):
    """``retention``: how long the store keeps the text of documents."""

    age: Annotated[
        str, msgspec.Meta(pattern=r"^\d{1,6}[hdwy]$", description="a time such as 36h, 90d, 8w or 2y")
    ] = "2y"
    """Age at which a document's text is deleted, once every output has it: ``36h``, ``90d``, ``2y``."""
    size: Annotated[
        str, msgspec.Meta(pattern=r"^\d{1,6}(kb|mb|gb)$", description="a size such as 500mb or 4gb")
    ] = "4gb"
    """Size of the store's file above which texts are deleted, delivered ones first, then by age."""

    def seconds(self) -> float:
        """Return ``age`` in seconds."""
        return (
            int(self.age[:-1]) * {"h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_557_600.0}[self.age[-1]]
        )

    def bytes(self) -> int:
        """Return ``size`` in bytes."""
        return _bytes(self.size)


def _bytes(size: str) -> int:
    return int(size[:-2]) * {"kb": 1000, "mb": 1000**2, "gb": 1000**3}[size[-2:]]


class MemoryConfig(_Strict, frozen=True, kw_only=True):
    """``memory``."""

    limit: Annotated[
        str, msgspec.Meta(pattern=r"^\d{1,6}(kb|mb|gb)$", description="a size such as 64mb or 1gb")
    ] = "64mb"
    """Messages and log text that the inputs hold at once, the program itself not counted."""

    def bytes(self) -> int:
        """Return ``limit`` in bytes."""
        return _bytes(self.limit)


class FleetConfig(_Strict, frozen=True, kw_only=True):
    """``fleet``."""

    size: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Number of all hosts, including those that never crashed, for panics per 1,000 hosts and day."""


class HttpConfig(_Strict, frozen=True, kw_only=True):
    """``http``: metrics for Prometheus, while ``kpanic run`` runs."""

    enabled: bool = False
    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5066


class RedactConfig(_Strict, frozen=True, kw_only=True):
    """``redact``."""

    command_line: list[str] = []
    """More names of kernel parameters with secret values, with ``*`` and ``?``."""


class TriageConfig(_Strict, frozen=True, kw_only=True):
    """``triage``."""

    path: FilePath = ""
    """YAML file of known faults (docs/triage.md); a relative path is below the configuration's folder."""


_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Plugin(NamedTuple):
    """An input or output of the configuration."""

    name: str
    settings: Any
    """An instance of the plugin's ``Config``."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration."""

    name: str = ""
    """Name of this machine; by default its host name."""
    path: PathConfig = PathConfig()
    data_stream: DataStreamConfig = DataStreamConfig()
    fleet: FleetConfig = FleetConfig()
    redact: RedactConfig = RedactConfig()
    retention: RetentionConfig = RetentionConfig()
    memory: MemoryConfig = MemoryConfig()
    setup: SetupConfig = SetupConfig()
    notify: NotifyConfig = NotifyConfig()
    triage: TriageConfig = TriageConfig()
    entries: list[Entry] = []
    """The entries of the triage file."""
    http: HttpConfig = HttpConfig()
    shutdown_timeout: _Seconds = 30.0
    """Seconds within which the service ends its threads; systemd's default for that is 90."""
    tags: list[str] = []
    """``tags`` of every document."""
    labels: dict[str, str] = {}
    """``labels`` of every document."""
    inputs: list[Plugin] = []
    outputs: list[Plugin] = []
    source: str = ""
    """The file that was read; empty without one."""
    warnings: list[str] = []
    """Possible mistakes."""

    def store_path(self) -> Path:
        """Return the path of the store's file."""
        if self.path.data:
            return Path(self.path.data).expanduser() / "kpanic.db"
        if os.geteuid() == 0:
            return Path("/var/lib/kpanic/kpanic.db")
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "kpanic" / "kpanic.db"


SECTIONS: dict[str, Any] = {
    "name": str,
    "path": PathConfig,
    "data_stream": DataStreamConfig,
    "fleet": FleetConfig,
    "redact": RedactConfig,
    "retention": RetentionConfig,
    "memory": MemoryConfig,
    "notify": NotifyConfig,
    "triage": TriageConfig,
    "setup": SetupConfig,
    "http": HttpConfig,
    "shutdown_timeout": _Seconds,
    "tags": list[str],
    "labels": dict[str, str],
}
