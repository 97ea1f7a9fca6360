"""The documentation: a short README, a generated reference, commands and configurations that are valid."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kpanic.shipper.cli import cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
EVERYWHERE = pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
LINES = 200
"""Maximum lines of the README."""
SECTIONS = re.compile(r"(inputs|output|path|setup|http|retention|triage|fleet|notify|redact|memory)\b")
"""The beginnings of kpanic's configurations; other YAML is of other programs."""
WRONG = re.compile(r".*(?:there is no key|expected|exclude each other|unknown).*")
STORY = "tests/logs/story/127.0.0.1-2021-04-29-20:32:26/vmcore-dmesg.txt"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    fence = rf"^```(?:{'|'.join(languages)})\n(.*?)^```"
    return re.findall(fence, read(page), re.MULTILINE | re.DOTALL)


def kpanic(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kpanic", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"KPANIC_PASSWORD": "secret"},
        cwd=ROOT,
    )


def options(command: click.Command) -> set[str]:
    """Return the options of a command and of its subcommands."""
    found = {option for one in command.params for option in one.opts} | {"--help"}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            found |= options(inner) if inner else set()
    return found


def test_the_readme_is_short() -> None:
    assert len(read(README).splitlines()) <= LINES


def test_the_first_page_links_every_page() -> None:
    linked = set(re.findall(r"\(([\w-]+\.md)", read(ROOT / "docs" / "index.md")))
    assert linked == {page.name for page in PAGES} - {"index.md"}


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, README, ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", read(page)):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", ["configuration.md", "fields.md"])
def test_the_reference_is_up_to_date(page: str) -> None:
    """``python packaging/reference.py docs`` writes it."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "packaging" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.pages()[page] == read(ROOT / "docs" / page)


@EVERYWHERE
def test_commands_have_the_options_that_are_named(page: Path) -> None:
    for block in blocks(page, "console", "sh"):
        for name, rest in re.findall(r"(?:^|\| |&& |\$ )kpanic ([a-z-]+)([^|&#\n]*)", block, re.MULTILINE):
            command = cli.get_command(click.Context(cli), name)
            assert command is not None, f"{page.name}: kpanic {name}"
            named = set(re.findall(r"(?<=\s)--?[a-zA-Z][a-z-]*", rest))
            assert named <= options(command), f"{page.name}: kpanic {name}{rest}"


@pytest.mark.process
@EVERYWHERE
def test_configurations_have_keys_that_exist(page: Path, tmp_path: Path) -> None:
    """Files and addresses in a configuration need not exist on this machine."""
    for number, text in enumerate(blocks(page, "yaml")):
        first = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
        if SECTIONS.match(first):
            file = tmp_path / f"{number}.yml"
            file.write_text(text, encoding="utf-8")
            said = kpanic("test", "config", "-c", file, "-E", f"path.data={tmp_path}/store").stderr
            assert not WRONG.findall(said), f"{page.name}: {text}\n{said}"


@pytest.mark.process
def test_the_readme_shows_what_explain_prints() -> None:
    (shown,) = (block for block in blocks(README, "console") if "explain" in block)
    command, *lines = shown.splitlines()
    assert command == f"$ kpanic explain '{STORY}'"
    assert {line for line in lines if line != " …"} <= set(kpanic("explain", STORY).stdout.splitlines())
