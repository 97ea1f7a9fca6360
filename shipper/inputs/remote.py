"""Files on other machines, by URL: object stores, HDFS, SFTP and HTTPS, through fsspec.

Each kind of store needs a library, which an extra of this package installs; each library finds credentials in
its usual places. The secrets of a URL are cut off before anything else sees it (:func:`without_secrets`).

:see: https://filesystem-spec.readthedocs.io
"""

from __future__ import annotations

import fnmatch
import io
import posixpath
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import structs

from kpanic.shipper.api import Unreadable, hide_secrets, remember_secret
from kpanic.shipper.crashed_host import glob_of
from kpanic.shipper.inputs import kdump_names
from kpanic.shipper.inputs.archive import split
from kpanic.shipper.inputs.folders import Found
from kpanic.shipper.inputs.log_file import ConnectionBroken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RemoteFile", "has_secrets", "open_url", "walk_url", "without_secrets"]

BLOCK: Final = 8 << 20
"""Bytes of one request; twice as many are held in memory."""
DEPTH: Final = 100
"""Maximum depth of folders: a server may invent them without end."""
NOT_FOUND: Final = 404
_WILD: Final = frozenset("*?[")
_STATES: Final = ("ETag", "etag", "Last-Modified", "LastModified", "updated", "last_modified", "mtime")
"""Details that change with a file's content, the best first."""
_TIMES: Final = ("LastModified", "updated", "last_modified", "mtime", "Last-Modified")

_netlocs: dict[str, str] = {}
"""User, password and host, by ``scheme://user@host``."""
_queries: dict[str, str] = {}
"""Queries by the URL before them."""


