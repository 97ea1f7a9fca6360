"""Patterns that are compiled once for an installation."""

from __future__ import annotations

import marshal
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kpanic.grammars import precompile
from kpanic.grammars.precompiled import Patterns

LOGS = Path(__file__).parent.parent / "logs"
READ = """\
import sys
from pathlib import Path
from kpanic import parse
from kpanic.grammars.precompiled import PATTERNS

for log in Path(sys.argv[1]).rglob("*"):
    if log.is_file():
        list(parse(log.read_bytes()))
print(sorted(map(repr, PATTERNS.missed)), len(PATTERNS.table))
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a file for patterns that does not exist yet."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path / "__pycache__" / "precompiled.patterns"


def keep(path: Path, *patterns: tuple[str | bytes, int]) -> Patterns:
    """Compile patterns in a process that keeps them, and return those of the next process."""
    first = Patterns(path)
    for pattern, flags in patterns:
        first.compile(pattern, flags)
    first.write()
    return Patterns(path)


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        (r"(?>a|b)++(?P<x>\d*+)(?P<y>é)?", 0),
        (rb"\xff(?P<z>.)", re.DOTALL),
        ("(?i:K)é", re.ASCII),
        ("(?x) a b", re.MULTILINE | re.IGNORECASE),
        ("", 0),
    ],
)
def test_a_kept_pattern_is_the_one_that_re_compiles(path: Path, pattern: str | bytes, flags: int) -> None:
    kept, compiled = keep(path, (pattern, flags)).compile(pattern, flags), re.compile(pattern, flags)

    assert kept == compiled
    assert (kept.groups, kept.groupindex, kept.flags) == (
        compiled.groups,
        compiled.groupindex,
        compiled.flags,
    )


def test_each_pattern_of_the_grammar_is_kept_as_re_compiles_it(path: Path) -> None:
    patterns = [(sentence.pattern, 0) for sentence in precompile.sentences()]
    kept = keep(path, *patterns)

    assert kept.table.keys() == set(patterns)
    assert [one for one in patterns if kept.compile(*one) != re.compile(*one)] == []


def test_other_data_is_kept_too(path: Path) -> None:
    key = ("literals", (b"Oops: ",))
    first = Patterns(path)
    assert first.kept(key) is None
    first.keep(key, lambda: b"compiled")
    first.write()

    assert Patterns(path).kept(key) == b"compiled"


@pytest.mark.process
def test_an_installation_compiles_all_patterns_that_a_log_asks_for(tmp_path: Path) -> None:
    clean = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-m", "kpanic.grammars.precompile"], check=True, env=clean)
    done = subprocess.run(
        [sys.executable, "-c", READ, LOGS], check=True, env=clean, stdout=subprocess.PIPE, text=True
    )

    missed, _, kept = done.stdout.strip().rpartition(" ")
    assert missed == "[]"
    assert int(kept)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"no marshal", marshal.dumps(None), marshal.dumps((("another Python",), {("a+", 0): 1}))],
)
def test_a_file_that_is_of_no_use_is_as_none(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    patterns = Patterns(path)

    assert patterns.compile("a+") == re.compile("a+")
    assert patterns.wanted


def test_patterns_are_kept_when_python_keeps_compiled_modules(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = Patterns(path)
    assert not patterns.wanted, "nothing was compiled"
    patterns.compile("a+")
    assert patterns.wanted
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert not patterns.wanted


def test_patterns_are_not_kept_in_a_folder_that_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = Patterns(path)
    patterns.compile("a+")
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # root may write everywhere

    assert not patterns.wanted


def test_kept_patterns_are_not_written_again(path: Path) -> None:
    patterns = keep(path, ("a+", 0))
    patterns.compile("b+")

    assert not patterns.wanted
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_invalid_pattern_is_an_error(path: Path) -> None:
    patterns = Patterns(path)
    with pytest.raises(re.error):
        patterns.compile("(")
    assert not patterns.wanted
