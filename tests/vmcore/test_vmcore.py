"""A dump is opened if the log does not explain the crash.

The kernels that died here run ``ledger.c``, which fixes what there is to find: the module knows which pointer
was NULL, which object was free, and who holds what.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import drgn
import pytest

from kpanic.shipper.inputs import memory_dump
from kpanic.shipper.vmcore.dump import Dump
from kpanic.shipper.vmcore.questions import lists

pytestmark = pytest.mark.process

LINKS = ("next", "prev")
MODULE = "/usr/src/ledger/ledger.c"
LEDGER = Path(__file__).parent / "ledger"
SOURCE = LEDGER / "ledger.c"


def line_of(text: str) -> int:
    """Return the number of the line of ledger.c that contains a text."""
    return next(n for n, row in enumerate(SOURCE.read_text(encoding="utf-8").splitlines(), 1) if text in row)


def explain(dump: Path, *options: str | Path) -> dict[str, Any]:
    """Return the reading of the last crash of a dump."""
    done = subprocess.run(
        [sys.executable, "-m", "kpanic", "explain", "--format", "json", *options, dump],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    crash: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return crash


def opened(dumps: Path, kind: str) -> dict[str, Any]:
    return explain(
        dumps / f"vmcore.{kind}",
        "--debug-info",
        dumps / "debug" / "vmlinux",
        "--debug-info",
        dumps / "debug" / "ledger.ko",
    )


def step(crash: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in crash["steps"] if one["name"] == f"vmcore: {name}")
    return found


def evidence(crash: dict[str, Any], name: str) -> list[str]:
    return [row["text"] for row in step(crash, name)["evidence"]]


def proofs(crash: dict[str, Any]) -> list[str]:
    """Return the lines from the dump that prove the verdict."""
    return [row["text"] for row in crash["steps"][-1]["evidence"] if row["line"] is None]


def test_the_structure_that_held_a_null_pointer_is_named(dumps: Path) -> None:
    crash = opened(dumps, "null")
    assert crash["vmcore"]["status"] == "answered"
    assert crash["vmcore"]["pointer"] == "account->owner"
    assert crash["vmcore"]["source"] == f"{MODULE}:{line_of('account->owner->limit')}"
    assert crash["verdict"]["vmcore_needed"] is False
    assert crash["verdict"]["why"] == (
        "The vmcore was opened, and it says: account->owner was NULL in account_limit."
    )
    assert "the access was to its member limit" in step(crash, "trapping frame")["finding"]
    assert crash["vmcore"]["object"] == "ledger_account, allocated"
    assert "commit_null" in "".join(evidence(crash, "trapping frame"))


def test_the_answer_is_in_the_verdict(dumps: Path) -> None:
    crash = opened(dumps, "null")
    assert "account->owner was NULL in account_limit" in crash["head"][0]
    assert crash["steps"][-1]["name"] == "verdict"
    assert not any("crash " in one and "vmcore" in one for one in crash["verdict"]["next"])
    assert not any("faddr2line" in one or "vmlinux" in one for one in crash["verdict"]["next"])
    assert proofs(crash) == ["account->owner = 0x0 in account_limit"]


def test_the_former_owner_of_freed_memory_is_named(dumps: Path) -> None:
    crash = opened(dumps, "freed")
    assert crash["vmcore"]["object"] == "ledger_account, free"
    assert "points into an object of the slab cache ledger_account that is free" in crash["verdict"]["why"]
    assert "The bad pointer is one of these" in step(crash, "trapping frame")["finding"]
    assert any(row.startswith("account->owner = 0x6b6b6b6b") for row in evidence(crash, "trapping frame"))


def test_the_allocator_and_the_freer_of_an_object_are_named(dumps: Path) -> None:
    crash = opened(dumps, "freed")
    finding = step(crash, "objects")["finding"]
    assert re.search(r"The object was allocated by PID (\d+) .*The object was freed by PID \1 ", finding)
    assert re.search(r" on CPU \d, \d+\.\d s before the dump\.", finding)
    stacks = " ".join(evidence(crash, "objects"))
    assert re.search(
        rf"#\d account_open\+0x\w+ at {MODULE}:\d+ #\d commit_freed\+0x\w+ at {MODULE}:\d+ .*"
        rf"called at 0x\w+ \(account_close\+0x\w+\) #\d commit_freed\+0x\w+ at {MODULE}:\d+ ",
        stacks,
    )


def test_the_wrong_link_of_a_corrupted_list_is_named(dumps: Path) -> None:
    crash = opened(dumps, "list")
    assert crash["vmcore"]["pointer"] == "account->entry.next"
    assert "in an object of ledger_account that is allocated" in crash["verdict"]["why"]


def test_a_corrupted_list_is_read_at_the_entry_that_the_kernel_names(dumps: Path) -> None:
    crash = explain(dumps / "vmcore.list", "--debug-info", dumps / "debug" / "vmlinux")
    entry = re.search("next->prev should be ([0-9a-f]{16})", json.dumps(crash))
    assert entry
    assert crash["vmcore"]["pointer"] == f"(struct list_head *)0x{entry[1]}->next"
    assert f"whose prev is 0x0 and not 0x{entry[1]}" in crash["verdict"]["why"]


def test_entries_that_the_dump_lacks_are_not_mentioned(dumps: Path) -> None:
    prog = drgn.Program()
    prog.set_core_dump(dumps / "vmcore.list")
    prog.load_debug_info([dumps / "debug" / "vmlinux"])
    answer = lists.ask(Dump(prog, "list-corruption", entries=(0xFFFF_88FF_FFFF_F000,)))
    assert (answer.skipped, answer.findings) == ("the list's entries are not in the dump", ())


def test_an_entry_that_was_deleted_twice_is_reported() -> None:
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    members = [drgn.TypeMember(lambda: prog.pointer_type(kind), name, 64 * n) for n, name in enumerate(LINKS)]
    kind = prog.struct_type("list_head", 16, members)
    poisons = struct.pack("<QQ", 0xDEAD000000000100, 0xDEAD000000000122)
    prog.add_memory_segment(0, 16, lambda address, count, *_: poisons[address : address + count])
    dump = Dump(prog, "list-corruption")
    assert [why for _, why in lists.wrong_links(dump, drgn.Object(prog, kind, address=0))] == [
        "is LIST_POISON1: the entry was deleted before",
        "is LIST_POISON2: the entry was deleted before",
    ]


def test_the_locks_of_a_hung_task_are_followed_to_the_last_holder(dumps: Path) -> None:
    crash = opened(dumps, "hung")
    assert crash["vmcore"]["lock"] == "mutex books.lock"
    assert crash["vmcore"]["holder"].startswith("clerk (PID ")
    post = line_of("wait_for_completion_interruptible(")
    assert (
        f"holds the mutex books.lock and slept (state S) in clerk at {MODULE}:{post}"
        in crash["verdict"]["why"]
    )
    rows = evidence(crash, "locks")
    assert rows[0].startswith("printer/")
    assert "waits for the read-write semaphore books.index" in rows[0]
    assert ", held by auditor (PID " in rows[0]
    assert rows[1].startswith("auditor (PID ")
    assert "waits for the mutex books.lock" in rows[1]
    assert ", held by clerk (PID " in rows[1]
    assert "the semaphore books.seal does not record who holds it" in step(crash, "locks")["finding"]
    assert proofs(crash) == rows[1:2]
    assert not any("apt-get" in one or "faddr2line" in one for one in crash["verdict"]["next"])


def test_each_stack_stands_behind_the_sentence_that_it_proves(dumps: Path) -> None:
    debug = [word for name in ("vmlinux", "ledger.ko") for word in ("--debug-info", dumps / "debug" / name)]
    for form in ("text", "markdown", "html"):
        command = [sys.executable, "-m", "kpanic", "explain", "--format", form, *debug, dumps / "vmcore.hung"]
        page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        assert re.search(
            r"1 task waited here: auditor(?:(?! waited here).)*"
            r" auditor\+0x(?:(?! waited here).)*1 task waited here: sealer",
            page,
            re.DOTALL,
        ), form


def test_blocked_tasks_are_grouped_by_where_they_wait(dumps: Path) -> None:
    finding = step(opened(dumps, "hung"), "blocked tasks")["finding"]
    assert "2 tasks waited here: printer/1 (PID " in finding
    assert "1 task waited here: auditor (PID " in finding
    assert "clerk" not in finding  # its sleep can be interrupted


def test_a_deadlock_of_two_tasks_is_reported(dumps: Path) -> None:
    crash = opened(dumps, "deadlock")
    assert crash["vmcore"]["lock"] == "mutex credit"
    assert crash["vmcore"]["holder"].startswith("payee (PID ")
    why = crash["verdict"]["why"]
    assert "payer (PID " in why
    assert "payee (PID " in why
    assert "each hold what the next of them waits for, a deadlock" in why


def test_the_spinlock_of_a_soft_lockup_is_named(dumps: Path) -> None:
    crash = opened(dumps, "spin")
    assert "with cashier (PID " in crash["verdict"]["why"]
    assert "spins for the spinlock books.till" in crash["verdict"]["why"]
    assert (crash["vmcore"]["lock"], crash["vmcore"]["holder"]) == ("spinlock books.till", "")
    assert [" cashier+0x" in row for row in proofs(crash)] == [True]
    assert [row for row in evidence(crash, "trapping frame") if "prev" in row] == [
        "queued_spin_lock_slowpath: val, prev, next, node, old, tail, idx, _val, VAL"
    ]
    assert "ran counter (PID " in step(crash, "CPUs")["finding"]  # which holds it


def test_out_of_memory_names_what_filled_the_memory(dumps: Path) -> None:
    crash = opened(dumps, "oom")
    assert "slab that cannot be reclaimed, most of it" in crash["verdict"]["why"]
    assert re.search(
        r", most of it in the slab cache ledger_receipt \(\d+\.\d MiB\)\.$", crash["verdict"]["why"]
    )
    rows = evidence(crash, "memory")
    assert any("ledger_receipt" in row for row in rows)
    assert not any(row.startswith("0.0 MiB") and row.endswith(" be reclaimed") for row in rows)
    assert crash["verdict"]["why"].startswith(
        "The log is enough: the OOM killer's report says what filled the memory"
    )
    assert [row.partition(" MiB ")[2] for row in proofs(crash)] == ["slab that cannot be reclaimed"]


def test_out_of_memory_names_the_largest_allocators(dumps: Path) -> None:
    finding = step(opened(dumps, "oom"), "memory")["finding"]
    place = f"{MODULE}:{line_of('while (kmem_cache_alloc(receipts')}"
    share = re.search(rf"(\d+)% of the allocated pages were allocated by commit_oom at {place}", finding)
    assert share
    assert 50 < int(share[1]) < 100


def test_out_of_memory_in_a_cgroup_names_the_cgroup_and_its_largest_tasks(dumps: Path) -> None:
    crash = opened(dumps, "memcg")
    words = (
        r"the memory cgroup /office reached its limit of 8\.0 MiB, most of it memory of busybox \(PID \d+\)"
    )
    assert re.search(f"{words} in /office/copies", crash["verdict"]["why"])
    rows = evidence(crash, "memory")
    charged = float(rows[0].removesuffix(" MiB charged"))
    assert 7.5 < charged <= 8
    assert any(row.endswith(" MiB anonymous memory of processes") for row in rows)
    tasks = [row for row in rows if " in /office/" in row]
    assert [row.rpartition("/")[2] for row in tasks] == ["copies", "archive"]
    assert proofs(crash) == tasks[:1]


def test_a_stack_overflow_names_the_stack_and_the_recursion(dumps: Path) -> None:
    crash = opened(dumps, "deep")
    assert crash["verdict"]["cause"] == "stack-overflow"
    said = re.search(
        r"audit_\w+ and audit_\w+ called each other in turn, (\d+) times, and filled (\d+) of the 16384 bytes"
        r" of the stack of busybox \(PID \d+\)",
        crash["verdict"]["why"],
    )
    assert said
    rounds, size = int(said[1]), int(said[2])
    assert size / rounds > 31  # two return addresses, and what each of the two saves
    assert 14_000 < size <= 16_384
    rows = evidence(crash, "stack")
    bottom, top = (int(word, 16) for word in re.findall(r"0x\w+", rows[0]))
    (pointer,) = (int(word, 16) for word in re.findall(r"0x\w+", rows[1]))
    assert top - bottom == 16_384
    assert bottom - 4096 <= pointer < bottom + 128
    assert "the mark at the end (STACK_END_MAGIC) is overwritten" in step(crash, "stack")["finding"]
    trace = evidence(crash, "trapping frame")
    assert any(row.startswith("… these 2 frames ") for row in trace)
    assert any(" commit_deep+0x" in row for row in trace)
    assert len(crash["steps"][-1]["evidence"]) < 20
    assert crash["vmcore"]["source"].startswith(f"{MODULE}:")


def test_an_invalid_stack_pointer_is_reported(dumps: Path) -> None:
    crash = opened(dumps, "lost")
    assert crash["verdict"]["cause"] == "double-fault"
    assert crash["verdict"]["why"] == (
        "The vmcore was opened, and it says: the stack pointer was 0xdead000, in no stack of the kernel."
    )
    assert evidence(crash, "stack")[0].startswith("the stack of busybox (PID ")
    assert crash["vmcore"]["source"] == f"{MODULE}:{line_of('push %%rax')}"


@pytest.mark.parametrize("kind", ["null", "hung"])
def test_the_machine_is_described(dumps: Path, kind: str) -> None:
    crash = opened(dumps, kind)
    finding = step(crash, "system")["finding"]
    assert "The machine had been up for " in finding
    assert "The load averages were " in finding
    assert evidence(crash, "system") == ["ledger 1.2"]


def test_without_debug_information_it_says_what_to_install_and_what_the_dump_says_all_the_same(
    dumps: Path,
) -> None:
    crash = explain(dumps / "vmcore.null")
    assert crash["vmcore"]["status"] == "no-debug-info"
    assert crash["verdict"]["vmcore_needed"] is True
    assert (
        "the kernel's debug information is not here: apt-get install linux-image-" in crash["verdict"]["why"]
    )
    assert "#" not in crash["verdict"]["why"]
    rows = evidence(crash, "without debug information")
    assert "OSRELEASE=6.1.192-ledger" in rows
    assert any(row.startswith("BUILD-ID=") for row in rows)
    assert any(row.startswith("Linux version 6.1.192-ledger ") for row in rows)


def test_a_folder_is_searched_for_debug_information(dumps: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boot"
    folder.mkdir()
    shutil.copy(dumps / "debug" / "vmlinux", folder / "vmlinux-6.1.192-ledger")
    crash = explain(dumps / "vmcore.null", "--debug-info", tmp_path)
    assert "trapping frame" in "".join(one["name"] for one in crash["steps"])


def test_zero_seconds_reads_only_the_log(dumps: Path) -> None:
    crash = explain(dumps / "vmcore.null", "--vmcore-seconds", "0")
    assert crash["vmcore"] is None
    assert crash["verdict"]["vmcore_needed"] is True


def test_the_log_is_the_one_that_makedumpfile_extracts(dumps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(dumps / "vmcore.hung")
    with memory_dump.log_of(path, Path(path).read_bytes()[:64]) as file:
        expected = file.read().splitlines()
    monkeypatch.setenv("PATH", "/nowhere")
    with memory_dump.log_of(path, Path(path).read_bytes()[:64]) as file:
        found = file.read().splitlines()
    assert len(found) > 50
    assert found == expected


def test_a_flattened_dump_gives_its_log(dumps: Path, tmp_path: Path) -> None:
    flat = tmp_path / "vmcore.flat"
    with flat.open("wb") as file:
        subprocess.run(
            ["makedumpfile", "-F", "-d", "31", dumps / "vmcore.null"],
            stdout=file,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    assert explain(flat, "--vmcore-seconds", "0")["verdict"]["cause"] == "null-dereference"


def test_a_module_without_debug_information_gives_the_function_but_no_pointer(
    dumps: Path,
) -> None:
    crash = explain(dumps / "vmcore.null", "--debug-info", dumps / "debug" / "vmlinux")
    assert crash["vmcore"]["pointer"] == ""
    assert crash["vmcore"]["object"] == "ledger_account, allocated"  # by a register
    assert step(crash, "trapping frame")["finding"].startswith(
        "The trap was in account_limit, of which the debug information names no line"
    )
    assert any("commit_null+0x" in row for row in evidence(crash, "trapping frame"))
    assert crash["verdict"]["vmcore_needed"] is True


@pytest.mark.parametrize("flattened", [True, False])
def test_a_dump_whose_header_names_the_machine_alone_is_opened(
    dumps: Path, tmp_path: Path, *, flattened: bool
) -> None:
    """QEMU's ``dump-guest-memory -z`` writes such headers."""
    content = bytearray((dumps / "vmcore.null").read_bytes())
    system, machine = slice(12, 12 + 4 * 65), slice(12 + 4 * 65, 12 + 5 * 65)
    assert content[machine].startswith(b"x86_64\0")
    content[system] = bytes(4 * 65)
    dump = tmp_path / "vmcore"
    if flattened:  # two headers, all data in one block, and the end (makedumpfile.h)
        head = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")
        dump.write_bytes(head + struct.pack(">qq", 0, len(content)) + content + struct.pack(">qq", -1, -1))
    else:
        dump.write_bytes(content)
    debug = [value for name in ("vmlinux", "ledger.ko") for value in ("--debug-info", dumps / "debug" / name)]
    assert explain(dump, *debug)["vmcore"]["pointer"] == "account->owner"