def without_secrets(url: str) -> str:
    """Return a URL without its password and, on the web, its query, where presigned URLs have a secret.

    Both are kept for opening it, and :func:`hide_secrets` knows them.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        remember_secret(parts.password)
        remember_secret(unquote(parts.password))
        shown = f"{user.partition(':')[0]}@{host}"
        _netlocs[f"{parts.scheme}://{shown}"] = parts.netloc
        url = url.replace(parts.netloc, shown, 1)
    if parts.scheme == "https" and "?" in url:
        url, _, query = url.partition("?")
        for name_and_value in query.split("&"):
            value = name_and_value.partition("=")[2]
            remember_secret(value)
            remember_secret(unquote(value))
        _queries[url] = query
    return url


def has_secrets(url: str) -> bool:
    """Tell whether :func:`without_secrets` cuts something off a URL."""
    parts = urlsplit(url)
    return parts.password is not None or (parts.scheme == "https" and "?" in url)


def _with_secrets(url: str) -> str:
    query = _queries.get(url)
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    place = _netlocs.get(f"{scheme}://{place}", place)
    return f"{scheme}://{place}{slash}{path}" + (f"?{query}" if query else "")


class RemoteFile(io.RawIOBase):
    """A file on another machine, open for reading.

    :ivar mtime: its last change, seconds since 1970 UTC; None if the store does not tell.
    :ivar size: bytes; None if the store does not tell.
    :raises ConnectionBroken: it cannot be read on, or ends before its size.
    """

    def __init__(self, file: Any, details: Mapping[str, Any]) -> None:  # noqa: ANN401 - fsspec is untyped
        self._file = file
        self.mtime = _mtime(details)
        self.size = details.get("size")

    def read(self, size: int = -1) -> bytes:
        """Return up to so many bytes, none at the end."""
        try:
            data = bytes(self._file.read(size))
            ended = not data and size and isinstance(self.size, int) and self._file.tell() < self.size
        except Exception as error:  # noqa: BLE001 - each library has its own
            raise ConnectionBroken(_reason(error)) from None
        if ended:
            raise ConnectionBroken("it ends before its size")
        return data

    def seekable(self) -> bool:
        """Tell whether it can be read at any place."""
        return bool(self._file.seekable())

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        """Return the place where it is."""
        return int(self._file.tell())

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            self._file.close()
        super().close()


def open_url(url: str) -> RemoteFile:
    """Open the file at a URL.

    :param url: as of :func:`without_secrets`.
    :raises Unreadable: it cannot be opened.
    """
    try:
        store, name = _store(url)
        details = store.info(name)
        file = store.open(name, "rb", block_size=BLOCK, cache_type="readahead")
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 - each library has its own
        raise Unreadable(url, _reason(error)) from None
    return RemoteFile(file, details)


def walk_url(url: str) -> Iterator[Found]:
    """Yield the files at a URL while its folders are being listed, by name: one folder is held at a time.

    In kdump's folders only the logs are read.

    :param url: as of :func:`without_secrets`: a file, a folder, an archive with files in it, or a pattern of
        these with ``*``, ``?`` and ``**``.
    """
    whole = glob_of(url)
    url, inside = split(whole)
    tail = f"/{inside}" if inside else ""
    try:
        store, name = _store(url)
        base, *parts = [url] if url in _queries else _parts(url)
        if not parts and tail and _is_folder(url, store.info(name)):  # it has the name of an archive
            base, *parts = _parts(whole)
            tail = ""
        if parts:
            name = store._strip_protocol(_with_secrets(base))  # noqa: SLF001 - what every fsspec store has
            yield from _any(whole, _with_tail(_Folders(store, base, name).matching(base, parts), tail))
            return
        store, name = _store(base)
        details = store.info(name)
    except Exception as error:  # noqa: BLE001 - each library has its own
        yield Found(url, _reason(error))
        return
    if _is_folder(base, details):
        yield from _Folders(store, base.rstrip("/"), name).below(base.rstrip("/"))
    else:
        yield _found(base, details, tail)


def _any(pattern: str, found: Iterator[Found]) -> Iterator[Found]:
    """Yield the files that are found, or a message that there are none."""
    first = next(found, Found(pattern, "matches no file"))
    yield first
    yield from found


def _is_folder(url: str, details: Mapping[str, Any]) -> bool:
    """Tell whether a URL names a folder; on the web that is a page of links, whose URL ends with a slash."""
    return url.endswith("/") if url.startswith("https://") else details.get("type") == "directory"


def _with_tail(found: Iterator[Found], tail: str) -> Iterator[Found]:
    for one in found:
        yield one if one.fault else structs.replace(one, path=f"{one.path}{tail}")


def _parts(url: str) -> list[str]:
    """Return the path before the first name with a wildcard, and the names from there on."""
    names = url.split("/")
    first = next((index for index, name in enumerate(names) if _WILD & set(name)), len(names))
    return ["/".join(names[:first]), *names[first:]]


class _Folders:
    """The folders of a store below a URL."""

    def __init__(self, store: Any, base: str, name: str) -> None:  # noqa: ANN401 - fsspec is untyped
        self._store = store
        self._base = base
        self._name = name.rstrip("/")

    def _listed(self, url: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the content of a folder: names and details, by name."""
        folder = self._name + url[len(self._base) :]
        web = url.startswith("https://")
        if url[len(self._base) :].count("/") > DEPTH:
            raise Unreadable(url, f"is in more than {DEPTH} nested folders and is left out")
        entries = {}
        for details in self._store.ls(f"{folder}/" if web else folder, detail=True):
            where, name = posixpath.split(str(details["name"]).rstrip("/"))
            here = where.rstrip("/") == folder.rstrip("/")
            if name and here:  # not the folder itself, nor a link elsewhere
                kind = "directory" if web and str(details["name"]).endswith("/") else details["type"]
                entries[name] = {**details, "type": kind}
        return sorted(entries.items())

    def matching(self, url: str, names: list[str]) -> Iterator[Found]:
        """Yield the files that match a pattern, and those in folders that do.

        :param names: of the pattern, below the folder at ``url``.
        """
        name, *rest = names
        if name == "**":
            yield from self.matching(url, rest or ["*"])
        try:
            entries = self._listed(url)
        except Exception as error:  # noqa: BLE001 - each library has its own
            yield Found(url, _reason(error))
            return
        for child, details in entries:
            inner, folder = f"{url}/{child}", details["type"] == "directory"
            if name == "**":
                if folder:
                    yield from self.matching(inner, names)
            elif fnmatch.fnmatchcase(child, name):
                if folder:
                    yield from self.matching(inner, rest) if rest else self.below(inner)
                elif not rest:
                    yield self._detailed(inner, details)

    def below(self, url: str) -> Iterator[Found]:
        """Yield the files below a folder."""
        waiting = [url]
        while waiting:
            folder = waiting.pop()
            try:
                entries = dict(self._listed(folder))
            except Exception as error:  # noqa: BLE001 - each library has its own
                yield Found(folder, _reason(error))
                continue
            files = [name for name, details in entries.items() if details["type"] != "directory"]
            chosen = kdump_names.logs(folder, files)
            logs = [name for name in files if chosen is None or name in chosen]
            if chosen is not None and not (logs := [name for name in logs if not kdump_names.is_dump(name)]):
                yield Found(folder, "holds a dump without its log: copy it here, and its log is extracted")
            for name in logs:
                yield self._detailed(f"{folder}/{name}", entries[name])
            folders = [name for name, details in entries.items() if details["type"] == "directory"]
            waiting += [f"{folder}/{name}" for name in reversed(folders)]

    def _detailed(self, url: str, details: Mapping[str, Any]) -> Found:
        if url.startswith("https://"):  # a page of links gives no other details
            try:
                details = self._store.info(self._name + url[len(self._base) :])
            except Exception as error:  # noqa: BLE001 - each library has its own
                return Found(url, _reason(error))
        return _found(url, details)


