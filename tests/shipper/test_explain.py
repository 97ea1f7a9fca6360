"""``kpanic explain`` in every format, with real processes and files."""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shipper.screen import shown

pytestmark = pytest.mark.process
LOGS = Path(__file__).parent.parent / "logs"
STORY = LOGS / "story" / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"
PASTED = LOGS / "story" / "pasted.txt"
LAB = LOGS / "lab"
NULL = LAB / "6.1.0-56-amd64-x86_64-null_read.log"
KPANIC = [sys.executable, "-c", "from kpanic.shipper.cli import main; main()"]
STEPS = [
    *("kernel and boot image", "hardware", "what came before", "trigger", "what the kernel said", "where"),
    *("through what", "consequences", "verdict"),
]
EVIL = b"<img src=x>`|](javascript:1)**x**\x1b]0;owned\x07\xe2\x80\xae&amp;"
HOSTILE = (
    STORY.read_bytes()
    .replace(b"[#1] SMP", b"[#1] SMP " + EVIL)
    .replace(b"BOOT_IMAGE=", b"BOOT_IMAGE=" + EVIL)
)
FORMS = ["text", "json", "markdown", "html"]


def run(*arguments: str | Path, code: int = 0, text: bytes = b"", **environment: str) -> tuple[str, str]:
    done = subprocess.run(
        [*KPANIC, "explain", *map(str, arguments)],
        input=text,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(LOGS.parent.parent), **environment},
        timeout=300,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, err
    assert "Traceback" not in err
    return out, err


def explained(*arguments: str | Path, text: bytes = b"") -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("--format", "json", *arguments, text=text)[0].splitlines()]


