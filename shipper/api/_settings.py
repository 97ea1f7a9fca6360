"""Settings of plugins: the base of every ``Config``, and shared keys, named as Filebeat's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from kpanic.shipper.api._secrets import remember_secret
from kpanic.shipper.crashed_host import HOST, HostRule, HostRules, glob_of
from kpanic.shipper.files import FilePath, ReadFile, open_trusted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

__all__ = [
    "TLS",
    "OptionalTLS",
    "PathSettings",
    "Positive",
    "Seconds",
    "Settings",
    "base_url",
    "check_addresses",
    "check_url",
    "read_secret",
    "split_address",
    "tls_context",
    "trust_context_only",
]

LONGEST_SECRET = 65_536
"""Bytes read of a file that holds a secret."""

Positive = Annotated[int, msgspec.Meta(ge=1)]
"""A whole number of at least 1."""
Seconds = Annotated[float, msgspec.Meta(gt=0)]
"""A time greater than 0."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the ``Config`` of every input and output.

    Subclasses declare a key as an annotated field with its default. ``__post_init__`` checks what types
    cannot express, and raises a ValueError whose message begins with the key. The representation shows no
    values, because a value may be a secret.

    >>> class LokiConfig(Settings, frozen=True, kw_only=True):
    ...     host: str
    ...     timeout: Seconds = 30
    >>> LokiConfig(host="http://loki:3100").timeout
    30
    """

    def examine(self) -> None:
        """Check the files that the settings name; ``kpanic test config`` and every start call it.

        :raises ValueError: a file cannot be used; the message begins with the key.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class PathSettings(Settings, frozen=True, kw_only=True):
    """Settings of an input that reads files of one machine or of many."""

    paths: list[FilePath]
    """Files or folders. ``{host}`` stands for the name of the host that a file is of."""
    host: str = ""
    """Name of the host that all ``paths`` are of; excludes ``{host}`` in them."""

    def __post_init__(self) -> None:
        if self.host and any(HOST in path for path in self.paths):
            raise ValueError(f"host: excludes {HOST} in paths")
        for index, path in enumerate(self.paths):
            try:
                HostRules([HostRule(path, "" if HOST in path else "any")])
            except ValueError as error:
                raise ValueError(f"paths[{index}]: {error}") from None

    def host_rules(self) -> list[HostRule]:
        """Return the operator's rules for the host of the files at the paths."""
        return [HostRule(path, self.host) for path in self.paths if self.host or HOST in path]

    def folders(self) -> list[str]:
        """Return the paths; those with ``{host}`` are replaced by existing ones that match, if any."""
        import glob  # noqa: PLC0415

        return [
            found
            for path in self.paths
            for found in (HOST in path and sorted(glob.glob(glob_of(path)))) or [path]  # noqa: PTH207
        ]


class TLS(Settings, frozen=True, kw_only=True):
    """The ``ssl`` keys."""

    certificate_authorities: list[ReadFile] = []
    """PEM files with trusted authorities; by default the system's."""
    verification_mode: Literal["full", "certificate", "none"] = "full"
    """``full``: chain and host name; ``certificate``: the chain only; ``none``: no check."""
    certificate: ReadFile = ""
    """PEM file with the client's certificate."""
    key: ReadFile = ""
    """PEM file with the key of the client's certificate."""

    def examine(self) -> None:
        """Read the certificates.

        :raises ValueError: they cannot be used.
        """
        tls_context(self)


class OptionalTLS(TLS, frozen=True, kw_only=True):
    """The ``ssl`` keys of an output whose addresses have no scheme, with the key that turns TLS on."""

    enabled: bool = False


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``collector:24224``, ``[::1]:24224`` or ``collector``.

    :raises ValueError: the text has another form.

    >>> split_address("[::1]:24224", 24224)
    ('::1', 24224)
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - who only parses needs none

    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.username:
        raise ValueError(text)
    return parts.hostname, parts.port or default_port


def check_addresses(hosts: Iterable[str], default_port: int, example: str) -> None:
    """Check the ``hosts`` of an output that uses :func:`split_address`.

    :param example: an address, for the message.
    :raises ValueError: one of them has another form; the text names it by its index.
    """
    for index, host in enumerate(hosts):
        try:
            split_address(host, default_port)
        except ValueError:
            raise ValueError(f"hosts[{index}]: expected an address like {example}") from None


def check_url(text: str, key: str, example: str) -> None:
    """Check the address of an HTTP server, with or without its scheme.

    :param key: what it is configured as.
    :raises ValueError: it is not an address, or holds a user and a password; the text begins with ``key`` and
        shows no secret.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415

    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        usable = parts.scheme in {"", "http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # unbalanced brackets, or a port that is not a number
        usable = False
    else:
        if parts.username or parts.password:
            raise ValueError(f"{key}: no user and password inside an address; use username and password_file")
    if not usable:
        raise ValueError(f"{key}: expected an address like {example}")


def base_url(text: str, default_port: int, tls: TLS) -> str:
    """Return the address of an HTTP server with scheme and port, without a slash at its end.

    :param text: passed :func:`check_url`; without a scheme it is https where ``ssl`` is configured.

    >>> base_url("search/es/", 9200, TLS())
    'http://search:9200/es'
    """
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(text if "//" in text else f"//{text}")
    scheme = parts.scheme or ("https" if tls != TLS() else "http")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{scheme}://{name}:{parts.port or default_port}{parts.path.rstrip('/')}"


def tls_context(tls: TLS) -> ssl.SSLContext:
    """Return a client's TLS context, for TLS 1.2 or newer.

    :raises ValueError: a file of the settings cannot be used; the text begins with its key and names it.
    """
    import ssl  # noqa: PLC0415

    context = ssl.create_default_context()
    if tls.certificate_authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for path in tls.certificate_authorities:
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:
                raise ValueError(f"ssl.certificate_authorities: {path}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate:
        try:
            context.load_cert_chain(tls.certificate, tls.key or None)
        except OSError as error:
            raise ValueError(f"ssl.certificate: {tls.certificate}: {error.strerror or error}") from error
    if tls.verification_mode != "full":
        context.check_hostname = False
    if tls.verification_mode == "none":
        context.verify_mode = ssl.CERT_NONE
    return context


def trust_context_only(pool: Any, tls: TLS) -> None:  # noqa: ANN401 - urllib3's pool, of any client
    """Make a urllib3 connection pool verify by its TLS context only; clients add their own authorities."""
    pool.ca_certs = None
    pool.cert_reqs = None
    pool.assert_hostname = None if tls.verification_mode == "full" else False


def read_secret(value: str, path: str, key: str) -> str:
    """Return a secret that is configured as ``key`` or, as the first line of a file, as ``<key>_file``.

    :param value: the setting ``key``.
    :param path: the setting ``<key>_file``.
    :raises ValueError: both are set, or the file cannot be read; the text begins with the key.
    """
    if value and path:
        raise ValueError(f"{key} and {key}_file exclude each other")
    if path:
        try:
            with open_trusted(path) as file:
                value = file.readline(LONGEST_SECRET).decode().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ValueError(f"{key}_file: {path}: {getattr(error, 'strerror', None) or error}") from error
    remember_secret(value)
    return value
