"""Syslog over TLS (RFC 5425): the listening side, and the recognition of bytes that are not syslog.

The framing inside is that of TCP: RFC 5425 counts octets, and senders that end messages with a line feed are
read too.
"""

from __future__ import annotations

import re
import ssl
from typing import Final, Literal

import msgspec

from kpanic.shipper.api import ReadFile, Settings

__all__ = ["ListenTLS", "handshake_fault", "unreadable"]

_RELP: Final = re.compile(rb"[1-9]\d{0,8} (?:open|syslog|close) ")
"""The first frame of a client that speaks RELP: transaction, command (librelp, relpframe.c)."""
_BINARY: Final = frozenset(range(0x20)) - frozenset(b"\0\t\n\r\x1b")
"""Bytes that no text begins with; a console's text may begin with an escape."""
_ZSTANDARD: Final = b"(\xb5/\xfd"


class ListenTLS(Settings, frozen=True, kw_only=True):
    """The ``ssl`` keys of a socket that listens."""

    enabled: bool = False
    certificate: ReadFile = ""
    """PEM file with the certificate, and the intermediate ones up to its authority."""
    key: ReadFile = ""
    """PEM file with the certificate's key, if the key is not in the same file."""
    certificate_authorities: list[ReadFile] = msgspec.field(default_factory=list)
    """PEM files with the authorities of clients' certificates."""
    client_authentication: Literal["none", "optional", "required"] = "none"
    """Whether clients must have a certificate; ``optional``: if a client shows one, it must be trusted."""

    def __post_init__(self) -> None:
        if self.enabled and not self.certificate:
            raise ValueError("certificate: needed where ssl is enabled")
        if self.client_authentication != "none" and not self.certificate_authorities:
            raise ValueError("certificate_authorities: needed to check clients' certificates")

    def examine(self) -> None:
        """Read the certificates.

        :raises ValueError: the certificates cannot be used.
        """
        if self.enabled:
            self.context()

    def context(self) -> ssl.SSLContext:
        """Return the server's side of TLS, 1.2 or newer.

        :raises ValueError: a file cannot be used; the text begins with its key and names it.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key or None, password=lambda: "")
        except OSError as error:
            files = " and ".join(filter(None, (self.certificate, self.key)))
            raise ValueError(f"ssl.certificate: {files}: {error.strerror or error}") from error
        for path in self.certificate_authorities:
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:
                raise ValueError(f"ssl.certificate_authorities: {path}: {error.strerror or error}") from error
        context.verify_mode = {
            "none": ssl.CERT_NONE,
            "optional": ssl.CERT_OPTIONAL,
            "required": ssl.CERT_REQUIRED,
        }[self.client_authentication]
        return context


def handshake_fault(error: ssl.SSLError) -> str:
    """Return why a client's handshake failed, for the operator."""
    reason = error.reason or ""
    if reason in {"HTTP_REQUEST", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL"}:
        return "speaks no TLS, which protocol.tcp.ssl asks for"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "shows no certificate, which client_authentication asks for"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not trusted: {error.verify_message}"
    return f"cannot agree on TLS: {reason.replace('_', ' ').lower() or error}"


def unreadable(data: bytes) -> str:
    """Return what the first bytes of a connection or datagram are if they are not syslog, else an empty text.

    >>> unreadable(bytes([22, 3, 1])), unreadable(b"<4>Apr 29 11:32:26 web-1 kernel: Oops")
    ('speaks TLS, which is not enabled; set protocol.tcp.ssl or send plain TCP', '')
    """
    if data.startswith(b"\x16\x03"):  # RFC 8446, 5.1
        return "speaks TLS, which is not enabled; set protocol.tcp.ssl or send plain TCP"
    if _RELP.match(data):
        return "speaks RELP, which this input does not; send plain TCP or TLS"
    if data.startswith((b"zx", b"x\x01", b"x\x9c", b"x\xda")):  # rsyslog's ziplevel and compression.mode
        return "sends compressed messages; set ziplevel to 0 and compression.mode to none there"
    if data and (data[0] in _BINARY or data.startswith(_ZSTANDARD)):
        return "sends bytes that are no syslog, such as compressed or encrypted ones; they are not read"
    return ""
