"""The command line, with real processes and files."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper import parsing
from kpanic.shipper.cli import COMMANDS
from kpanic.shipper.inputs import log_file
from kpanic.shipper.inputs.sources import Source
from kpanic.shipper.origin import Origin
from tests.shipper.ecs import faults
from tests.shipper.processes import KPANIC
from tests.shipper.screen import shown
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.process
LOGS = Path(__file__).parent.parent / "logs"
STORY = LOGS / "story" / "127.0.0.1-2021-04-29-20:32:26" / "vmcore-dmesg.txt"
PANIC = LOGS / "lab" / "6.1.0-56-amd64-x86_64-panic.log"


class Run:
    """``kpanic`` with a new store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store" / "kpanic.db"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KPANIC_")},
            "KPANIC_PATH_DATA": str(folder / "store"),
            "PYTHONPATH": str(LOGS.parent.parent),
        }

    def __call__(self, *arguments: str | Path, code: int = 0, text: bytes = b"") -> tuple[str, str]:
        done = subprocess.run(
            [*KPANIC, *map(str, arguments)],
            input=text,
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=self.environment,
            timeout=300,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, err
        assert "Traceback" not in err
        return out, err


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


def documents(out: str) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in out.splitlines()]


# --- parse -----------------------------------------------------------------------------------------


def test_parse_prints_a_document_a_crash_in_the_order_of_the_files(kpanic: Run) -> None:
    out, err = kpanic("parse", PANIC, STORY)
    found = documents(out)
    assert [document["log"]["file"] for document in found] == [{"path": str(PANIC)}, {"path": str(STORY)}]
    assert [faults(document) for document in found] == [[], []]
    assert err == ""


def test_parse_reads_standard_input(kpanic: Run) -> None:
    (document,) = documents(kpanic("parse", "-", text=STORY.read_bytes())[0])
    assert document["log"]["file"] == {"path": "-"}


def test_parse_with_several_processes_prints_the_same_in_the_same_order(kpanic: Run) -> None:
    files = sorted((LOGS / "lab").iterdir())[:24]
    one, several = (
        documents(kpanic("parse", *jobs, *files)[0]) for jobs in (["--jobs", "1"], ["--jobs", "3"])
    )
    for document in [*one, *several]:
        del document["event"]["created"]
    assert one == several != []


def test_a_process_that_dies_costs_its_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, base: Origin) -> Iterator[Source]:
        if path == "7":
            os.kill(os.getpid(), signal.SIGKILL)
        yield Source(path, log_file.read(str(PANIC), base))

    monkeypatch.setattr(parsing, "sources", read)
    found = list(parsing.parse_files([str(number) for number in range(16)], Origin("file"), on=2))
    died = [parsed.path for parsed in found if "died" in parsed.fault]
    assert died == ["7"]
    assert sum(len(parsed.documents) for parsed in found) == 15


def test_processes_are_given_files_as_they_read_them() -> None:
    asked = []

    def paths() -> Iterator[str]:
        for number in range(1000):
            asked.append(number)
            yield str(PANIC)

    found = parsing.parse_files(paths(), Origin("file"), on=2)
    assert next(found).path == str(PANIC)
    assert len(asked) < 100
    assert sum(1 for _ in found) == 999


@pytest.mark.parametrize(
    ("paths", "largest", "expected"),
    [
        (["a", "large", "s3://bucket/a"], parsing.FEW_BYTES + 1, 3),
        (["a", "large"], parsing.FEW_BYTES, 1),
        (["a"] * (parsing.FEW_FILES + 1), 0, 4),
        (["a"] * parsing.FEW_FILES, 0, 1),
    ],
)
def test_much_is_parsed_by_as_many_processes_as_there_are_processors(
    paths: list[str], largest: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [1]
    asked: list[str] = []

    def size_of(path: str) -> int:
        asked.append(path)
        return largest if path == "large" else 0

    def executor(_work: object, on: int) -> None:
        used.append(on)

    monkeypatch.setattr(parsing, "executor", executor)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(4)))
    parsing.parse_files(paths, Origin("file"), None, size_of)

    assert used[-1] == expected
    assert asked == paths, "a file's size is asked for once"


