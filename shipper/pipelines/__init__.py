"""Configurations of other pipelines with kpanic in them, from one definition.

Each product has a template beside this file. This file has what the templates share: the filter's command,
the indices, the field that holds a document's ``_id``, the ports, and the notes for the operator.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from kpanic.indices import SIGNATURES, data_stream

__all__ = ["Engine", "Product", "Route", "pipeline", "products"]

SYSLOG_PORT: Final = 514
SYSLOG_COUNTED_PORT: Final = 601
NETCONSOLE_PORT: Final = 6666
FORWARD_PORT: Final = 24224
OTLP_PORT: Final = 4317
KPANIC_PORT: Final = 5140
"""Address at which ``kpanic run`` listens for the syslog of a pipeline that starts no programs."""
TAG: Final = "kernel.panic"
FILTER: Final = "/usr/local/bin/kpanic filter --signatures"


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine behind a pipeline.

    :ivar name: ``opensearch`` or ``elasticsearch``.
    """

    name: str = "opensearch"
    url: str = "https://search:9200"
    user: str = "kpanic"


@dataclass(frozen=True, slots=True)
class Route:
    """A kind of documents and its index.

    :ivar tag: the tag of ``kpanic filter --tag`` and ``output.fluentd``.
    :ivar name: an identifier for the product's configuration.
    """

    tag: str
    name: str
    index: str


@dataclass(frozen=True, slots=True)
class Product:
    """A product, and the notes for its users.

    :ivar needs: versions and plugins.
    :ivar kept: what is guaranteed.
    :ivar lost: what is not guaranteed.
    :ivar companion: ``kpanic.yml`` of the ``kpanic run`` beside it; empty if the product starts a filter.
    :ivar comment: beginning of a comment in its configuration; empty if the format has none.
    """

    title: str
    needs: str
    kept: str
    lost: str
    companion: str = ""
    comment: str = "#"


KERNEL: Final = (
    "ctx.process?.name == 'kernel' || ctx.log?.syslog?.appname == 'kernel'"
    " || ctx.systemd?.transport == 'kernel'"
    " || ctx.log?.syslog?.facility?.code == 0 || ctx.syslog?.facility == 0"
)
"""Painless condition for a line of the kernel's, in the fields of Filebeat's and Elastic Agent's inputs."""
HEADS: Final = (
    "Kernel panic - not syncing",
    "Oops",
    "BUG: ",
    "kernel BUG at ",
    "general protection fault",
    "Unable to handle kernel",
    "Internal error: ",
    "INFO: task ",
    "rcu: INFO: ",
)
"""Texts of which the first line of most crashes holds one."""

_PORTS: Final = {
    "syslog_port": SYSLOG_PORT,
    "syslog_rfc6587_port": SYSLOG_COUNTED_PORT,
    "netconsole_port": NETCONSOLE_PORT,
    "forward_port": FORWARD_PORT,
    "otlp_port": OTLP_PORT,
    "kpanic_port": KPANIC_PORT,
}


def products() -> dict[str, Product]:
    """Return the products by the name of their format."""
    text = (files(__package__) / "products.toml").read_text(encoding="utf-8")
    return {name: Product(**values) for name, values in tomllib.loads(text).items()}


def pipeline(form: str, engine: Engine, namespace: str = "default") -> str:
    """Return the configuration of a product.

    :param form: a key of :func:`products`.
    :param namespace: ``data_stream.namespace``.
    """
    import jinja2  # noqa: PLC0415 - few commands need it

    product, address = products()[form], urlsplit(engine.url)
    template = (files(__package__) / f"{form}.j2").read_text(encoding="utf-8")
    heads = " || ".join(f"ctx.message.contains('{head}')" for head in HEADS)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - no HTML
    text = environment.from_string(template).render(
        engine=engine.name,
        url=engine.url,
        scheme=address.scheme,
        host=address.hostname,
        port=address.port or 9200,
        user=engine.user,
        filter=FILTER,
        routes=(
            Route(TAG, "kernel_panics", data_stream(namespace)),
            Route(f"{TAG}.signature", "kernel_panic_signatures", SIGNATURES),
        ),
        id="labels.document_id",
        namespace=namespace,
        description="\n".join(_told(product, engine)),
        kernel=KERNEL,
        crash=f"({KERNEL}) && ctx.message instanceof String && ({heads})",
        **_PORTS,
    )
    head = _head(product, engine)
    if form == "syslog-ng":  # the version stands first
        first, _, rest = text.partition("\n")
        return f"{first}\n{head}{rest}"
    return head + text


def _told(product: Product, engine: Engine) -> list[str]:
    """Return the notes for the users of a product."""
    twice = (
        "OpenSearch may get a crash twice, and no signatures"
        if engine.name == "opensearch"
        else "what the engine refuses"
    )
    values = {"engine": engine.name, "twice": twice}
    return [
        f"Kernel panics through {product.title}. Needs {product.needs.format(**values)}.",
        f"Guaranteed: {product.kept.format(**values)}.",
        f"Not guaranteed: {product.lost.format(**values)}.",
    ]


def _head(product: Product, engine: Engine) -> str:
    """Return the comment before a configuration."""
    if not product.comment:
        return ""
    lines = [
        *_told(product, engine),
        "Before the first start: kpanic setup --index-management (templates and retention).",
    ]
    if product.companion:
        values = {"engine": engine.name, "url": engine.url, "user": engine.user}
        companion = product.companion.format(**values, **_PORTS)
        lines += ["", "/etc/kpanic/kpanic.yml of the kpanic run beside it:"]
        lines += [f"  {line}" for line in companion.splitlines()]
    return "".join(f"{product.comment} {line}".rstrip() + "\n" for line in lines) + "\n"
