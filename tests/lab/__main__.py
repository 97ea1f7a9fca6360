"""Crashes real kernels, and checks kpanic's documents of the crashes: ``python -m tests.lab --help``."""

# ruff: noqa: T201 - a command: the page on standard output, messages on standard error

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import accuracy, guest, matrix, verdict
from .archive import GoneError
from .build import Builder, BuildError, missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .build import Boot
    from .matrix import Kind, Matrix


PROGRAM = "python -m tests.lab"


class Crash(NamedTuple):
    """One guest of the matrix."""

    boot: Boot
    kind: Kind
    console: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 if every answer was right, 2 if nothing could be run."""
    chosen = _arguments(arguments)
    table = matrix.load()
    kernels = [name for name in chosen.kernels.split(",") if name] or list(table.kernels)
    if fault := _fault(table, kernels):
        _tell(f"{PROGRAM}: {fault}")
        return 2
    kinds = [name for name in chosen.kinds.split(",") if name]
    chosen.logs.mkdir(parents=True, exist_ok=True)
    builder = Builder(table)
    crashes: list[Crash] = []
    gone: list[str] = []
    broken: list[str] = []
    with ThreadPoolExecutor(max_workers=chosen.jobs) as pool:
        for name in kernels:
            kernel = table.kernels[name]
            try:
                boot = builder.prepare(kernel)
            except GoneError as error:
                gone.append(f"{name}: {error}")
                continue
            except BuildError as refused:
                broken.append(f"{name}: the module does not build: {refused}")
                continue
            for kind in table.kinds_of(kernel, every=chosen.every or bool(kinds)):
                if not kinds or kind.name in kinds:
                    log = f"{boot.release}-{boot.machine.uname}-{kind.name}.log"
                    crashes.append(Crash(boot, kind, chosen.logs / log))
        counted = chosen.clock == "counted"
        for crash, line, fault in pool.map(
            lambda crash: _provoke(crash, keep=chosen.keep, counted=counted), crashes
        ):
            _tell(f"{crash.boot.kernel.name:14} {crash.kind.name:20} {line}")
            broken += [f"{crash.boot.kernel.name}: {crash.kind.name}: {fault}"] if fault else []
    for line in (*gone, *broken):
        _tell(line)
    if chosen.crash_only:
        return 1 if broken else 0
    results = _judge([crash for crash in crashes if crash.console.exists()])
    print(accuracy.page(results, gone, broken))
    return 1 if broken or any(result.wrong for result in results) else 0


def _fault(table: Matrix, kernels: Sequence[str]) -> str:
    """Return why these kernels cannot be crashed here; empty if they can."""
    if unknown := [name for name in kernels if name not in table.kernels]:
        return f"no such kernel: {', '.join(unknown)}; known: {', '.join(table.kernels)}"
    if packages := missing(table.machines[table.kernels[name].machine] for name in kernels):
        return f"programs are missing: apt-get install {' '.join(packages)}"
    return ""


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("--logs", type=Path, default=Path("lab-logs"), help="folder for the consoles")
    parser.add_argument("--kernels", default="", help="only these, separated by commas")
    parser.add_argument("--kinds", default="", help="only these, separated by commas")
    parser.add_argument("--every", action="store_true", help="every kind on every kernel, not the core alone")
    parser.add_argument("--keep", action="store_true", help="leave consoles that are there")
    parser.add_argument("--crash-only", action="store_true", help="write consoles, compare nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="guests at a time")
    parser.add_argument(
        "--clock",
        choices=("counted", "host"),
        default="counted",
        help="the guest's clock: an instruction counter (the same console each time) or the host's (faster)",
    )
    return parser.parse_args(arguments)


def _provoke(crash: Crash, *, keep: bool, counted: bool) -> tuple[Crash, str, str]:
    """Return the crash, its result, and the fault."""
    if keep and crash.console.exists():
        return crash, "kept", ""
    try:
        run = guest.crash(crash.boot, crash.kind, counted=counted)
    except (OSError, RuntimeError) as error:  # of one guest; the others continue
        return crash, "no console", str(error)
    crash.console.write_bytes(run.console)
    return crash, f"{run.seconds:6.1f} s" + ("" if run.ended else ", time over"), ""


def _judge(crashes: Sequence[Crash]) -> list[accuracy.Result]:
    documents = verdict.parse([crash.console for crash in crashes])
    results = []
    for crash in crashes:
        expected = verdict.expect(crash.kind, crash.boot.release, crash.boot.machine)
        wrong = verdict.compare(expected, documents[crash.console]).wrong
        results.append(accuracy.Result(crash.kind.name, expected, wrong))
    return results


if __name__ == "__main__":
    sys.exit(main())
