"""The trapping instruction: as objdump shows it in the module that crashed, and its address."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpanic.grammars import CrashReport, parse
from kpanic.grammars.model import InstructionPointer, Kernel, Oops
from kpanic.grammars.reading.instruction import Registers, decode
from tests.lab.instructions import Row, normal

HERE: Final = Path(__file__).parent
LAB: Final = HERE.parent / "logs" / "lab"
ROWS: Final = [Row(*line.split("\t")) for line in (HERE / "instructions.tsv").read_text().splitlines()]


def crashed(machine: str, code: str, registers: dict[str, str] | None = None, **facts: object) -> CrashReport:
    return CrashReport(
        title="",
        kind="oops",
        fatal=True,
        status="complete",
        kernel=Kernel(architecture=machine),
        code=code,
        registers=tuple((registers or {}).items()),
        **{"cause": "bad-pointer", "ip": InstructionPointer("", "f", 0x10, 0x40), **facts},  # type: ignore[arg-type]
    )


def test_every_machine_that_the_lab_crashes_and_the_decoder_knows_is_among_them() -> None:
    machines = {
        "x86_64",
        "i686",
        "aarch64",
        "armv6l",
        "armv7l",
        "mips",
        "mips64",
        "ppc64le",
        "s390x",
        "riscv64",
    }
    assert {row.machine for row in ROWS} == machines


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.console)
def test_the_decoder_agrees_with_objdump(row: Row) -> None:
    symbol, _, rest = row.place.partition("+")
    offset, _, size = rest.partition("/")
    report = crashed(
        row.machine,
        row.code,
        cause=row.cause,
        ip=InstructionPointer("", symbol, int(offset, 16), int(size, 16), "boom"),
        oops=Oops(1, int(row.error, 16)) if row.error else None,
    )
    found = decode(report)
    assert found
    if row.objdump.startswith(".word "):  # data for objdump, but the trap of BUG() for the kernel
        assert found.code == row.objdump.removeprefix(".word 0x")
        assert found.text.startswith("udf ")
    else:
        assert normal(found.text, row.machine) == normal(row.objdump, row.machine)


@pytest.mark.parametrize("console", sorted(LAB.glob("*.log")), ids=lambda path: path.stem)
def test_the_computed_address_is_the_faulting_address(console: Path) -> None:
    """The address from the registers is the one that the kernel names."""
    for report in parse(console.read_bytes()):
        found = decode(report, Registers(report))
        if found is None or found.address is None or report.fault_address is None:
            continue
        if "maybe for address" in report.reason:
            continue  # the kernel guesses
        assert 0 <= report.fault_address - found.address < 64


@pytest.mark.parametrize(
    ("machine", "code", "registers", "text", "address"),
    [
        ("x86_64", "90 <c7> 00 01 00 00 00", {"RAX": "0000000000000010"}, "movl $0x1,(%rax)", 0x10),
        ("sparc64", "8ea1e010 <c25a6008> 92026008", {"o1": "0000000000000020"}, "ldx [%o1+8],%g1", 0x28),
        ("m68k", "4e71 <2028> 0010 4e75", {"a0": "00000020"}, "move.l $0xa(a0),d0", 0x30),
        (
            "x86_64",
            "<49> 8b 44 c8 18",
            {"R08": "ffff888000000000", "RCX": "0000000000000002"},
            "movq 0x18(%r8,%rcx,8),%rax",
            0xFFFF888000000028,
        ),
        ("x86_64", "<65> 48 8b 04 25 10 00 00 00", {"GS": "ffff88803ec00000(0000)"}, "", 0xFFFF88803EC00010),
        ("x86_64", "<48> 8d 40 10", {"RAX": "10"}, "leaq 0x10(%rax),%rax", None),
        ("i686", "<8b> 40 fc", {"EAX": "00000000"}, "movl -4(%eax),%eax", 0xFFFFFFFC),
        ("aarch64", "d503201f (f8696ada)", {"x22": "6161616161616161", "x9": "40"}, "", 0x61616161616161A1),
        ("armv7l", "e5922000 (e7922101)", {"r2": "80b0b008", "r1": "00000010"}, "", 0x80B0B048),
        ("armv7l", "4770 (6a1b) bf00", {"r3": "00000000"}, "ldr r3,[r3,#0x20]", 0x20),
        ("ppc64le", "60000000 <e9490010> 4e800020", {"GPR09": "0000000000000000"}, "ld r10,0x10(r9)", 0x10),
        ("s390x", "07fe <e31020080004> 07fe", {"GPR2": "0000000000000000"}, "lg %r1,8(%r2)", 8),
        ("riscv64", "8082 (4398) 0001", {"a5": "0000000000000010"}, "lw a4,0(a5)", 0x10),
        ("riscv64", "8082 (a023) 00e7", {"a5": "0000000000000010"}, "sw a4,0(a5)", 0x10),
    ],
)
def test_the_registers_add_up(
    machine: str, code: str, registers: dict[str, str], text: str, address: int | None
) -> None:
    report = crashed(machine, code, registers)
    found = decode(report, Registers(report))
    assert found
    assert found.text == text or not text
    assert found.address == address


@pytest.mark.parametrize(
    "code",
    ["", "Unable to access opcode bytes at 0xffffffffc0295fdb.", "Bad RIP value.", "<>", "(zz) 00", "90 90"],
)
def test_a_report_without_code_has_no_instruction(code: str) -> None:
    assert decode(crashed("x86_64", code)) is None


def test_a_machine_that_nobody_knows_has_none() -> None:
    assert decode(crashed("sparc64", "<c7> 00")) is None


def test_a_jump_is_named_by_its_function() -> None:
    found = decode(crashed("x86_64", "f3 90 <eb> fc"))
    assert found
    assert found.text == "jmp f+0xe"


def test_a_jump_to_another_function_is_left_open() -> None:
    found = decode(crashed("x86_64", "<e8> 24 aa 07 00"))
    assert found
    assert found.text == "callq ..."


@given(
    machine=st.sampled_from(["x86_64", "i686", "aarch64", "armv7l", "ppc64le", "s390x", "riscv64", ""]),
    code=st.text("0123456789abcdef<>()#* Xx", max_size=120),
    registers=st.dictionaries(
        st.sampled_from(["RAX", "rax", "r0", "x0", "GPR01", "GPR1", "a5", "GS"]),
        st.text("0123456789abcdefx:()", max_size=24),
    ),
    cause=st.sampled_from(["bad-pointer", "breakpoint", "divide-error"]),
)
def test_no_code_raises_an_error(machine: str, code: str, registers: dict[str, str], cause: str) -> None:
    found = decode(crashed(machine, code, registers, cause=cause, fault_address=0x10))
    assert found is None or found.text
