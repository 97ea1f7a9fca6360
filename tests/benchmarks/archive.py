"""Measures how fast one and several workers read an archive of consoles, and compares what they find.

    python -m tests.benchmarks.archive                       1,000 objects of an S3 server, 30 MB of text
    python -m tests.benchmarks.archive --mb 2000 --workers 1,2,4 --server ~/go/bin/versitygw
    python -m tests.benchmarks.archive --parts 40 --mb 400   one console that lies open, in 40 parts
    python -m tests.benchmarks.archive --parts 40 --mb 5000 --crashes 50   with 50 crashes in each part, too

The objects are plain, gzip, zstd and xz in turn; each ends with a crash of its own. The S3 server is moto's,
or the Versity gateway (go install github.com/versity/versitygw/cmd/versitygw@v1.8.0) over a folder, in a
process of its own on the same machine. The console has a boot or a crash across every border of its parts.
The text between crashes is that of real boots.

Each line is a whole ``kpanic ship`` into an empty store and a file; with several rounds, which take turns,
the fastest. "rate" is text by the clock. "processor" is what the command, its processes and the workers of
the scheduler spend, without the S3 server. "by clock" is the rate of several workers by that of one and their
number; "by processor" what one worker spends by what they spend, which hardly depends on what else the
machine does. "memory" is the largest resident size of a process of the command, or of a worker. "same": the
documents, with their ids and in their order, are byte for byte those of the first line, but for when they
were made (``event.created``, ``event.ingested``).
"""

# ruff: noqa: T201, S311

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import lzma
import os
import random
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import urllib3

from kpanic.shipper.contract import crash_text
from kpanic.shipper.zstd import zstd
from tests.benchmarks.noise import boots
from tests.engines import parts
from tests.engines.dask import Dask
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MB = 10**6
HEAD = f"{'':<18}{'seconds':>8}{'MB/s':>8}{'processor':>11}{'memory':>9}{'by clock':>10}{'by processor':>14}"
COMMAND = (
    "import sys; from kpanic.shipper import parts; parts.SIZE = int(sys.argv.pop(1));"
    " from kpanic.__main__ import main; main()"
)
"""``kpanic`` with a first argument: the size of a part."""
FILLER = b"[  201.000000] usb 1-1: new high-speed USB device number 4 using xhci_hcd\n"
COMPRESSED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("", bytes),
    (".gz", gzip.compress),
    (".zst", zstd.compress),
    (".xz", lambda text: lzma.compress(text, preset=0)),
)
BEFORE = 16
"""Texts before the crashes of objects."""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "very-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Taken(NamedTuple):
    """The cost and the results of one command."""

    seconds: float
    processor: float
    memory: float
    """MB."""
    documents: list[bytes]
    """A digest of each."""


def noise() -> Iterator[bytes]:
    """Yield the messages of kernels that do not crash, without end."""
    return itertools.cycle([before for before, _ in boots()])


