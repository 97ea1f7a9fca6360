"""Writes ``helpers.tsv``, the functions that are helpers by :mod:`kpanic.grammars.data.helper_files`.

The kernel's sources and Universal Ctags, which reads them, are Debian packages::

    apt-get install universal-ctags
    apt-get download linux-source-6.1/bookworm linux-source-6.12/trixie linux-source-7.3/trixie-backports
    python -m kpanic.grammars.data.generate linux-source-*.deb

A function is a helper if every file that defines it is a helper file, in every release that has the function.
A definition in a header counts only if no source file has one: it is the stub for kernels without the
feature. A machine's version of a helper is a helper in any file. A driver's function with the name of a
helper is told apart by its module.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kpanic.grammars.data.helper_files import IGNORED, RULES, SUSPECTS
from kpanic.grammars.helpers import TABLE, folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SOURCES: Final = (".c", ".h", ".S")
_PACKAGE: Final = re.compile(r"linux-source-([\d.]+)(?:_.*\.deb)?")
_REGEXES: Final = {
    "functions of assembly (include/linux/linkage.h, arch/*/include/asm)": (
        r"Asm=/^[[:space:]]*(SYM_[A-Z_]*(START|ALIAS)[A-Z_]*|ENTRY|ENTRY_CFI|LEAF|NESTED|_GLOBAL[A-Z_]*|WEAK"
        r"|FEXPORT)\(([A-Za-z_][A-Za-z0-9_]*)/\3/l,label/"
    ),
    "operations on bits (arch/arm/lib/bitops.h)": (
        r"Asm=/^[[:space:]]*(bit|test)op[[:space:]]+(_[a-z_]+),/\2/l,label/"
    ),
    "local labels of such functions, which old kernels keep in the symbol table": (
        r"Asm=/^\.L([a-z][a-z0-9]*_[a-z0-9_]+)(\\@)?:/\1/l,label/"
    ),
    "handlers of exceptions (arch/x86/include/asm/idtentry.h, arch/powerpc/include/asm/interrupt.h)": (
        r"C=/^DEFINE_(IDTENTRY|FREDENTRY|INTERRUPT_HANDLER)[A-Z_0-9]*\((X86_TRAP_[A-Z]+, *)?"
        r"([A-Za-z_][A-Za-z0-9_]*)/\3/f,function/"
    ),
}
"""Functions that a macro defines, which ctags does not find without these expressions."""
_NO_TYPES: Final = (
    "__always_inline,__lockfunc,noinline,__sched,notrace,asmlinkage,__visible,__init,__exit,noinstr,__cold"
)
"""Attributes of functions that ctags would mistake for types."""
_OWN: Final = ("arch/", "drivers/", "sound/")
"""Folders whose definitions do not contradict a helper of the same name; the last two only if a header
declares the helper.
"""
_call = re.compile(r"(?:compat_)?sys_.*")
"""System calls: some are defined in files of entry code, but are no helpers."""


class Release(NamedTuple):
    """The definitions in the sources of one release."""

    version: str
    files: Mapping[str, set[str]]
    """The files that define each function."""
    headers: Mapping[str, set[str]]
    """The headers that declare each function, by its name without leading underscores."""


def unpack(package: Path, into: Path) -> None:
    """Unpack the C and assembly sources of a ``linux-source`` package."""
    command = ("dpkg-deb", "--fsys-tarfile", str(package))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as archive:  # noqa: S603 - a file of the developer
        with tarfile.open(fileobj=archive.stdout, mode="r|") as outer:
            for member in outer:
                if member.name.endswith(".tar.xz"):
                    with tarfile.open(fileobj=outer.extractfile(member), mode="r|xz") as sources:
                        wanted = (file for file in sources if file.isfile() and file.name.endswith(_SOURCES))
                        sources.extractall(into, wanted, filter="data")
        archive.communicate()


def tags(tree: Path, kind: str, *folders: str) -> Iterator[tuple[str, str]]:
    """Yield the functions of a tree, each with its file.

    :param kind: ctags' kind: ``f`` for definitions, ``p`` for declarations.
    """
    languages = ("--languages=C,Asm", "--langmap=C:.c.h,Asm:.S", f"--kinds-C={kind}", "--kinds-Asm=l")
    regexes = (f"--regex-{regex}" for regex in _REGEXES.values())
    command = ("ctags", "-R", "-x", "--_xformat=%N\t%F", *languages, f"-I{_NO_TYPES}", *regexes, *folders)
    with subprocess.Popen(  # noqa: S603 - all parts are trusted
        command, cwd=tree, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as done:
        for line in done.stdout or ():
            name, _, file = line.rstrip("\n").partition("\t")
            if not name.isupper():  # upper case: a macro that defines a function
                yield folded(name), file.removeprefix("./")
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command)


def read(version: str, tree: Path) -> Release:
    """Read the sources of a release."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for name, file in tags(tree, "f", "."):
        files[name].add(file)
    headers = [str(folder.relative_to(tree)) for folder in (tree / "include", *tree.glob("arch/*/include"))]
    declared: defaultdict[str, set[str]] = defaultdict(set)
    for name, file in tags(tree, "p", *headers):
        declared[name.lstrip("_")].add(file)
    return Release(version, files, declared)