def words(page: str) -> str:
    """Return the visible text of a page."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.partition("<main>")[2]))


# --- JSON ------------------------------------------------------------------------------------------


def test_a_crash_is_an_object_of_nine_steps_and_a_verdict() -> None:
    (crash,) = explained(STORY)
    assert [step["name"] for step in crash["steps"]] == STEPS
    assert all(step["finding"].endswith(".") for step in crash["steps"])
    verdict = crash["verdict"]
    assert set(verdict) == {"cause", "confidence", "sure", "vmcore_needed", "why", "next"}
    assert (verdict["cause"], verdict["confidence"], verdict["vmcore_needed"]) == ("sysrq", "certain", False)
    assert verdict["why"].startswith("The log is enough, and the vmcore need not be opened")
    assert (crash["file"], crash["line"], crash["fatal"]) == (str(STORY), 4, True)


def test_every_line_that_proves_something_is_that_line_of_its_file() -> None:
    files = [*sorted(LAB.iterdir()), *sorted((LOGS / "transports").iterdir()), STORY, PASTED]
    lines = {str(path): path.read_bytes().decode(errors="replace").split("\n") for path in files}
    crashes = explained(*files)
    assert len(crashes) > 100
    for crash in crashes:
        for step in crash["steps"]:
            for proof in step["evidence"]:
                assert proof["text"] == lines[crash["file"]][proof["line"] - 1].rstrip("\r")


def test_lines_of_a_packed_file_are_those_of_the_text_in_it(tmp_path: Path) -> None:
    packed = tmp_path / "vmcore-dmesg.txt.gz"
    packed.write_bytes(gzip.compress(STORY.read_bytes()))
    (one,), (other,) = explained(packed), explained(STORY)
    evidence = [[step["evidence"] for step in crash["steps"]] for crash in (one, other)]
    assert evidence[0] == evidence[1]


def test_standard_input_and_several_files() -> None:
    crashes = explained("-", NULL, text=STORY.read_bytes())
    assert [crash["file"] for crash in crashes] == ["-", str(NULL)]


# --- text ------------------------------------------------------------------------------------------


def test_in_a_pipe_text_is_plain_and_no_line_is_broken() -> None:
    out, err = run(STORY)
    assert err == ""
    assert "\x1b" not in out
    rows = out.splitlines()
    assert [row[4:] for row in rows if re.match(r" \d  \w", row)] == STEPS
    assert "         3  [  790.371036] SysRq : Trigger a crash" in rows
    banner = STORY.read_text().split("\n")[0]
    assert f"         1  {banner}" in rows
    assert "    - last -x; ausearch -m EXECVE,USER_CMD  # who was logged in at that time" in rows


def terminal(*arguments: str | Path, columns: int) -> str:
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    environment = {key: value for key, value in environment.items() if key not in {"NO_COLOR", "CI"}}
    return shown([*KPANIC, "explain", *map(str, arguments)], environment)


@pytest.mark.parametrize("columns", [50, 100])
def test_on_a_terminal_it_has_colours_and_keeps_to_its_width(columns: int) -> None:
    screen = terminal(STORY, columns=columns)
    assert "\x1b[" in screen
    rows = re.sub(r"\x1b\[[\d;]*m", "", screen).replace("\r", "").split("\n")
    assert max(map(len, rows)) <= columns
    assert any(len(row) > columns - 15 for row in rows)


def test_a_terminal_of_another_encoding_gets_the_characters_that_it_can_show(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(STORY.read_bytes().replace(b"Trigger a crash", "Trigger a crash é".encode()))
    out, _ = run(path, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
    assert "SysRq : Trigger a crash \\xe9" in out


# --- the first three lines -------------------------------------------------------------------------


def first_lines(form: str, out: str) -> list[str]:
    if form == "json":
        return list(json.loads(out.splitlines()[0])["head"])
    if form == "html":
        return [line for line in words(out).splitlines() if line][:3]
    return [re.sub(r"\\(.)|\*\*|\\$", r"\1", line) for line in out.splitlines()[:3]]


@pytest.mark.parametrize("form", FORMS)
def test_a_reading_begins_with_the_verdict_which_crash_it_is_and_whether_it_is_known(
    form: str, tmp_path: Path
) -> None:
    store = ("-E", f"path.data={tmp_path}")
    verdict, crash, signature = first_lines(form, run("--format", form, *store, NULL)[0])
    assert verdict.startswith(
        "Kernel 6.1.0-56-amd64 dereferenced a NULL pointer in boom_null_read. The vmcore is needed"
    )
    assert crash == "Host unknown, 2026-11-22 19:05:50 UTC, kernel 6.1.0-56-amd64."
    assert signature.startswith("Signature v1-")
    assert signature.endswith("; there is no store here to look for it in.")


def test_a_signature_is_known_by_the_other_crashes_of_the_store(tmp_path: Path) -> None:
    store = ("-E", f"path.data={tmp_path}")

    def known(path: Path) -> str:
        return str(first_lines("json", run("--format", "json", *store, path)[0])[2])

    def ship(path: Path) -> None:
        subprocess.run([*KPANIC, "ship", *store, str(path)], check=True, capture_output=True, timeout=300)

    ship(NULL)
    assert known(NULL).endswith(", not seen before in this store.")
    ship(LOGS / "transports" / "vmcore-dmesg-6.1-null_read.txt")
    assert re.search(r", seen once before in this store, last [-\d]+ [:\d]+ UTC\.$", known(NULL))


# --- hostile text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_text_of_a_log_acts_nowhere(form: str, tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[31m<b>.log"
    path.write_bytes(HOSTILE)
    out, err = run("--format", form, path, tmp_path / "no\x1b[31m", code=1)
    for text in (out, err):
        assert text
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
    if form == "html":
        assert "<img" not in out
        assert "&lt;img src=x&gt;" in out
        assert "\\x1b]0;owned\\x07" in words(out)
    if form == "markdown":
        fenced, inside = [], False
        for row in out.splitlines():
            inside ^= row.startswith("```")
            fenced += [] if inside else [row]
        assert not re.search(
            r"(?<!\\)[<>*\[\]`|]", "\n".join(row for row in fenced if not row.startswith("```"))
        )


def test_a_fence_of_markdown_is_longer_than_any_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(STORY.read_bytes().replace(b"Trigger a crash", b"Trigger a crash ````` # no heading"))
    out, _ = run("--format", "markdown", path)
    assert "\n``````text\n" in out


def test_a_page_is_whole_in_itself() -> None:
    out, _ = run("--format", "html", STORY, NULL)
    assert out.startswith("<!doctype html>")
    assert "<script" not in out
    assert not re.search(r"(?:src|href)=", out)
    assert all(name in words(out) for name in STEPS)
    assert out.count("<article>") == 2


# --- reports with few lines ------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_log_without_a_crash_is_reported_as_such(form: str) -> None:
    out, err = run("--format", form, "-", text=b"[    1.0] all is well\n")
    assert err == "kpanic: no crash found\n"
    assert form == "html" or out == ""


def test_an_unknown_crash_is_read_as_far_as_possible_and_says_where_it_stops() -> None:
    text = b"[   10.000000] BUG: something that no kernel says yet\n[   10.000001] Call Trace:\n"
    (crash,) = explained("-", text=text)
    assert [step["name"] for step in crash["steps"]] == STEPS
    last = crash["steps"][-1]
    assert "the report could not be read as a whole (Call Trace: has no frames)" in last["finding"]
    assert last["evidence"] == [{"line": 1, "text": text.decode().split("\n")[0]}]
    assert crash["verdict"]["confidence"] == "unknown"


def test_an_unreadable_file_is_reported_and_the_others_are_read() -> None:
    out, err = run("nowhere", STORY, code=1)
    assert err == "kpanic: nowhere: does not exist\n"
    assert "sysrq_handle_crash" in out


# --- against ---------------------------------------------------------------------------------------


def compared(left: Path, right: Path) -> dict[str, Any]:
    (pair,) = (json.loads(line) for line in run("--format", "json", left, "--against", right)[0].splitlines())
    return dict(pair)


@pytest.mark.parametrize(
    ("left", "right", "answer"),
    [
        (STORY, PASTED, "yes"),
        (NULL, LOGS / "transports" / "vmcore-dmesg-6.1-null_read.txt", "yes"),
        (LAB / "6.1.0-56-amd64-x86_64-sysrq-c.log", LAB / "6.18.15+deb13-amd64-x86_64-sysrq-c.log", "yes"),
        (NULL, LAB / "6.1.0-56-amd64-x86_64-null_write.log", "no"),
        (NULL, LAB / "6.1.0-56-amd64-x86_64-mce.log", "no"),
    ],
)
def test_is_it_the_same_fault(left: Path, right: Path, answer: str) -> None:
    pair = compared(left, right)
    assert pair["same_fault"] == answer
    assert [crash["file"] for crash in pair["crashes"]] == [str(left), str(right)]


def test_common_points_and_differences() -> None:
    pair = compared(NULL, LAB / "6.1.0-56-amd64-x86_64-wq_null.log")
    same = {point["name"]: point["same"] for point in pair["points"]}
    assert same["kernel"]
    assert same["machine"]
    assert same["function"]
    assert not same["entered through"]
    assert not same["task"]
    assert "- ksys_write" in pair["trace"]
    assert "+ process_one_work" in pair["trace"]


@pytest.mark.parametrize("form", FORMS)
def test_two_crashes_side_by_side_in_every_form(form: str) -> None:
    out, _ = run("--format", form, NULL, "--against", LAB / "6.1.0-56-amd64-x86_64-null_write.log")
    assert "boom" in out
    assert re.search(r"null.{0,2}write", out)


def test_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.log"
    quiet.write_text("[    1.0] all is well\n")
    _, err = run(STORY, "--against", quiet, code=1)
    assert err == f"kpanic: {quiet}: there is no crash to compare\n"
