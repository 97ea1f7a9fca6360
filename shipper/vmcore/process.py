"""Starts the process that opens a dump: confined, with bounded time and memory.

A dump is hostile input, and the libraries that read it are written in C. So they run as the user nobody,
without a network, and their answers are checked like any input.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Final

import msgspec
from msgspec import structs

from kpanic.shipper.files import open_named
from kpanic.shipper.inputs import confined
from kpanic.shipper.vmcore import flattened
from kpanic.shipper.vmcore.answers import Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["INSTALL", "MEMORY", "ROOM", "SECONDS", "installed", "log_of", "put_together", "questioned"]

INSTALL: Final = "pip install 'kpanic[vmcore]'"
SECONDS: Final = 60.0
"""Maximum seconds of a dump, by the clock and of a processor."""
MEMORY: Final = 4 << 30
"""Maximum bytes of address space: drgn maps the kernel's debug information, 1.2 GB of a distribution's."""
LARGEST: Final = 8 << 20
"""Maximum bytes of all answers."""
ROOM: Final = 16 << 30
"""Maximum bytes of a reassembled flattened dump; half of the free space is a limit too."""
COPYING: Final = 256 << 20
"""Maximum bytes of address space of the program that reassembles it."""
WORDS: Final = 1 << 20
"""Maximum bytes of that program's standard error."""
_NICELY: Final = ("nice", "-n", "10")
LOOK: Final = 0.5
"""Seconds between two checks whether to stop."""


def installed() -> bool:
    """Tell whether drgn is installed."""
    return importlib.util.find_spec("drgn") is not None


def questioned(  # noqa: PLR0913 - they are independent
    asked: Asked,
    whole: IO[bytes] | None = None,
    *,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    background: bool = False,
    stop: Callable[[], bool] = bool,
) -> Iterator[Answer]:
    """Yield the answers of a dump, each as soon as it is known; the last one says why no more come.

    :param whole: the dump as :func:`put_together` yields it.
    :param seconds: maximum seconds of all questions.
    :param memory: maximum bytes of address space.
    :param background: at low priority.
    :param stop: tells whether to end early.
    """
    command = confined.command(memory, WORDS, max(1, int(seconds)), _program("worker"))
    if whole is not None:
        asked = structs.replace(asked, path=_path(whole), cut_off=True)
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as words,
        _started(command, (pipe, pipe, words), inherited=whole, background=background) as process,
    ):
        yield from _answers(process, asked, words, seconds, stop)


def log_of(path: str, size: int, seconds: float) -> IO[bytes] | None:
    """Return the kernel log of a dump, open for reading; None if it has no readable log.

    :param size: maximum bytes of the log.
    :param seconds: maximum seconds, by the clock and of a processor.
    """
    deadline = time.monotonic() + seconds
    log = tempfile.TemporaryFile()  # noqa: SIM115 - it is returned
    with put_together(path, seconds / 2) as file:
        named = os.path.abspath(path) if file is None else _path(file)  # noqa: PTH100 - links stay links
        command = confined.command(MEMORY, size, max(1, int(seconds)), [*_program("log"), named])
        with (
            _started(command, (subprocess.DEVNULL, log, subprocess.DEVNULL), inherited=file) as process,
            contextlib.suppress(subprocess.TimeoutExpired),
        ):
            process.wait(max(0.0, deadline - time.monotonic()))
    if log.seek(0, os.SEEK_END) == 0:
        log.close()
        return None
    log.seek(0)
    return log


@contextlib.contextmanager
def put_together(
    path: str, seconds: float, *, background: bool = False, stop: Callable[[], bool] = bool
) -> Iterator[IO[bytes] | None]:
    """Reassemble a flattened dump that is cut off, in a file without a name; None for any other dump.

    :param seconds: maximum seconds; after them the part that is reassembled counts.
    """
    with contextlib.ExitStack() as stack:
        try:
            dump = stack.enter_context(open_named(path))
            flattened_dump = dump.read(len(flattened.MAGIC)) == flattened.MAGIC
        except OSError:  # the process that opens it says why
            flattened_dump = False
        if not flattened_dump:
            yield None
            return
        file = stack.enter_context(tempfile.TemporaryFile(dir=_folder()))
        program = [sys.executable, "-I", "-S", flattened.__file__, str(ROOM)]
        command = confined.command(COPYING, ROOM, max(1, int(seconds)), program)
        deadline = time.monotonic() + seconds
        with _started(command, (dump, file, subprocess.DEVNULL), background=background) as process:
            while process.poll() is None and time.monotonic() < deadline and not stop():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(min(LOOK, max(0.0, deadline - time.monotonic())))
        yield file if os.fstat(file.fileno()).st_size else None


def _folder() -> str | None:
    """Return where a large file may lie for a while: /tmp is in memory on some machines (hier(7))."""
    return "/var/tmp" if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK) else None  # noqa: S108


def _path(file: IO[bytes]) -> str:
    """Return the path of an open file for a process that inherits it."""
    return f"/proc/self/fd/{file.fileno()}"


def _program(name: str) -> list[str]:
    return [sys.executable, "-I", "-m", f"kpanic.shipper.vmcore.{name}"]


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "2",  # else a thread for each processor, with a stack each
        "MALLOC_ARENA_MAX": "2",
    }


@contextlib.contextmanager
def _started(
    command: list[str],
    streams: tuple[IO[bytes] | int, IO[bytes] | int, IO[bytes] | int],
    *,
    inherited: IO[bytes] | None = None,
    background: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and end it with its children.

    :param streams: standard input, output and error.
    :param inherited: a file that the program may open, too.
    :param background: at low priority.
    """
    process = subprocess.Popen(  # noqa: S603 - our own program, no shell
        [*_NICELY, *command] if background else command,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        cwd="/",
        env=_environment(),
        pass_fds=() if inherited is None else (inherited.fileno(),),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _answers(
    process: subprocess.Popen[bytes],
    asked: Asked,
    words: IO[bytes],
    seconds: float,
    stop: Callable[[], bool],
) -> Iterator[Answer]:
    deadline = time.monotonic() + seconds
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(msgspec.json.encode(asked))
        process.stdin.close()
    held = b""
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if stop():
                return
            if left > 0 and not selector.select(min(left, LOOK)):
                continue
            if left <= 0:
                yield Answer("dump", skipped=f"not all was asked within {seconds:.0f} s")
                return
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                break
            size += len(data)
            if size > LARGEST:
                yield Answer("dump", skipped="its answers are too large")
                return
            *rows, held = (held + data).split(b"\n")
            for row in rows:
                try:
                    yield msgspec.json.decode(row, type=Answer)
                except (msgspec.MsgspecError, ValueError):
                    yield Answer("dump", skipped="its answers are damaged")
                    return
    if why := _ended(process, words, max(0.0, deadline - time.monotonic())):
        yield Answer("dump", skipped=why)


def _ended(process: subprocess.Popen[bytes], words: IO[bytes], seconds: float) -> str:
    """Wait for the end of the process; return what ended it, empty if it answered everything."""
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "what opened it closed its output and did not end"
    if not code:
        return ""
    if code < 0 or code > 128:  # noqa: PLR2004 - the code that a shell reports
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            return f"what opened it was ended by {signal.Signals(number).name}"
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - 2000))
    rows = words.read().decode(errors="replace").split("\n")
    said = next((row.strip() for row in reversed(rows) if row.strip()), "")
    if "MemoryError" in said or "Cannot allocate memory" in said:
        return "it needs more memory than it may have"
    return f"what opened it failed: {said[:300]}" if said else f"what opened it ended with {code}"
