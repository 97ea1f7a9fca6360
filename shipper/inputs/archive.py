"""The files in a tar, a zip or an ar archive such as a Debian package, one after another.

An archive is read as a folder is: a file in it has the path of the archive, a slash and its name. tar and ar
are read in their order and never whole, also where they are compressed or lie in one another. A zip has its
directory at its end, so that it has to be a file of its own. Names are untrusted: none leads out of the
archive.

:see: tar(5) of libarchive, ar(5), APPNOTE.TXT 6.3.10 of PKWARE.
"""

from __future__ import annotations

import io
import math
import posixpath
import re
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kpanic.shipper.crashed_host import glob_of, path_expression
from kpanic.shipper.inputs.log_file import read_fault

if TYPE_CHECKING:
    import tarfile
    import zipfile
    from collections.abc import Callable, Iterator

    from kpanic.shipper.inputs.log_file import ByteFile, Chunks

__all__ = ["DamagedArchive", "Member", "is_archive", "members", "split"]

BLOCK: Final = 512
"""Bytes of a block of tar."""
HEADERS: Final = 1 << 20
"""Maximum bytes of the headers before one member of a tar: names, attributes, maps of holes."""
LONGEST: Final = 1 << 18
"""Maximum bytes of one read."""
DIRECTORY: Final = 16 << 20
"""Maximum bytes of a zip's directory: some 150,000 files."""
LONGEST_NAME: Final = 4096
"""Maximum characters of a name: PATH_MAX."""
DAY: Final = 86_400

_AR: Final = b"!<arch>\n"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_HEADER: Final = 30
"""Minimum bytes before each file of a zip."""
_TAR_MAGIC: Final = slice(257, 262)
_TAR_TYPE: Final = slice(156, 157)
_PAX: Final = (b"x", b"g", b"X")
"""Types of the headers of pax(1), and of Solaris before it: records of a length, a name and a value."""
_PAX_RECORD: Final = rb"([1-9]\d{0,6}) [^=]{1,4096}="
_PAX_DIGITS: Final = rb"\d{256}"
_NAMED: Final = re.compile(
    r"(?P<archive>.*?\.(?:tar(?:\.(?:gz|xz|zst|bz2))?|tgz|txz|tzst|tbz2?|zip|deb))/(?P<inside>.+)", re.DOTALL
)


class DamagedArchive(Exception):  # noqa: N818 - a property of the file
    """An archive cannot be read to its end, or not at all; the message says why, in one line."""


class Member(Struct, frozen=True):
    """A file in an archive."""

    name: str
    """Its path in the archive, without ``..`` and a slash at its beginning."""
    mtime: float | None
    """Last change, seconds since 1970 UTC; None if the archive gives none or an impossible one."""
    file: ByteFile | None
    """Its bytes, to be read before the next member is asked for; None if they cannot be read."""
    fault: str = ""


def split(path: str) -> tuple[str, str]:
    """Return the path of an archive, by its name, and the pattern that selects files in it.

    >>> split("/srv/web1.tar.gz/var/log/messages*")
    ('/srv/web1.tar.gz', 'var/log/messages*')
    >>> split("/srv/web1.tar.gz")
    ('/srv/web1.tar.gz', '')
    """
    found = _NAMED.fullmatch(path)
    return (found["archive"], found["inside"]) if found else (path, "")


def is_archive(head: bytes) -> bool:
    """Tell whether a decompressed file that begins so is an archive."""
    return head[_TAR_MAGIC] == b"ustar" or head.startswith((_AR, *_ZIP))


def members(chunks: Chunks, inside: str = "") -> Iterator[Member]:
    """Yield the regular files of an archive, in its order.

    :param inside: a pattern with ``*``, ``?`` and ``**`` that selects files, or their folders.
    :raises DamagedArchive: behind the last member that could be read.
    """
    head = chunks.first()
    meant = path_expression(f"/{glob_of(inside)}").fullmatch if inside else lambda _: True
    found = _zip(chunks) if head.startswith(_ZIP) else (_ar if head.startswith(_AR) else _tar)(chunks)
    for member in found:
        if meant(f"/{member.name}"):
            yield member


def _name(name: str) -> str:
    return posixpath.normpath(f"/{name.partition(chr(0))[0]}").lstrip("/")[-LONGEST_NAME:]


def _mtime(stamp: float) -> float | None:
    return stamp if math.isfinite(stamp) and 0 < stamp <= time.time() + DAY else None