def pattern(globs: str) -> re.Pattern[str]:
    """Compile glob patterns, separated by spaces; ``*`` stops at a slash, ``**`` does not."""
    words = (re.escape(glob).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for glob in globs.split())
    return re.compile("|".join(words))


class Classes:
    """The rules, applied to files and functions."""

    def __init__(self) -> None:
        self._ignored = pattern(IGNORED)
        self._rules = [(pattern(rule.files), number) for number, rule in enumerate(RULES)]
        self._headers = [pattern(rule.interface) for rule in RULES]
        self._suspects = {name for _, names in SUSPECTS for name in names.split()}
        self._known: dict[str, int | None] = {}

    def of_file(self, file: str) -> int | None:
        """Return the number of a file's rule; -1 if no rule matches, None for an ignored file."""
        if file not in self._known:
            self._known[file] = (
                None
                if self._ignored.fullmatch(file)
                else next((number for rule, number in self._rules if rule.fullmatch(file)), -1)
            )
        return self._known[file]

    def of_function(self, name: str, release: Release) -> int | None:
        """Return the number of a function's rule in a release; -1 for no helper, None if undecided."""
        numbers = {file: number for file in release.files[name] if (number := self.of_file(file)) is not None}
        if sources := {file: number for file, number in numbers.items() if not file.endswith(".h")}:
            numbers = sources
        declared = release.headers.get(name.lstrip("_"), set())
        helpers = {file: number for file, number in numbers.items() if number >= 0}
        if helpers:
            known = bool(declared) or any(file.startswith("include/") for file in helpers)
            own = _OWN if known else _OWN[:1]
            numbers = helpers | {
                file: number for file, number in numbers.items() if number < 0 and not file.startswith(own)
            }
        if not numbers or _call.match(name):
            return None
        if name in self._suspects or any(
            number < 0
            or (RULES[number].interface and not any(map(self._headers[number].fullmatch, declared)))
            for number in numbers.values()
        ):
            return -1
        return Counter(sorted(numbers.values())).most_common(1)[0][0]


def classify(releases: Iterable[Release]) -> dict[str, tuple[int, list[str]]]:
    """Return the helpers, each with the number of its rule and the releases that have it."""
    classes = Classes()
    helpers: dict[str, tuple[int, list[str]]] = {}
    others: set[str] = set()
    for release in releases:
        for name in release.files:
            number = classes.of_function(name, release)
            if number is None:
                continue
            if number < 0:
                others.add(name)
            elif name in helpers:
                helpers[name][1].append(release.version)
            else:
                helpers[name] = (number, [release.version])
    return {name: found for name, found in helpers.items() if name not in others}


def write(helpers: Mapping[str, tuple[int, list[str]]], versions: list[str], into: Path) -> None:
    """Write the table, sorted: name, rule, and the releases that have the function if not all do."""
    lines = []
    for name, (number, found) in helpers.items():
        eras = "" if len(found) == len(versions) else "\t" + " ".join(found)
        lines.append(f"{name}\t{RULES[number].name}{eras}\n")
    into.write_text(f"#\treleases\t{' '.join(versions)}\n" + "".join(sorted(lines)), encoding="ascii")


def main() -> None:
    """Write the table of helpers from linux-source packages, or from folders named like them."""
    arguments = argparse.ArgumentParser(description=main.__doc__)
    arguments.add_argument(
        "packages", nargs="+", type=Path, metavar="PACKAGE", help="linux-source packages, oldest first"
    )
    arguments.add_argument("--output", type=Path, default=TABLE, help="output file")
    options = arguments.parse_args()
    releases = []
    for package in options.packages:
        named = _PACKAGE.fullmatch(package.name)
        if named is None:
            arguments.error(f"{package} is not named like linux-source-6.1_6.1.176-1_all.deb")
        if package.is_dir():
            releases.append(read(named[1], package))
        else:
            with tempfile.TemporaryDirectory() as folder:
                unpack(package, Path(folder))
                (tree,) = Path(folder).iterdir()
                releases.append(read(named[1], tree))
        sys.stderr.write(f"{named[1]}: {len(releases[-1].files)} functions\n")
    helpers = classify(releases)
    write(helpers, [release.version for release in releases], options.output)
    for name, count in Counter(RULES[number].name for number, _ in helpers.values()).most_common():
        sys.stderr.write(f"{count:6} {name}\n")


if __name__ == "__main__":
    main()
