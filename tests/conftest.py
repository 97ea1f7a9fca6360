"""Real receivers for the tests, started once a run and only if a test of the run wants them."""

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
settings.register_profile(  # what an example takes is the machine's affair
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what makes the short tests of faults long ones."""
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
"""Markers of what the unit part goes without."""


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what its fixtures need, and as slow if it needs anything."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "request" in fixtures:  # which may ask for the one that a parameter names
            parameters = getattr(getattr(item, "callspec", None), "params", {})
            fixtures |= {value for value in parameters.values() if isinstance(value, str)}
        for fixture in sorted(fixtures & NEEDS.keys()):
            item.add_marker(NEEDS[fixture])
        if any(mark.name in SLOW for mark in item.iter_markers()):
            item.add_marker("slow")


class Unit:
    """What a test of the unit part may not do: it would be slow, or depend on the machine."""

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
    """Watch the tests of the unit part."""
    Unit.running = item.get_closest_marker("slow") is None
    try:
        return (yield)
    finally:
        Unit.running = False


def pytest_configure() -> None:
    """End the engines with a run that is terminated, and watch the unit part."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.addaudithook(Unit.watch)


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of a test with it: the next one's messages may hold the same words."""
    monkeypatch.setattr(_secrets, "_secrets", set(_secrets._secrets))  # noqa: SLF001


@pytest.fixture(scope="session")
def _engines(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Engine]]:
    """Start all engines that the chosen tests want, side by side, when the first is wanted."""
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
            except Exception as error:  # noqa: BLE001 - downloads, Java, the engine: any of them
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
    """A data stream of the test's own."""
    del request
    return uuid.uuid4().hex[:12]


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Make forward receivers, started."""
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
