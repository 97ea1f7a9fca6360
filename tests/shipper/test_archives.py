"""Archives are read like folders, in bounded time and memory for any contents."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.contract import crash_text
from kpanic.shipper.crashed_host import HostRule, HostRules
from kpanic.shipper.document import build
from kpanic.shipper.inputs import compression
from kpanic.shipper.inputs.sources import crashes_at
from kpanic.shipper.origin import Origin
from kpanic.shipper.parsing import parse_files
from kpanic.shipper.zstd import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kpanic.shipper.api import Crash

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstd.compress,
}
MTIME = 1_600_000_000


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), MTIME
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def ar(files: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, content in files.items():
        out += f"{name + '/':<16}{MTIME:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def deb(files: dict[str, bytes]) -> bytes:
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzip.compress(tar({})),
            "data.tar.xz": lzma.compress(tar(files)),
        }
    )


FILES = {
    "web1/console.log": crash_text(1),
    "./web2/console.log.gz": gzip.compress(crash_text(2) + crash_text(3)),
    "empty": b"",
    "usr/bin/true": b"\x7fELF\2\1\1" + bytes(range(256)) * 20,
}


class Read:
    """The files that are read at a path, and those that cannot be read."""

    def __init__(self, path: str | Path, base: Origin | None = None) -> None:
        self.faults: list[str] = []
        tell = lambda error: self.faults.append(str(error).removeprefix(str(path)))  # noqa: E731
        found = list(crashes_at(str(path), base or Origin("file"), tell))
        self.paths = [name.removeprefix(str(path)) for name, _ in found]
        self.crashes: list[Crash] = [crash for _, crash in found]
        self.pids = [crash.report.process.pid for crash in self.crashes]


@pytest.mark.parametrize("packed", PACK)
def test_a_tar_is_read_as_a_folder_compressed_or_not(tmp_path: Path, packed: str) -> None:
    path = tmp_path / f"fleet.tar{packed}"
    path.write_bytes(PACK[packed](tar(FILES)))
    found = Read(path)
    assert found.faults == []
    assert found.paths == ["/web1/console.log", "/web2/console.log.gz", "/web2/console.log.gz"]
    assert found.pids == [1001, 1002, 1003]
    assert {crash.origin.mtime for crash in found.crashes} == {MTIME}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_and_a_tar_in_it_are_read(tmp_path: Path, method: int) -> None:
    path = tmp_path / "case.zip"
    path.write_bytes(
        zipped({**FILES, "sos.tar.xz": lzma.compress(tar({"var/log/kern.log": crash_text(4)}))}, method)
    )
    found = Read(path)
    assert found.faults == []
    assert found.pids == [1001, 1002, 1003, 1004]
    assert found.paths[-1] == "/sos.tar.xz/var/log/kern.log"


def test_a_debian_package_is_read(tmp_path: Path) -> None:
    path = tmp_path / "consoles.deb"
    path.write_bytes(deb(FILES))
    found = Read(path)
    assert found.faults == []
    assert found.paths[0] == "/data.tar.xz/web1/console.log"
    assert found.pids == [1001, 1002, 1003]


def test_files_of_an_archive_are_chosen_by_a_pattern_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.tgz"
    path.write_bytes(gzip.compress(tar(FILES)))
    assert Read(f"{path}/web*/console.log").pids == [1001]
    assert Read(f"{path}/web2").pids == [1002, 1003], "a folder is all that is in it"
    assert Read(f"{path}/**/*.gz").pids == [1002, 1003]
    assert Read(f"{path}/db*").faults == [f"{path}: holds no file db*".removeprefix(f"{path}/db*")]
    folder = tmp_path / "folder.tar"
    folder.mkdir()
    (folder / "console.log").write_bytes(crash_text(5))
    assert Read(folder / "console.log").pids == [1005], "a folder may have such a name"


def test_the_host_comes_from_the_path_in_an_archive_and_of_it(tmp_path: Path) -> None:
    for name, pattern in (("fleet.tar", "fleet.tar/{host}/*.log*"), ("db1.tar", "{host}.tar")):
        path = tmp_path / name
        path.write_bytes(tar(FILES))
        base = Origin("file", hosts=HostRules([HostRule(f"{tmp_path}/{pattern}")]))
        hosts = [build(*crash)["host"]["name"] for crash in Read(path, base).crashes]
        assert hosts == (["web1", "web2", "web2"] if name == "fleet.tar" else ["db1"] * 3)


def test_only_the_logs_of_kdump_folders_are_read(tmp_path: Path) -> None:
    path = tmp_path / "crash.tar"
    folder, other = "crash/web1-2021-04-29-20:32:26", "crash/web2-2021-04-29-20:32:26"
    path.write_bytes(
        tar(
            {
                f"{folder}/kexec-dmesg.log": crash_text(7),
                f"{folder}/vmcore": b"KDUMP   " + bytes(5000),
                f"{folder}/vmcore-dmesg.txt": crash_text(1),
                f"{other}/vmcore": b"KDUMP   " + bytes(5000),
            }
        )
    )
    found = Read(path)
    assert found.pids == [1001]
    (crash,) = found.crashes
    assert (crash.origin.provider, crash.origin.host_name) == ("kdump", "web1")
    assert found.faults == [f"/{other}: holds a dump without its log: unpack it, and its log is extracted"]


def test_no_name_in_an_archive_leads_out_of_it_or_to_this_host(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    names = ["../../../var/crash/202104292032/dmesg.202104292032", "/sys/fs/pstore/dmesg-efi-1", "a/../../b"]
    path.write_bytes(tar({name: crash_text(number) for number, name in enumerate(names)}))
    found = Read(path, Origin("file", agent_host="collector"))
    assert found.paths == ["/var/crash/202104292032/dmesg.202104292032", "/sys/fs/pstore/dmesg-efi-1", "/b"]
    assert [crash.origin.own for crash in found.crashes] == [False] * 3
    assert ["name" in build(*crash)["host"] for crash in found.crashes] == [False] * 3


@pytest.mark.parametrize("stamp", ["nan", "inf", "-1e300", "99999999999", "x"])
def test_a_time_that_no_file_has_is_not_believed(tmp_path: Path, stamp: str) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("console.log")
    info.size, info.pax_headers = len(crash_text(1)), {"mtime": stamp}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(crash_text(1)))
    (crash,) = Read(path).crashes
    assert crash.origin.mtime is None


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("kind", ["tar", "ar"])
def test_a_truncated_archive_is_read_to_its_end_and_reported(tmp_path: Path, kind: str, packed: str) -> None:
    make = tar if kind == "tar" else ar
    path = tmp_path / "a.tar"
    whole = make({"one": crash_text(1), "noise": os.urandom(5 << 18), "two": crash_text(2)})
    path.write_bytes(PACK[packed](whole)[: -(1 << 17)])
    found = Read(path)
    assert found.pids == [1001]
    assert any("is cut off: the existing part was read" in fault for fault in found.faults)


def test_an_archive_without_an_end_mark_or_with_data_after_it_is_reported(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.tar", tar({"one": crash_text(1)})
    for content, fault in (
        (whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512), "has no end mark and may be cut off"),
        (whole + tar({"two": crash_text(2)}), "has something else behind its end mark"),
        (
            whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512) + b"junk" * 500,
            "is damaged from some place on",
        ),
    ):
        path.write_bytes(content)
        found = Read(path)
        assert found.pids == [1001]
        assert [fault in one for one in found.faults] == [True], found.faults


def test_a_header_without_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    path.write_bytes(tar({"one": crash_text(1)})[:-10240] + info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    os.truncate(path, 1 << 31)
    tracemalloc.start()
    try:
        found = Read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert [fault for fault in found.faults if "a header that is longer than any needs to be" in fault]


def test_a_sparse_file_is_reported_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("console.log")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "console.log",
        "GNU.sparse.size": str(8 << 40),
        "GNU.sparse.map": f"{(8 << 40) - 4},4",
    }
    info.size = 4
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"text"))
    assert Read(path).faults == ["/console.log: has holes: unpack it to read it"]


def test_archives_lie_in_one_another_so_deep_and_no_deeper(tmp_path: Path) -> None:
    path, content = tmp_path / "a.tar", tar({"console.log": crash_text(1)})
    for depth in range(1, 7):
        path.write_bytes(content)
        found = Read(path)
        assert (found.pids == [1001]) == (depth <= 5)
        assert ["is in more than 4 nested archives" in fault for fault in found.faults] == [True] * (
            depth > 5
        )
        content = tar({"in.tar": content})


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz in tar", "zip of many"])
def test_a_bomb_in_an_archive_is_left_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(compression, "SMALL", 4 << 20)
    monkeypatch.setattr(compression, "RATIO", 200)
    path, zeros = tmp_path / "a", bytes(32 << 20)
    path.write_bytes(
        {
            "zip": lambda: zipped({"a": zeros}),
            "tar.gz": lambda: gzip.compress(tar({"a": zeros})),
            "gz in tar": lambda: tar({"a.gz": gzip.compress(zeros)}),
            "zip of many": lambda: zipped({f"{number}": zeros[: 2 << 20] for number in range(16)}),
        }[kind]()
    )
    found = Read(path)
    assert found.crashes == []
    assert len(found.faults) <= 2
    assert any("times its size: the rest is left out" in fault for fault in found.faults)


def test_one_of_the_files_in_a_zip_that_share_their_bytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.log", crash_text(1) + bytes(1 << 20))
        archive.writestr("b.log", crash_text(2))
        archive.filelist += [archive.getinfo("a.log")] * 2000
    found = Read(path)
    assert found.pids == [1001, 1002]
    assert ["has files that share their bytes" in fault for fault in found.faults] == [True]


def test_a_large_archive_of_packed_files_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "SMALL", 1 << 20)
    monkeypatch.setattr(compression, "RATIO", 3)
    path, noise = tmp_path / "a.tar", os.urandom(200_000).hex().encode() + b"\n"
    path.write_bytes(
        tar({f"{number}.log.gz": gzip.compress(crash_text(number) + noise) for number in range(20)})
    )
    found = Read(path)
    assert (len(found.pids), found.faults) == (20, [])


def test_unreadable_files_of_a_zip_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = bytearray(zipped({"secret": crash_text(1)}, zipfile.ZIP_STORED))
    directory = content.index(b"PK\x01\x02")
    for at in (6, directory + 8):
        content[at] |= 1  # encrypted
    path.write_bytes(content)
    assert Read(path).faults == ["/secret: is encrypted: unpack it to read it"]
    path.write_bytes(zipped({"a": crash_text(1)}, zipfile.ZIP_LZMA))
    assert Read(path).faults == ["/a: is packed in a way that is not read here: unpack it to read it"]
    content = bytearray(zipped({"a": crash_text(1)}))
    end = content.index(b"PK\x05\x06")
    struct.pack_into("<II", content, end + 12, 1 << 30, 0)  # size and offset of the directory
    path.write_bytes(content)
    (fault,) = Read(path).faults
    assert fault.startswith(": is damaged from some place on") or "a directory that is longer" in fault


def pax(body: bytes, content: bytes) -> bytes:
    """Return a tar of one file with an extended header."""
    head, info = tarfile.TarInfo("pax"), tarfile.TarInfo("a.log")
    head.type, head.size, info.size = tarfile.XHDTYPE, len(body), len(content)
    parts = (head.tobuf(tarfile.USTAR_FORMAT), body, info.tobuf(tarfile.USTAR_FORMAT), content)
    return b"".join(part + bytes(-len(part) % 512) for part in parts) + bytes(10240)


def pax_record(name: bytes, value: bytes) -> bytes:
    length = len(name) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %b=%b\n" % (length, name, value)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"1" * 400_000, id="digits"),
        pytest.param(b"1" * 400_000 + b" hdrcharse", id="digits before a keyword"),
        pytest.param(pax_record(b"comment", b"1" * 400_000), id="digits in a value"),
        pytest.param(b"2 " * 100_000 + b"=\n", id="lengths that overlap"),
    ],
)
def test_an_extended_header_that_no_program_writes_costs_neither_time_nor_memory(
    tmp_path: Path, body: bytes
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(pax(body, crash_text(1)))
    began = time.process_time()
    assert Read(path).faults == [": has a header that no program writes (records of pax)"]
    assert time.process_time() - began < 10  # tarfile takes minutes


def test_a_name_that_no_file_has_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for name, shown in (
        (b"x" * 100_000 + b"/web1/a.log", "/" + "x" * 4085 + "/web1/a.log"),
        (b"web1/a.log\0.gz", "/web1/a.log"),
    ):
        path.write_bytes(pax(pax_record(b"path", name), crash_text(1)))
        found = Read(path)
        assert (found.paths, found.pids, found.faults) == ([shown], [1001], [])


def test_a_cut_file_in_a_tar_and_a_damaged_one_in_a_zip_are_read_so_far(tmp_path: Path) -> None:
    path, text = tmp_path / "a", crash_text(1)
    path.write_bytes(tar({"a.log": text})[: 512 + len(text) - 10])
    found = Read(path)
    assert found.pids == [1001]
    assert (
        found.faults[0]
        == "/a.log: is cut off: the existing part was read; copy it again if the original is longer"
    )
    content = bytearray(zipped({"a.log": text, "b.log": crash_text(2)}))
    content[content.index(b"PK\x01\x02") + 16] ^= 1  # its checksum
    path.write_bytes(content)
    found = Read(path)
    assert found.pids == [1001, 1002]
    assert found.faults == [
        "/a.log: is damaged from some place on (its checksum is another): what comes before was read"
    ]


def test_a_size_that_lies_costs_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    info = tarfile.TarInfo("b.log")
    content = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    content[124:136] = b"\x80" + b"\x7f" * 11
    content[148:156] = b"        "
    content[148:156] = b"%06o\0 " % sum(content)
    text = crash_text(1)
    path.write_bytes(tar({"a.log": text})[: 512 + len(text) + -len(text) % 512] + content)
    assert Read(path).pids == [1001]
    content = bytearray(zipped({"a.log": crash_text(1), "b.log": crash_text(2)}))
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 5)
    path.write_bytes(content)
    found = Read(path)
    assert found.pids == [1002]
    assert len(found.faults) == 1


def test_crashes_of_an_archive_come_in_batches_and_the_archive_is_complete_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar(FILES))
    for jobs in (1, 2):
        parts = list(parse_files([str(path), str(path)], Origin("file"), jobs))
        assert [part.path for part in parts if part.complete] == [str(path), str(path)]
        assert [len(part.documents) for part in parts if not part.complete] == [1, 2] * 2
