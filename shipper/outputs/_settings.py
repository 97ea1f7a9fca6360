"""Keys that several outputs have, in the names that Filebeat's users know."""

from __future__ import annotations

import ssl
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from kpanic.shipper.files import FilePath, ReadFile, opened

__all__ = [
    "TLS",
    "FilePath",
    "Positive",
    "ReadFile",
    "Seconds",
    "Settings",
    "check_url",
    "context",
    "secret",
    "trust",
]

LONGEST_SECRET = 65_536
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every output's ``Config``; shows no value, as it may hold secrets."""

    def examine(self) -> None:
        """Look at what it names.

        :raises ValueError: it cannot be used; the text begins with the key.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class TLS(Settings, frozen=True, kw_only=True):
    """The ``ssl`` keys."""

    certificate_authorities: list[ReadFile] = []
    """PEM files; without any, those that the system trusts."""
    verification_mode: Literal["full", "certificate", "none"] = "full"
    """``full``: chain and host name; ``certificate``: the chain only; ``none``: anybody."""
    certificate: ReadFile = ""
    """PEM file with the client's own certificate."""
    key: ReadFile = ""
    """PEM file with its key."""

    def examine(self) -> None:
        """Read the certificates.

        :raises ValueError: they cannot be used.
        """
        context(self)


def check_url(text: str, key: str, like: str) -> None:
    """Look at the address of a server.

    :raises ValueError: it is none; the text begins with ``key`` and shows no secret.
    """
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        usable = parts.scheme in {"", "http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # brackets, a port that is no number
        usable = False
    else:
        if parts.username or parts.password:
            raise ValueError(f"{key}: no user and password inside an address; use username and password_file")
    if not usable:
        raise ValueError(f"{key}: expected an address like {like}")


def context(tls: TLS) -> ssl.SSLContext:
    """Make the client's side of TLS, 1.2 or newer.

    :raises ValueError: a file of the settings cannot be used; its name is in the text.
    """
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate_authorities:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in tls.certificate_authorities:
            try:
                made.load_verify_locations(cafile=path)
            except OSError as error:
                raise ValueError(f"ssl.certificate_authorities: {path}: {error.strerror or error}") from error
    if tls.certificate:
        try:
            made.load_cert_chain(tls.certificate, tls.key or None)
        except OSError as error:
            raise ValueError(f"ssl.certificate: {tls.certificate}: {error.strerror or error}") from error
    if tls.verification_mode != "full":
        made.check_hostname = False
    if tls.verification_mode == "none":
        made.verify_mode = ssl.CERT_NONE
    return made


def trust(pool: Any, tls: TLS) -> None:  # noqa: ANN401 - urllib3's, of either client
    """Let a connection pool go by its context alone: a client adds authorities and checks of its own."""
    pool.ca_certs = None
    pool.cert_reqs = None
    pool.assert_hostname = None if tls.verification_mode == "full" else False


def secret(value: str, path: str, key: str) -> str:
    """Read a secret: given as it is, or as the first line of the file at ``path``.

    :raises ValueError: both are given, or the file cannot be read.
    """
    if value and path:
        raise ValueError(f"{key} and {key}_file exclude each other")
    if not path:
        return value
    try:
        with opened(path) as file:
            return file.readline(LONGEST_SECRET).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ValueError(f"{key}_file: {path}: {getattr(error, 'strerror', None) or error}") from error
