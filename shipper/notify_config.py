"""``notify``: targets that the service itself notifies of crashes, without a stack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import msgspec

from kpanic.shipper.api import ReadFile, Settings, read_secret, remember_secret

if TYPE_CHECKING:
    from apprise import NotifyBase

__all__ = ["NotifyConfig", "Target", "service"]

EXTRA = "pip install 'kpanic[notify]'"
_TOKEN = re.compile(r"(?=.{0,254}[A-Z0-9])[\w+=~-]{8,255}")
"""A part of an address that may be a token: neither a word nor a host nor a mail address."""
RuleName = Literal[
    "new-signature", "regression", "outbreak", "repeating-host", "watched-cause", "unparsed", "explained"
]
USUAL: tuple[RuleName, ...] = ("new-signature", "outbreak", "watched-cause")
"""Rules that notify a target by default."""


class Target(Settings, frozen=True, kw_only=True):
    """One target, by its Apprise address.

    :see: https://appriseit.com/services/
    """

    name: Annotated[
        str,
        msgspec.Meta(pattern=r"^[a-z0-9_-]{1,64}$", description="a name in lower case, such as oncall"),
    ]
    """Name of the target, in the log and for ``kpanic status``."""
    url: str = ""
    """Address, such as ``slack://…`` or ``mailtos://…``; or ``url_file``, which holds it."""
    url_file: ReadFile = ""
    username: str = ""
    password: str = ""
    """Password of ``username``, if the address does not hold it; or ``password_file``."""
    password_file: ReadFile = ""
    rules: list[RuleName] = msgspec.field(default_factory=lambda: list(USUAL))
    """Alert rules that notify this target."""

    def __post_init__(self) -> None:
        if not self.url and not self.url_file:
            raise ValueError("url: expected an address such as slack://…, or url_file")
        if self.url and self.url_file:
            raise ValueError("url and url_file exclude each other")
        if not self.rules:
            raise ValueError("rules: expected at least one")
        if (self.password or self.password_file) and not self.username:
            raise ValueError("password: needs username")

    def address(self) -> str:
        """Return the address with its user and password; remember each part that may be a secret.

        :raises ValueError: a file cannot be read, or the address is invalid; the text begins with the key.
        """
        url = read_secret(self.url, self.url_file, "url").strip()
        password = read_secret(self.password, self.password_file, "password")
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            remember_secret(parts.password or "")
        except ValueError:
            raise ValueError("url: expected an address such as slack://…") from None
        values = [value for _, value in parse_qsl(parts.query)]
        for part in (*re.split("[:@]", parts.netloc), *parts.path.split("/"), *values):
            if _TOKEN.fullmatch(part):
                remember_secret(part)
        if self.username:
            user = f"{quote(self.username, safe='')}:{quote(password, safe='')}"
            return urlunsplit(parts._replace(netloc=f"{user}@{host}"))
        return url

    def examine(self) -> None:
        """Have Apprise parse the address.

        :raises ValueError: it cannot.
        """
        service(self)


class NotifyConfig(Settings, frozen=True, kw_only=True):
    """``notify``."""

    targets: list[Target] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"targets[{index}].name: appears twice")


def service(target: Target) -> NotifyBase:
    """Return Apprise's service of a target.

    :raises ValueError: the address cannot be used, or Apprise is not installed; the text begins with the key.
    """
    try:
        import apprise  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(f"url: needs Apprise: {EXTRA}") from None
    address = target.address()
    if "overflow=" not in address:  # a message that is too long for a service is cut, and not refused
        address += f"{'&' if '?' in address else '?'}overflow=truncate"
    asset = apprise.AppriseAsset(
        app_id="kpanic", app_desc="Kernel panics", app_url="", image_url_mask="", image_url_logo=""
    )
    made = apprise.Apprise.instantiate(address, asset=asset)
    if made is None:
        raise ValueError(f"url{'_file' if target.url_file else ''}: Apprise knows no service of this address")
    return made