def objects(size: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each object.

    Compressed ones have two members, as those to which a rotation appends; what is before the crash is one of
    a few texts.

    :param size: bytes of text in all of them.
    """
    quiet = noise()
    length = size // count - len(crash_text(0))
    before: list[bytes] = []
    for number, (_, compress) in zip(range(BEFORE), itertools.cycle(COMPRESSED), strict=False):
        text = b"".join(itertools.islice(quiet, number))[:length]
        while len(text) < length:
            text += next(quiet)
        before.append(compress(text[: length - 1] + b"\n"))
    for number in range(count):
        ending, compress = COMPRESSED[number % len(COMPRESSED)]
        name = f"consoles/node{number:04}/console.log{ending}"
        yield name, before[number % BEFORE] + compress(crash_text(number))


def write_console(path: Path, size: int, count: int, crashes: int) -> int:
    """Write a console of ``count`` parts; return the size of a part.

    :param crashes: crashes inside each part, beside those across its borders.
    """
    chance = random.Random(1)
    quiet = noise()
    part = size // count
    between = part // (crashes + 1)
    numbers = itertools.count(count)
    with path.open("wb") as file:
        for border in range(part, part * count, part):
            crash = crash_text(border // part)
            boot = crash.index(b"\n")  # the crash begins there
            across = chance.randrange(1, boot) if border // part % 2 else chance.randrange(boot, len(crash))
            due = border - part + between
            while (room := border - across - file.tell()) > 0:
                text = next(quiet)
                if file.tell() >= due:
                    text += crash_text(next(numbers))
                    due += between
                if len(text) < room:
                    file.write(text)
                else:
                    whole, rest = divmod(room, len(FILLER))
                    file.write(FILLER * whole + FILLER[len(FILLER) - rest :])
            file.write(crash)
        while file.tell() < part * count:
            file.write(FILLER)
    return part


def shipped(path: str, on: str, part: int, environment: Mapping[str, str]) -> Taken:
    """Ship the files at a path."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out.ndjson"
        before = _of_workers()
        begin = time.monotonic()
        command = [sys.executable, "-c", COMMAND, str(part), "ship", "--on", on, path]
        command += ["-E", f"path.data={name}/data", "-E", f"output.file.path={out}"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"kpanic ship --on {on} failed:\n{said.decode()}")
        seconds = time.monotonic() - begin
        spent, largest = _of_workers()
        return Taken(
            seconds,
            usage.ru_utime + usage.ru_stime + spent - before[0],
            max(usage.ru_maxrss * 1024, largest) / MB,
            list(_digests(out)),
        )


def _of_workers() -> tuple[float, int]:
    """Return the CPU seconds of the scheduler's workers, and the memory of the largest in bytes."""
    workers = [one for one in psutil.Process().children() if "worker" in one.cmdline()]
    times = [one.cpu_times() for one in workers]
    sizes = [one.memory_info().rss for one in workers]
    return sum(one.user + one.system for one in times), max(sizes, default=0)


def _digests(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            document = json.loads(line)
            for name in ("created", "ingested"):
                document["event"].pop(name, None)
            yield hashlib.sha256(json.dumps(document).encode()).digest()


def measure(path: str, size: int, part: int, environment: Mapping[str, str], chosen: Namespace) -> None:
    """Ship with each kind of worker, and print a line for each."""
    ways = [(engine, count) for engine in chosen.engines.split(",") for count in chosen.workers]
    taken: dict[tuple[str, int], Taken] = {}
    print(HEAD)
    for turn, way in itertools.product(range(1, chosen.rounds + 1), ways):
        one = _on(way, path, part, environment)
        best = taken.get(way)
        if best and best.documents != one.documents:
            raise SystemExit(f"{way}: another round gave other documents")
        taken[way] = one = min(best or one, one)
        if turn < chosen.rounds:
            continue
        engine, count = way
        first = taken[ways[0]]
        efficiency = ("", "")
        if count > 1 and (alone := taken.get((engine, 1))):
            by_clock = alone.seconds / one.seconds / count
            efficiency = (f"{by_clock:.2f}", f"{alone.processor / one.processor:.2f}")
        same = "same" if one.documents == first.documents else "NOT THE SAME"
        print(
            f"{f'{engine}, {count}':<18}{one.seconds:8.1f}{size / MB / one.seconds:8.1f}"
            f"{one.processor:9.1f} s{one.memory:6.0f} MB{efficiency[0]:>10}{efficiency[1]:>14}"
            f"  {len(one.documents):,} {same}",
            flush=True,
        )


def _on(way: tuple[str, int], path: str, part: int, environment: Mapping[str, str]) -> Taken:
    """Ship with a number of workers of an engine."""
    engine, count = way
    if engine == "local":
        return shipped(path, f"local:{count}", part, environment)
    with tempfile.TemporaryDirectory() as folder:
        dask = Dask(Path(folder), count, environment)
        dask.start()
        try:
            return shipped(path, dask.address, part, environment)
        finally:
            dask.stop()


def main() -> None:
    """Make the archive and read it."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=30, help="text in all")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--parts", type=int, default=0, help="one console in so many parts")
    parser.add_argument("--crashes", type=int, default=0, help="of each part, beside those across borders")
    parser.add_argument("--engines", default="local,dask")
    parser.add_argument("--workers", type=_numbers, default=[1, 2], help="how many, such as 1,2,4")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--server", help="program of the Versity gateway; moto's server without it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if chosen.parts:
            path = Path(name) / "console.log"
            part = write_console(path, chosen.mb * MB, chosen.parts, chosen.crashes)
            print(f"{path.stat().st_size / MB:,.0f} MB in {chosen.parts} parts", flush=True)
            measure(str(path), path.stat().st_size, part, os.environ, chosen)
        else:
            with_s3(Path(name), chosen)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def with_s3(folder: Path, chosen: Namespace) -> None:
    """Put the objects on a server, and read them."""
    import boto3  # noqa: PLC0415 - slow to import

    size, count = chosen.mb * MB, chosen.objects
    port = parts.free_port(27_500)
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": url}
    command = [str(Path(sys.executable).with_name("moto_server")), "-p", str(port)]
    if chosen.server:
        (folder / "objects").mkdir()
        environment["ROOT_ACCESS_KEY_ID"] = CREDENTIALS["AWS_ACCESS_KEY_ID"]
        environment["ROOT_SECRET_ACCESS_KEY"] = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        command = [chosen.server, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(folder / "objects")]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: _answers(url), 60)
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )
        client.create_bucket(Bucket="fleet")
        stored = 0
        for name, content in objects(size, count):
            client.put_object(Bucket="fleet", Key=name, Body=content)
            stored += len(content)
        print(f"{count:,} objects, {size / MB:,.0f} MB of text in {stored / MB:,.0f} MB", flush=True)
        before = psutil.Process(server.pid).cpu_times()
        measure("s3://fleet/consoles", size, 1 << 25, environment, chosen)
        after = psutil.Process(server.pid).cpu_times()
        spent = after.user + after.system - before.user - before.system
        runs = chosen.rounds * len(chosen.workers) * len(chosen.engines.split(","))
        print(f"the S3 server spent {spent / runs:.1f} s of a processor on each of them")
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False, timeout=5).status < 500
    except urllib3.exceptions.HTTPError:
        return False


if __name__ == "__main__":
    main()
