"""Fixtures with real receivers, which are started once, if a test of the run needs them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from kpanic.shipper.api import _secrets
from tests.engines import parts
from tests.engines.forward import Receiver
from tests.engines.proxy import HttpProxy
from tests.engines.search import Engine, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

PORTS = {"opensearch": 19200, "elasticsearch": 19600}
settings.register_profile(  # the time of an example depends on the machine
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for longer runs of the tests of faults."""
    parser.addoption(
        "--rounds", type=int, default=1, help="how often each receiver dies in the tests of faults"
    )


NEEDS = {
    "opensearch": "engine",
    "elasticsearch": "engine",
    "engine": "engine",
    "node": "engine",
    "nodes": "engine",
    "secured": "engine",
    "browser": "browser",
    "receiver": "nodejs",
    "kpanic": "process",
}
"""Markers of the tests that use a fixture, by its name."""
SLOW = {"engine", "browser", "java", "journal", "lab", "nodejs", "process", "root", "timed"}
"""Markers of tests that are not unit tests."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the needs of its fixtures, and as slow if there are any."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "request" in fixtures:  # it may request a fixture that a parameter names
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            fixtures |= {value for value in parameters.values() if isinstance(value, str)}
        for fixture in sorted(fixtures & NEEDS.keys()):
            item.add_marker(NEEDS[fixture])
        if any(mark.name in SLOW for mark in item.iter_markers()):
            item.add_marker("slow")


class Unit:
    """Refuses actions that make a unit test slow or dependent on the machine."""

    running = False

    @classmethod
    def watch(cls, event: str, arguments: tuple[object, ...]) -> None:
        """Refuse programs and connections to other machines (an audit hook)."""
        if not cls.running:
            return
        starts = event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
        if starts and arguments[0] != "/sbin/ldconfig":  # ctypes, looking for a library
            raise AssertionError(f"a test that starts a program is marked with it: {arguments[0]}")
        if event == "socket.connect":
            address = arguments[1]
            if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
                raise AssertionError(f"a test that needs a network is marked slow: {address}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch the unit tests."""
    Unit.running = item.get_closest_marker("slow") is None
    try:
        return (yield)
    finally:
        Unit.running = False


def pytest_configure() -> None:
    """Stop the engines if the run is terminated, and install the hook that watches unit tests."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.addaudithook(Unit.watch)


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets after a test: messages of the next test may contain the same words."""
    monkeypatch.setattr(_secrets, "_secrets", set(_secrets._secrets))  # noqa: SLF001


@pytest.fixture(scope="session")
def _engines(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Engine]]:
    """Start all engines that the selected tests need in parallel, when the first one is used."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    wanted |= {
        value
        for item in request.session.items
        for value in getattr(getattr(item, "callspec", None), "params", {}).values()
        if isinstance(value, str)
    }
    nodes: list[Node] = []

    def start(product: str) -> Engine:
        if url := os.environ.get(f"{product.upper()}_URL"):
            return Engine(product, url.rstrip("/"))
        node = Node(product, f"http://127.0.0.1:{parts.free_port(PORTS[product])}")
        nodes.append(node)
        node.start()
        return node

    with ThreadPoolExecutor(max_workers=len(PORTS)) as pool:
        starting: dict[str, Future[Engine]] = {
            product: pool.submit(start, product) for product in PORTS if product in wanted
        }

        def get(product: str) -> Engine:
            try:
                return starting[product].result()
            except Exception as error:  # noqa: BLE001 - of a download, Java or the engine
                parts.missing(product, error)

        yield get
    for node in nodes:
        node.remove()


@pytest.fixture(scope="session")
def opensearch(_engines: Callable[[str], Engine]) -> Engine:
    """A real OpenSearch, or the one at OPENSEARCH_URL."""
    return _engines("opensearch")


@pytest.fixture(scope="session")
def elasticsearch(_engines: Callable[[str], Engine]) -> Engine:
    """A real Elasticsearch, or the one at ELASTICSEARCH_URL."""
    return _engines("elasticsearch")


@pytest.fixture(params=["opensearch", "elasticsearch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the two."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(engine: Engine) -> Iterator[HttpProxy]:
    """A proxy in front of the engine, for faults."""
    made = HttpProxy(engine.url)
    yield made
    made.close()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """A namespace, with a data stream for this test."""
    del request
    return uuid.uuid4().hex[:12]


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """A function that starts forward receivers."""
    made: list[Receiver] = []

    def make(**options: object) -> Receiver:
        made.append(Receiver(parts.free_port(20200), **options))  # type: ignore[arg-type]
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - slow to import

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        parts.missing("the browser", "chromium is not installed")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=found, args=["--no-sandbox"], timeout=180_000
            )
        except Error as error:
            parts.missing("the browser", error)
        yield started
        started.close()