@pytest.mark.parametrize("form", ["table", "text"])
def test_parse_prints_for_people(kpanic: Run, form: str) -> None:
    out, _ = kpanic("parse", "--format", form, STORY)
    assert "3.10.0-1160.el7.x86_64" in out
    assert "sysrq_handle_crash" in out


def test_a_fault_of_one_file_is_reported_and_the_others_are_parsed(kpanic: Run) -> None:
    out, err = kpanic("parse", "nowhere", kpanic.folder, STORY, code=1)
    assert len(documents(out)) == 1
    assert err.splitlines() == [
        "kpanic: nowhere: does not exist",
        f"kpanic: {kpanic.folder}: is a directory: name its files, or 'kpanic ship' all of it",
    ]


def test_a_log_without_a_crash_is_reported_as_such(kpanic: Run) -> None:
    assert kpanic("parse", "-", text=b"[    1.0] all is well\n") == ("", "kpanic: no crash found\n")


HOSTILE = STORY.read_bytes().replace(
    b"sysrq_handle_crash", b"sysrq\x1b]0;owned\x07\xc2\x9b31m\xe2\x80\xae_crash"
)


@pytest.mark.parametrize("form", ["ndjson", "table", "text"])
def test_text_of_a_log_is_no_control_code_on_the_terminal(kpanic: Run, form: str) -> None:
    path = kpanic.folder / "evil\x1b[31m.log"
    path.write_bytes(HOSTILE)
    out, err = kpanic("parse", "--format", form, path, "no\x1b[31m\u202e", code=1)
    for text in (out, err):
        assert text
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)


