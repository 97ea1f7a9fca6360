"""Opens a dump and answers the questions of its crash: the process that runs confined.

    python -I -m kpanic.shipper.vmcore.worker < ASKED

Reads :class:`.answers.Asked` from standard input and writes an :class:`.answers.Answer` a line, each as soon
as it is known: what was written before the time is over counts.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from drgn import MainModule, MissingDebugInfoError, Program, ProgramFlags
from drgn.helpers.linux.kallsyms import load_module_kallsyms
from msgspec import structs

from kpanic.shipper.vmcore import without
from kpanic.shipper.vmcore.answers import LONGEST, NO_DEBUG_INFORMATION, Answer, Asked, Finding
from kpanic.shipper.vmcore.dump import Dump
from kpanic.shipper.vmcore.lost import LOST
from kpanic.shipper.vmcore.opening import open_dump
from kpanic.shipper.vmcore.questions import asked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpanic.shipper.vmcore.questions import Question

__all__ = ["main"]

NAME = "dump"
_CUT_OFF = Finding("It is flattened and cut off: what there is of it was put together.")


class _OverTime(BaseException):
    """A question takes too long. No handler of errors on the way may catch this."""


def main() -> None:
    """Answer the request on standard input."""
    wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    try:
        prog = open_dump(wanted.path)
    except Exception as error:  # noqa: BLE001 - libkdumpfile's have no class of their own
        _write(Answer(NAME, skipped=f"the dump cannot be opened: {_words(error)}"))
        return
    if not prog.flags & ProgramFlags.IS_LINUX_KERNEL:
        _write(Answer(NAME, skipped="it is the dump of a process, not of a kernel"))
        return
    missing = _load(prog, wanted.debug_information)
    if wanted.modules is not None and (build_ids := _missing(prog, wanted.modules)):
        _write(Answer(NAME, missing=build_ids))
        return
    answer = _opened(prog, missing)
    _write(structs.replace(answer, findings=(*answer.findings, _CUT_OFF)) if wanted.cut_off else answer)
    if missing and not _has_types(prog):
        for answer in without.answers(prog):
            _write(answer)
        return
    if missing:  # frames of modules have names anyway
        with suppress(*LOST):
            prog.register_symbol_finder("modules", load_module_kallsyms(prog), enable_index=-1)
    folders = [place for place in wanted.debug_information if Path(place).is_dir()]
    dump = Dump(prog, wanted.cause, wanted.address, wanted.entries, folders)
    for question in asked(wanted.cause):
        _write(_asked(question, dump, wanted.seconds))


def _load(prog: Program, places: tuple[str, ...]) -> str:
    """Load debug information; return in words what is missing."""
    files: list[str] = []
    folders: list[str] = []
    for place in places:
        (folders if Path(place).is_dir() else files).append(place)
    options = prog.debug_info_options
    options.directories = (*folders, *options.directories)
    options.kernel_directories = (*folders, *options.kernel_directories)
    try:
        prog.load_debug_info(files, default=True)
    except MissingDebugInfoError as error:
        return _words(error)
    except Exception as error:  # noqa: BLE001 - a damaged dump or file raises anything
        return f"it cannot be loaded: {_words(error)}"
    return ""


def _missing(prog: Program, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the build IDs of the kernel and of modules whose debug information is not here."""
    return tuple(
        module.build_id.hex()
        for module in prog.modules()
        if module.wants_debug_file()
        and module.build_id
        and (isinstance(module, MainModule) or module.name in names)
    )


def _has_types(prog: Program) -> bool:
    try:
        prog.type("struct task_struct")
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _opened(prog: Program, missing: str) -> Answer:
    """Name the dump's kernel, and the debug information that was found."""
    info = without.vmcoreinfo(prog)
    release = info.get("OSRELEASE", "of unknown release")
    if not missing:
        words = f"The dump of kernel {release} was opened, with its debug information."
        return Answer(NAME, (Finding(words),), located=True)
    if _has_types(prog):
        words = (
            f"The dump of kernel {release} was opened, with the kernel's debug information alone: {missing}"
        )
        return Answer(NAME, (Finding(words[:LONGEST]),))
    return Answer(
        NAME,
        (Finding(f"The dump of kernel {release} was opened; the kernel's debug information is not here."),),
        skipped=NO_DEBUG_INFORMATION,
    )


def _asked(question: Question, dump: Dump, seconds: float) -> Answer:
    try:
        with _bounded(seconds):
            return question.ask(dump)
    except _OverTime:
        return Answer(question.name, skipped=f"it took longer than {seconds:.0f} s")
    except Exception as error:  # noqa: BLE001 - whatever a damaged dump provokes
        return Answer(question.name, skipped=f"the dump lacks what is needed: {_words(error)}")


@contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """End a question that takes longer, between two Python instructions; else the caller ends the process."""

    def over(_signal: int, _frame: object) -> None:
        raise _OverTime

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def _write(answer: Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