def _found(url: str, details: Mapping[str, Any], tail: str = "") -> Found:
    state = next((f"{details.get('size')}:{details[name]}" for name in _STATES if details.get(name)), "")
    size = details.get("size")
    return Found(f"{url}{tail}", state=state, size=size if isinstance(size, int) else 0)


def _mtime(details: Mapping[str, Any]) -> float | None:
    when = next((details[name] for name in _TIMES if details.get(name)), None)
    try:
        if isinstance(when, str):
            from email.utils import parsedate_to_datetime  # noqa: PLC0415 - imports sockets

            when = parsedate_to_datetime(when) if "," in when else datetime.fromisoformat(when)
        if isinstance(when, datetime):
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        return None if when is None else float(when)
    except (TypeError, ValueError):
        return None


def _store(url: str) -> tuple[Any, str]:
    """Return the file system that a URL is of, and its name there.

    :raises Unreadable: its library is not installed.
    """
    scheme = url.partition("://")[0]
    options: dict[str, Any] = {} if scheme == "sftp" else {"use_listings_cache": False}
    try:
        import fsspec  # noqa: PLC0415 - an extra

        if scheme == "sftp":  # fsspec's own accepts any host for the intended one
            fsspec.register_implementation("sftp", "sshfs.SSHFileSystem", clobber=True)
            options["known_hosts"] = ()
            if (netloc := _netlocs.get("/".join(url.split("/")[:3]))) is not None:
                options["password"] = unquote(urlsplit(f"//{netloc}").password or "")
        if scheme == "https":
            from kpanic.shipper.inputs.web_answers import LIMITS  # noqa: PLC0415

            options |= LIMITS
        store, name = fsspec.url_to_fs(url if scheme == "sftp" else _with_secrets(url), **options)
    except ImportError:
        raise Unreadable(url, f"needs a library: pip install 'kpanic[{scheme}]'") from None
    return store, str(name)


def _reason(error: BaseException) -> str:
    if isinstance(error, Unreadable):
        return error.reason
    cause = error.__cause__
    if isinstance(error, FileNotFoundError):
        other = isinstance(cause, OSError) or getattr(cause, "status", NOT_FOUND) != NOT_FOUND
        if not other or isinstance(cause, FileNotFoundError):
            return "does not exist"
        error = cause or error  # fsspec raises this for each error of HTTPS
    text = hide_secrets(" ".join(str(error).split()) or type(error).__name__)[:500]
    if isinstance(error, PermissionError):
        return f"may not be read with these credentials ({text})"
    return f"cannot be read: {text}"