AFTERWARDS = """
import sys
from kpanic.shipper.cli import main
sys.argv = ["kpanic", *sys.argv[1:]]
try:
    main()
finally:
    print(*(name for name in sys.modules if name.startswith("kpanic.grammars")), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["status", "list", "signatures", "report"])
def test_a_command_that_reads_the_store_loads_no_grammar(kpanic: Run, command: str) -> None:
    kpanic("ship", STORY)
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS, command, "-E", f"path.data={kpanic.store.parent}"],
        cwd=kpanic.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert done.stderr == "\n"


# --- ship, status, replay, report ------------------------------------------------------------------


def test_without_an_output_crashes_are_kept_and_shipping_again_adds_nothing(kpanic: Run) -> None:
    _, first = kpanic("ship", LOGS / "story")
    assert "2 files, 2 crashes: 2 new\n" in first
    assert f"no output is configured: kept in {kpanic.store}; 'kpanic report' shows them" in first
    _, second = kpanic("ship", LOGS / "story")
    assert "2 files, 2 crashes: 0 new, 2 known already; nothing new" in second


def test_every_output_gets_every_document_once(kpanic: Run) -> None:
    target = kpanic.folder / "out.ndjson"
    _, err = kpanic("ship", LOGS / "story", "-E", f"output.file.path={target}")
    assert "file: 2 delivered in all" in err
    kpanic("ship", LOGS / "story", "-E", f"output.file.path={target}")
    got = documents(target.read_text())
    assert len(got) == 2
    assert [faults(document) for document in got] == [[], []]
    assert all("ingested" in document["event"] for document in got)


def test_an_output_that_comes_later_gets_what_was_kept(kpanic: Run) -> None:
    kpanic("ship", STORY)
    target = kpanic.folder / "out.ndjson"
    _, err = kpanic("ship", STORY, "-E", f"output.file.path={target}")
    assert "file: 1 delivered in all" in err
    assert len(documents(target.read_text())) == 1


def test_an_unreachable_engine_loses_nothing_and_delays_no_one(kpanic: Run) -> None:
    target = kpanic.folder / "out.ndjson"
    there, away = f"output.file.path={target}", "output.opensearch.hosts=http://127.0.0.1:9"
    started = time.monotonic()
    _, err = kpanic("ship", LOGS / "story", "-E", there, "-E", away, code=1)
    assert time.monotonic() - started < 60
    assert "file: 2 delivered in all" in err
    assert "opensearch: 0 delivered in all, 2 kept for the next try" in err
    assert "Connection refused" in err
    out, _ = kpanic("status", "--format", "json")
    states = {output["name"]: output for output in json.loads(out)["outputs"]}
    assert (states["file"]["pending"], states["opensearch"]["pending"]) == (0, 2)
    assert "Connection refused" in states["opensearch"]["trouble"]


def test_a_dry_run_keeps_and_sends_nothing(kpanic: Run) -> None:
    target = kpanic.folder / "out.ndjson"
    _, err = kpanic("ship", "--dry-run", LOGS / "story", "-E", f"output.file.path={target}")
    assert "2 files: 2 new, 0 shipped before; would go to file" in err
    assert not target.exists()
    assert not kpanic.store.exists()


def test_a_missing_file_is_reported_and_nothing_else(kpanic: Run) -> None:
    for option in ([], ["--dry-run"]):
        _, err = kpanic("ship", *option, "nowhere", code=1)
        assert err.splitlines()[0] == "kpanic: nowhere: does not exist"
        assert "1 file" not in err
        assert "is configured" not in err
    os.mkfifo(kpanic.folder / "pipe")
    _, err = kpanic("ship", "pipe", STORY, code=1)
    assert "kpanic: pipe: is a named pipe, not a file; 'kpanic parse -' reads standard input" in err
    assert "2 files, 1 crash: 1 new" in err


def test_ship_without_paths_takes_the_configured_inputs(kpanic: Run) -> None:
    crash = kpanic.folder / "crash"
    shutil.copytree(STORY.parent, crash / STORY.parent.name)
    _, err = kpanic("ship", "-E", f"inputs=[{{type: kdump, paths: [{crash}]}}]")
    assert "1 file, 1 crash: 1 new" in err
    assert "name files or folders, or configure inputs" in kpanic("ship", code=2)[1]


def test_status_tells_what_is_kept(kpanic: Run) -> None:
    assert "there is no store yet" in kpanic("status", code=1)[1]
    kpanic("ship", LOGS / "story")
    out, _ = kpanic("status")
    assert "documents  2 (2 with their text)" in out
    assert "incidents  1, 1 of them fatal" in out
    assert kpanic("status", "--dead")[0].splitlines()[-1] == "refused    none"


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_receiver_s_words_do_nothing_to_the_terminal(kpanic: Run, form: str) -> None:
    kpanic("ship", LOGS / "story", "-E", f"output.file.path={kpanic.folder / 'out'}")
    hostile = "refused \x9b31m\x7f\u202e\u200b here"
    connection = sqlite3.connect(kpanic.store)
    connection.execute("INSERT INTO dead_letters VALUES ('file', 1, ?, 0.0)", (hostile,))
    connection.commit()
    connection.close()
    out, _ = kpanic("status", "--dead", "--format", form)
    assert not set("\x9b\x7f\u202e\u200b") & set(out)
    if form == "json":
        assert json.loads(out)["dead"][0]["reason"] == hostile


def test_replay_delivers_again(kpanic: Run) -> None:
    target = kpanic.folder / "out.ndjson"
    output = ("-E", f"output.file.path={target}")
    kpanic("ship", LOGS / "story", *output)
    assert "0 to deliver again" in kpanic("replay", *output)[1]
    again = "2 to deliver again\nfile: of these 2 there already\nfile: 2 delivered in all\n"
    assert kpanic("replay", "--all", "file", *output)[1] == again
    target.unlink()
    assert "again\nfile: 2 delivered in all\n" in kpanic("replay", "--all", "file", *output)[1]
    assert len(documents(target.read_text())) == 2
    assert "output.kafka is not configured" in kpanic("replay", "kafka", *output, code=2)[1]


def test_the_report_s_last_line_is_its_path(kpanic: Run) -> None:
    kpanic("ship", LOGS / "story")
    out, _ = kpanic("report", "-o", "page.html")
    page = Path(out.splitlines()[-1])
    assert page == kpanic.folder / "page.html"
    assert page.read_text().startswith("<!doctype html>")
    summary = json.loads(kpanic("report", "--format", "json")[0])
    assert summary["incidents"] == 1
    assert "cannot be written" in kpanic("report", "-o", "no/such/folder.html", code=1)[1]


def test_two_at_once_is_reported(kpanic: Run) -> None:
    from kpanic.shipper.store import Store  # noqa: PLC0415

    with Store(kpanic.store):
        _, err = kpanic("ship", STORY, code=1)
    assert f"process {os.getpid()} is writing to this store" in err


# --- others ----------------------------------------------------------------------------------------


def test_the_configuration_is_checked_before_anything_starts(kpanic: Run) -> None:
    (kpanic.folder / "k.yml").write_text("output.opensearch:\n  host: a:1\n")
    for command in (("ship", str(STORY)), ("test", "config"), ("status",)):
        _, err = kpanic(*command, "-c", "k.yml", code=2)
        assert "k.yml:2: output.opensearch.host: there is no such key; the nearest is hosts" in err
    assert not kpanic.store.exists()
    (kpanic.folder / "k.yml").write_text("output.file.path: x\n")
    assert "k.yml: fine;" in kpanic("test", "config", "-c", "k.yml")[0]


def test_test_output_reaches_it(kpanic: Run) -> None:
    assert "writable" in kpanic("test", "output", "-E", f"output.file.path={kpanic.folder}/x")[0]
    away = ("-E", "output.opensearch.hosts=127.0.0.1:9")
    refused = "kpanic: opensearch: http://127.0.0.1:9: Connection refused\n"
    for command in (["test", "output"], ["setup"], ["signatures", "--from", "opensearch"]):
        said = kpanic(*command, *away, code=1)[1]
        assert said.startswith(refused[:-1])
        assert "kept" not in said  # there was nothing to deliver
    assert "Connection refused; everything is kept" in kpanic("ship", STORY, *away, code=1)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pares", "x"], "there is no command 'pares'; did you mean 'parse'?"),
        (["parse"], "Missing argument 'FILE...'"),
        (["parse", "--fromat", "x", "y"], "No such option '--fromat'"),
        (["parse", "--jobs", "0", "y"], "Invalid value for '--jobs'"),
        (["ship", "-c", "nowhere.yml", "x"], "nowhere.yml: cannot be read: No such file or directory"),
        (["export", "policy"], "--format of policy is one of: opensearch, elasticsearch"),
        (["ship", "-E", "nothing", "x"], "-E: expected key=value"),
        (
            ["export"],
            "Missing argument '{dashboard|template|policy|alert|pipeline|schema}'. Choose from: dashboard",
        ),
        (["export", "schema", "--format", "kibana"], "there is no --format of schema: it is always JSON"),
        (["ship", "--backfill", "--no-backfill", "x"], "--backfill and --no-backfill exclude each other"),
    ],
)
def test_a_wrong_command_says_what_is_wrong_with_it(kpanic: Run, arguments: list[str], message: str) -> None:
    out, err = kpanic(*arguments, code=2)
    assert message in err
    assert out == ""


@pytest.mark.parametrize("arguments", [[], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_command_has_help(kpanic: Run, arguments: list[str]) -> None:
    out, err = kpanic(*arguments, code=0 if arguments else 2)
    assert "Usage: kpanic" in out + err


def test_exports_are_json(kpanic: Run) -> None:
    assert json.loads(kpanic("export", "template", "--format", "opensearch")[0])["index_patterns"]
    assert json.loads(kpanic("export", "policy", "--format", "elasticsearch")[0])["policy"]
    assert json.loads(kpanic("export", "schema")[0])["properties"]["output"]
    sized = ("export", "dashboard", "--format", "kibana", "-E", "fleet.size=2000")
    out, _ = kpanic(*sized)
    assert "of 2000 hosts" in out
    assert kpanic(*sized, "-o", "panics.ndjson")[0].strip() == str(kpanic.folder / "panics.ndjson")
    assert (kpanic.folder / "panics.ndjson").read_text() == out


def test_alert_rules_that_are_several_files_get_a_folder(kpanic: Run) -> None:
    rules = ("export", "alert", "--format", "elastalert2", "-o")
    names = kpanic(*rules, "etc/rules")[0].splitlines()
    assert len(names) > 3
    assert sorted(map(Path, names)) == sorted((kpanic.folder / "etc" / "rules").iterdir())
    (kpanic.folder / "file").touch()
    expected = f"kpanic: file: is a file; expected a folder, as these are {len(names)} files\n"
    assert kpanic(*rules, "file", code=1)[1] == expected


def test_a_reader_that_has_seen_enough_is_no_error(kpanic: Run) -> None:
    files = " ".join(f"'{path}'" for path in sorted((LOGS / "lab").iterdir()))
    command = f"{sys.executable} -c 'from kpanic.shipper.cli import main; main()' parse {files} | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, env=kpanic.environment)
    assert b"Traceback" not in done.stderr
    assert len(done.stdout) == 10


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (f"parse {STORY} >/dev/full", "standard output cannot be written: No space left on device"),
        (
            f"parse --format text {STORY} >/dev/full",
            "standard output cannot be written: No space left on device",
        ),
        (f"filter <{STORY} >/dev/full", "standard output cannot be written: No space left on device"),
        ("--version >/dev/full", "standard output cannot be written: No space left on device"),
        (f"parse {STORY} >&-", "standard output cannot be written: Bad file descriptor"),
        (f"filter <{STORY} >&-", "standard output cannot be written: Bad file descriptor"),
        ("filter <&-", "standard input is closed"),
        ("parse - <&-", "-: standard input is closed"),
        ("parse - <&- >&-", "-: standard input is closed"),
    ],
)
def test_a_full_or_closed_stream_is_reported_in_one_line(kpanic: Run, arguments: str, fault: str) -> None:
    command = f"{sys.executable} -c 'from kpanic.shipper.cli import main; main()' {arguments}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, env=kpanic.environment)
    assert (done.returncode, done.stderr.decode()) == (1, f"kpanic: {fault}\n")


def test_work_continues_if_messages_cannot_be_written(kpanic: Run) -> None:
    program = f"{sys.executable} -c 'from kpanic.shipper.cli import main; main()'"
    for arguments, code in (
        (f"ship nowhere {STORY} 2>/dev/full", 1),
        (f"ship {STORY} 2>&-", 0),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{program} {arguments}"], check=False, env=kpanic.environment, timeout=300
        )
        assert done.returncode == code
    assert kept(kpanic) == 1
    listening = "inputs=[{type: stdin, close_quiet: 0.1}]"
    with (
        PANIC.open("rb") as text,
        Path("/dev/full").open("wb") as full,
        subprocess.Popen(
            [*KPANIC, "run", "-E", listening], stdin=text, stderr=full, env=kpanic.environment
        ) as service,
    ):
        until(lambda: kept(kpanic) == 2)
        service.terminate()
        assert service.wait(60) == 0


def kept(kpanic: Run) -> int:
    """Return how many documents the store holds."""
    documents: int = json.loads(kpanic("status", "--format", "json")[0])["documents"]
    return documents


def test_a_bar_shows_on_a_terminal_only(kpanic: Run) -> None:
    command = [*KPANIC, "ship", str(LOGS / "story")]
    assert "reading" in shown(command, kpanic.environment, output=False)
    assert "reading" not in kpanic("ship", LOGS / "story")[1]


def test_the_version_is_there_at_once(kpanic: Run) -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def seconds() -> float:
        before = spent()
        assert kpanic("--version")[0].startswith("kpanic ")
        return spent() - before

    # 0.1 s, with room for a slow machine; other processes slow some of them, but not all
    assert any(seconds() < 0.15 for _ in range(30))
