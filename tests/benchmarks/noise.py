"""Measures the speed and the memory of readers on a long log with few crashes, in one run.

    python tests/benchmarks/noise.py                1, 10, 100 and 400 MB of noise, then hostile inputs
    python tests/benchmarks/noise.py --sizes 1,50   other sizes, in MB
    python tests/benchmarks/noise.py --scanners     also scanners that could have been chosen, where installed
    python tests/benchmarks/noise.py --sizes 10 --only banners    of the hostile inputs some
    python tests/benchmarks/noise.py --jobs         only how much a second core adds on full reports

The noise is what the kernels of ``tests/logs/lab`` print until they crash, boot after boot; ten of their
crashes are spread over it. Each reader is a process of its own, they take turns, and the best of five rounds
counts; MB are 10^6 bytes, time is the wall clock's, memory the process's largest resident size. "of grep" is
the ratio of the rates: rates differ from machine to machine, the ratio hardly. ``scan`` yields the lines
worth reading, ``parse`` the crashes, reading ahead in a thread; both include the start of Python. The
patterns of the grammar are compiled before, as they are in an installation.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import itertools
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kpanic.grammars import precompile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
LAB = ROOT / "tests" / "logs" / "lab"
CHUNK = 1 << 18
MB = 10**6
CRASHES = 10
LOGS = 10_000
"""Logs of one crash each, to measure a second process."""
BEGINS = re.compile(
    rb"Kernel panic|Oops|BUG:|WARNING:|cut here|sysrq: |SysRq : |INFO: |provoking"
    rb"|general protection|Unable to handle kernel|oom-killer|Hardware Error|NMI received"
)
ALTERNATIVES = (
    "Kernel panic - not syncing|Oops:|BUG:|general protection fault|Unable to handle kernel"
    "|WARNING: CPU|INFO: rcu|soft lockup|kernel BUG at"
)

READERS = {
    "grep -E": ["grep", "-cE", ALTERNATIVES, "{path}"],
    "wc -l": ["wc", "-l", "{path}"],
    "scan": """
from kpanic.grammars.parser import Parser
scanner = Parser()._scanner
found = sum(len(scanner.feed(chunk)) for chunk in chunks()) + len(scanner.close())
""",
    "parse": """
from kpanic import grammars
found = sum(1 for report in grammars.parse(chunks(), ahead=True))
""",
    "re, line by line": """
import re
search = re.compile(ALTERNATIVES.encode()).search
found = sum(1 for line in open(sys.argv[1], "rb") if search(line))
""",
}
SCANNERS = {
    "re": """
pattern = re.compile(b'|'.join(map(re.escape, literals)))
found = sum(len(pattern.findall(chunk)) for chunk in chunks())
""",
    "bytes.find": "found = sum(chunk.find(literal) >= 0 for chunk in chunks() for literal in literals)",
    "google-re2": """
import re2
pattern = re2.compile(b'|'.join(map(re2.escape, literals)))
found = sum(len(pattern.findall(chunk)) for chunk in chunks())
""",
    "ahocorasick_rs": """
import ahocorasick_rs
machine = ahocorasick_rs.BytesAhoCorasick(literals)
found = sum(len(machine.find_matches_as_indexes(chunk)) for chunk in chunks())
""",
    "hyperscan": """
import hyperscan
database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
numbers = list(range(len(literals)))
database.compile(expressions=literals, ids=numbers, elements=len(literals), flags=0, literal=True)
hits = []
for chunk in chunks():
    database.scan(chunk, match_event_handler=lambda *hit: hits.append(hit[2]))
found = len(hits)
""",
}
PREAMBLE = f"""
import re, sys
ALTERNATIVES = {ALTERNATIVES!r}
def chunks():
    with open(sys.argv[1], "rb", buffering=0) as file:
        while chunk := file.read({CHUNK}):
            yield chunk