class _Forward(io.RawIOBase):
    """A stream that only goes forward, and that limits the length of headers."""

    def __init__(self, chunks: Chunks) -> None:
        self._seekable = chunks.file()
        self._meter = chunks.meter
        self._pieces = iter(chunks)
        self._held = memoryview(b"")
        self._at = 0
        self.budget = math.inf
        self.last = b""
        """The last bytes that were read."""

    def expect_header(self) -> None:
        """Read the headers of a tar within :attr:`budget`, until that is infinite."""
        self.budget, self.last = HEADERS, b""

    def read(self, size: int = -1) -> bytes:
        """Return as many bytes as are asked for, fewer at the end."""
        self.budget -= size
        if not 0 <= size <= HEADERS or self.budget < 0:
            raise DamagedArchive("has a header that is longer than any needs to be")
        of_pax = self.budget < math.inf and self.last[_TAR_TYPE] in _PAX and _is_header(self.last)
        if self._seekable is None:
            data = b"".join(self._taken(size))
        else:
            data = self._seekable.read(size)
            self._meter.read(len(data))
        if of_pax and not _is_pax(data):
            raise DamagedArchive("has a header that no program writes (records of pax)")
        self._at += len(data)
        self.last = data[-BLOCK:]
        return data

    def _taken(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._held:
                self._held = memoryview(next(self._pieces, b""))
                if not self._held:
                    return
            taken, self._held = self._held[:size], self._held[size:]
            size -= len(taken)
            yield bytes(taken)

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go forward to a place."""
        if whence != io.SEEK_SET or place < self._at:
            raise io.UnsupportedOperation("goes forward only")
        if self._seekable is not None:
            self._at = self._seekable.seek(place)
        while self._at < place:
            passed = sum(map(len, self._taken(min(LONGEST, place - self._at))))
            if not passed:
                break
            self._at += passed
        return self._at

    def rest(self) -> bool:
        """Read to the end; return whether there is anything but NULs."""
        self.budget = math.inf
        found = False
        while data := self.read(LONGEST):
            found = found or bool(data.strip(b"\0"))
        return found


def _is_header(block: bytes) -> bool:
    """Tell whether tarfile takes a block for a header; the block may be the end of a long name."""
    import tarfile  # noqa: PLC0415

    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_pax(body: bytes) -> bool:
    """Tell whether records of pax are complete and follow each other without a gap.

    Before Python 3.12.6, tarfile takes quadratic time and memory for other text, and for long runs of digits.

    :see: pax(1) of POSIX.1-2008, "pax Extended Header"; CVE-2024-6232
    """
    at, records = 0, re.compile(_PAX_RECORD)  # few files are archives
    while body[at : at + 1].strip(b"\0"):
        record = records.match(body, at)
        end = at + int(record[1]) if record else 0
        if record is None or end <= record.end() or body[end - 1 : end] != b"\n":
            return False
        at = end
    return re.search(_PAX_DIGITS, body) is None


def _tar(chunks: Chunks) -> Iterator[Member]:
    import tarfile  # noqa: PLC0415 - few files are archives

    stream = _Forward(chunks)
    try:
        stream.expect_header()
        archive = tarfile.TarFile(fileobj=stream)
        while (info := archive.next()) is not None:
            stream.budget = math.inf
            archive.members.clear()  # type: ignore[attr-defined] # it would remember all of them
            archive.pax_headers = {}
            if (member := _of_tar(stream, info)) is not None:
                yield member
            stream.expect_header()
    except DamagedArchive:
        raise
    except Exception as error:  # noqa: BLE001 - for hostile bytes
        raise DamagedArchive(read_fault(error)) from None
    if stream.last.strip(b"\0"):  # tarfile takes damage for the end
        raise DamagedArchive("is damaged from some place on (no header of tar): what comes before was read")
    if not stream.last:
        raise DamagedArchive("has no end mark and may be cut off: the existing part was read")
    if stream.rest():
        raise DamagedArchive("has something else behind its end mark: that is left out")


def _of_tar(stream: _Forward, info: tarfile.TarInfo) -> Member | None:
    if not info.isfile():
        return None
    name, mtime = _name(info.name), _mtime(float(info.mtime))
    if info.issparse():
        return Member(name, mtime, None, "has holes: unpack it to read it")
    return Member(name, mtime, _part(stream, info.offset_data, info.offset_data + info.size))


def _ar(chunks: Chunks) -> Iterator[Member]:
    stream = _Forward(chunks)
    stream.read(len(_AR))
    end = len(_AR)
    while header := _next_of_ar(stream, end):
        name, mtime, size = (header[at].strip() for at in (slice(0, 16), slice(16, 28), slice(48, 58)))
        if header[58:] != b"`\n" or not size.isdigit():
            raise DamagedArchive(
                "is damaged from some place on (no header of ar): what comes before was read"
            )
        begin, end = stream.tell(), stream.tell() + int(size)
        if not name.startswith((b"/", b"#", b"__.SYMDEF")):  # tables of an archive of object files
            stamp = _mtime(float(mtime)) if mtime.isdigit() else None
            yield Member(
                _name(name.rstrip(b"/").decode(errors="surrogateescape")), stamp, _part(stream, begin, end)
            )


def _next_of_ar(stream: _Forward, end: int) -> bytes:
    """Return the header after a member, at an even offset; empty at the end of the archive."""
    stream.seek(end + end % 2)
    header = stream.read(60)
    if stream.tell() < end or 0 < len(header) < 60:  # noqa: PLR2004
        raise DamagedArchive("is cut off: the existing part was read")
    return header


def _part(stream: _Forward, begin: int, end: int) -> ByteFile:
    at = begin

    def read(size: int) -> bytes:
        nonlocal at
        stream.seek(at)
        data = stream.read(min(size, end - at))
        if not data and at < end:
            raise EOFError
        at += len(data)
        return data

    return _Reader(read)


class _Reader(io.RawIOBase):
    """A file made of a function that reads."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._function = read

    def read(self, size: int = -1) -> bytes:
        return self._function(LONGEST if size < 0 else min(size, LONGEST))


class _Directory(io.RawIOBase):
    """The file of a zip; one read returns no more than the maximum length of a directory."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self.seek = file.seek  # type: ignore[method-assign]
        self.tell = file.tell  # type: ignore[method-assign]

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY:
            raise DamagedArchive("has a directory that is longer than any needs to be: unpack it")
        return self._file.read(DIRECTORY if size < 0 else size)


def _zip(chunks: Chunks) -> Iterator[Member]:
    import zipfile  # noqa: PLC0415 - few files are archives

    file = chunks.file()
    if file is None:
        raise DamagedArchive("is a zip that can only be read in order: name its file, or unpack it")
    chunks.meter.read(file.seek(0, io.SEEK_END))
    try:
        archive = zipfile.ZipFile(_Directory(file))
    except DamagedArchive:
        raise
    except Exception as error:  # noqa: BLE001 - for hostile bytes
        raise DamagedArchive(read_fault(error)) from None
    files = [info for info in archive.infolist() if not info.is_dir()]
    apart = _apart(files)
    for info in files:
        if info in apart:
            yield _of_zip(archive, info, chunks)
    if len(apart) < len(files):
        raise DamagedArchive("has files that share their bytes, as in a bomb: unpack it to read them")


def _apart(files: list[zipfile.ZipInfo]) -> set[zipfile.ZipInfo]:
    """Return the files that begin after the end of those before them."""
    found, end = set(), 0
    for info in sorted(files, key=lambda info: info.header_offset):
        if info.header_offset >= end:
            found.add(info)
        end = max(end, info.header_offset + _ZIP_HEADER + info.compress_size)
    return found


def _of_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, chunks: Chunks) -> Member:
    import zipfile  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    name = _name(info.filename)
    mtime = _mtime(_stamp(info))
    if info.flag_bits & 1:
        return Member(name, mtime, None, "is encrypted: unpack it to read it")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return Member(name, mtime, None, "is packed in a way that is not read here: unpack it to read it")
    expected, found = info.CRC, 0
    del info.CRC  # or zipfile keeps the last text to itself where that is wrong
    try:
        file = archive.open(info)
    except Exception as error:  # noqa: BLE001 - for hostile bytes
        return Member(name, mtime, None, read_fault(error))

    def read(size: int) -> bytes:
        nonlocal found
        data = file.read(size)
        chunks.meter.unpacked(len(data))
        found = zlib.crc32(data, found)
        if not data and found != expected:
            raise zipfile.BadZipFile("its checksum is another")
        return data

    return Member(name, mtime, _Reader(read))


def _stamp(info: zipfile.ZipInfo) -> float:
    """Return the time of a file in a zip. It has no zone and is taken as local time, as unzip does."""
    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return math.nan
