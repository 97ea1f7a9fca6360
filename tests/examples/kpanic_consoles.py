"""Serial consoles that a console server writes into a folder, a file a host: ``type: consoles``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

import kpanic
from kpanic.shipper.api import Crash, FilePath, Seconds, Settings, open_named

if TYPE_CHECKING:
    from kpanic.shipper.api import Feed


class ConsolesConfig(Settings, frozen=True, kw_only=True):
    """The keys of ``type: consoles``."""

    path: FilePath
    scan_interval: Seconds = 10


class ConsolesInput:
    """Reads ``<host>.log`` as a whole each time it has changed."""

    Config = ConsolesConfig
    name = "consoles"

    def __init__(self, config: ConsolesConfig) -> None:
        self.paths = [config.path]
        self._folder = Path(config.path)
        self._pause = config.scan_interval

    def run(self, feed: Feed) -> None:
        """Watch the folder until the input is stopped."""
        faults: dict[Path, str] = {}
        while not feed.stop.wait(self._pause):
            known = feed.positions()
            for path in sorted(self._folder.glob("*.log")):
                try:
                    state = str(path.stat().st_mtime_ns)
                    if known.get(path.name) != state:
                        self._read(path, state, feed)
                except OSError as error:
                    if faults.get(path) != str(error):
                        faults[path] = str(error)
                        feed.say(f"{path}: cannot be read: {error.strerror}; it is tried again")

    def _read(self, path: Path, state: str, feed: Feed) -> None:
        origin = replace(feed.origin, provider="serial", path=str(path), host_name=path.stem, relayed=True)
        with open_named(str(path)) as file:
            reports = kpanic.parse(iter(lambda: file.read(1 << 18), b""))
            feed.keep([Crash(report, origin) for report in reports], {path.name: state})