"""
LITERALS = """
from kpanic.grammars.parser import Parser
literals = [literal.text.encode() for literal in Parser()._scanner._search.literals]
"""


class Run(NamedTuple):
    """The cost of one process."""

    seconds: float
    """From start to end."""
    memory: float
    """MB."""
    found: str


def boots() -> Iterator[tuple[bytes, bytes]]:
    """Yield the log of each kernel before its crash, and from the crash on."""
    for path in sorted(LAB.glob("*.log")):
        data = path.read_bytes().replace(b"\r\n", b"\n")
        begins = BEGINS.search(data)
        if begins and begins.start() > 10_000 and b"Kernel panic" in data:
            line = data.rfind(b"\n", 0, begins.start()) + 1
            yield data[:line], data[line:] + b"\n"


def write_noise(path: Path, size: int) -> None:
    """Write a number of bytes of boots with ten crashes."""
    kinds = list(boots())
    written = number = crashes = 0
    with path.open("wb") as file:
        while written < size:
            boot, crash = kinds[number % len(kinds)]
            number += 1
            written += file.write(boot)
            if written >= size * (crashes + 0.5) / CRASHES:
                written += file.write(crash)
                crashes += 1


SYSLOG = b"Nov 22 18:53:41 %s kernel: %s\n"


def hosts(count: int, *texts: bytes, name: bytes = b"host%04d") -> Iterator[bytes]:
    """Yield the messages of many hosts in turn."""
    return (SYSLOG % (name % number, text) for text in texts for number in range(count))


HOSTILE: dict[str, tuple[bytes | Callable[[], Iterator[bytes]], int]] = {
    "one line": (b"x", 100),
    "one line of literals": (b"Oops: ", 20),
    "one line of literals and emoji": ("Oops: \N{PENGUIN}".encode(), 20),
    "headers": (b"[    1.000000] BUG: unable to handle page fault for address: ffffffff\n", 70),
    "banners": (b"[    0.000000] Linux version 6.1.0 (x@y) (gcc 12) #1 SMP\n", 20),
    "banners without time stamps": (b"Linux version 6.1.0 (x@y) (gcc 12) #1 SMP\n", 20),
    "banners of ten thousand hosts": (lambda: hosts(10_000, b"Linux version 6.1.0"), 20),
    "ten thousand hosts": (lambda: hosts(10_000, b"usb 1-1: new device"), 100),
    "ten thousand crashing hosts": (lambda: hosts(10_000, b"Oops: 0002 [#1] SMP"), 20),
    "crashing hosts with long names": (lambda: hosts(4000, b"Oops: 0002", name=b"%04d" + b"x" * 240), 20),
    "interleaved crashes": (lambda: hosts(4000, b"Oops: 0002", *[b" frame+0x10/0x20 [module]"] * 60), 50),
    "long complaints": (lambda: hosts(4000, b"EDAC MC0: 1 CE error " + b"x" * 4000), 100),
    "long complaints and crashes": (
        lambda: hosts(4000, b"Oops: 0002", *[b"EDAC MC0: 1 CE error " + b"x" * 4000] * 3),
        100,
    ),
    "NULs": (b"\0", 100),
    "broken UTF-8": (b"[    1.000000] \xff\xc3\x28\xe2\x82\n", 100),
    "broken UTF-8 in a window": (b"[    1.000000] Oops: \xff\xc3\x28\xe2\x82\n", 20),
    "escapes": (b"\x1b[31m\x1b]0;", 50),
    "brackets": (b"Oops: " + b"[" * 4000 + b"{" * 4000 + b"\n", 50),
    "nested JSON": (b'{"MESSAGE":' * 700 + b'"Oops: 0002"' + b"}" * 700 + b"\n", 50),
    "JSON of many lines": (b'{"_TRANSPORT":"kernel","MESSAGE":"' + b"Oops: 0002\\n" * 600 + b'"}\n', 20),
    "fragments": (
        lambda: (b"4,17,1,-,ncfrag=%d/99999999;Oops: %s\n" % (n, b"x" * 4000) for n in range(9000)),
        100,
    ),
    "records": (b"Panic#1 Part1\n", 10),
    "fields": (b"MESSAGE=Oops: \n", 10),
    "binary fields": (b"MESSAGE\n\xff\xff\xff\0\0\0\0\0Oops: \n", 10),
}


def write(path: Path, unit: bytes | Callable[[], Iterator[bytes]], size: int) -> None:
    """Write a number of bytes in small pieces: a child process counts its parent's memory."""
    pieces = (
        itertools.repeat(unit * (MB // len(unit) + 1))
        if isinstance(unit, bytes)
        else itertools.chain.from_iterable(unit() for _ in itertools.count())
    )
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(next(pieces))


def run(command: list[str] | str, path: Path) -> Run:
    """Run a reader on a file."""
    if isinstance(command, str):
        command = [sys.executable, "-c", f"{PREAMBLE}{command}\nprint(found)", "{path}"]
    started = time.perf_counter()
    with subprocess.Popen(
        [part.replace("{path}", str(path)) for part in command],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = process.stdout.read().split()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    return Run(seconds, used.ru_maxrss / 1024, found[0] if found else "failed")


def turns(commands: Mapping[str, list[str] | str], path: Path, rounds: int = 5) -> dict[str, Run]:
    """Run readers in turn; return the best time and the largest memory of each."""
    results = [{name: run(command, path) for name, command in commands.items()} for _ in range(rounds)]
    return {
        name: min(result[name] for result in results)._replace(
            memory=max(result[name].memory for result in results)
        )
        for name in commands
    }


def row(name: str, size: float, result: Run, beside: float | None) -> None:
    """Print one line of the table."""
    rate = size / result.seconds
    ratio = f"{rate / beside:8.2f}" if beside else " " * 8
    print(
        f"{name:28} {size:6.0f} MB {rate:7.0f} MB/s {ratio} of grep {result.memory:5.0f} MB"
        f" {result.found:>9} found",
        flush=True,
    )


def jobs(folder: Path) -> None:
    """Print the speed with one and two processes on many logs of one crash each: the best of three runs.

    The rate is of wall clocks and needs two cores that nothing else uses; the processor time of both
    processes together tells on a busy machine, too, what is lost to the second.
    """
    logs = []
    for number, (_, crash) in enumerate(itertools.islice(itertools.cycle(boots()), LOGS)):
        path = folder / f"{number}.log"
        path.write_bytes(crash)
        logs.append(str(path))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    used: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for count in (1, 2):
            started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            command = ["kpanic", "parse", "--format", "ndjson", "--jobs", str(count), *logs]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[count].append(time.monotonic() - started)
            used[count].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(
        f"{LOGS} logs: {LOGS / min(seconds[1]):.0f} a second, {LOGS / min(seconds[2]):.0f} by two processes:"
        f" the second adds {min(seconds[1]) / min(seconds[2]) - 1:.2f};"
        f" processor time {min(used[1]):.2f} s, {min(used[2]):.2f} s by two"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1,10,100,400")
    parser.add_argument("--scanners", action="store_true")
    parser.add_argument("--no-hostile", action="store_true")
    parser.add_argument("--only", metavar="WORDS", help="of the hostile inputs those whose name holds them")
    parser.add_argument("--jobs", action="store_true")
    arguments = parser.parse_args()
    started = time.monotonic()
    precompile.write()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.jobs:
            jobs(Path(folder))
            return
        path = Path(folder) / "noise.log"
        idle = Path(folder) / "empty.log"
        idle.write_bytes(b"\n")
        startup = turns({"parse": READERS["parse"]}, idle)["parse"]
        print(f"start-up: {startup.seconds:.3f} s, {startup.memory:.0f} MB (included below)")
        grep = 0.0
        for size in map(int, arguments.sizes.split(",")):
            write_noise(path, size * MB)
            actual = path.stat().st_size / MB
            results = turns(READERS, path)
            grep = actual / results["grep -E"].seconds
            for name, result in results.items():
                row(name, actual, result, grep)
            if (found := results["parse"].found) != str(CRASHES):
                sys.exit(f"{CRASHES} crashes were written, {found} were found")
        if arguments.scanners:
            for name, result in turns({n: LITERALS + code for n, code in SCANNERS.items()}, path).items():
                row(f"{name}, the literals alone", actual, result, grep)
        for name, (unit, size) in HOSTILE.items():
            if arguments.no_hostile or (arguments.only or "") not in name:
                continue
            write(path, unit, size * MB)
            row(name, size, turns({name: READERS["parse"]}, path, 1)[name], grep)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
