"""Error codes and addresses in words, for every machine."""

from __future__ import annotations

import pytest

from kpanic.grammars.machines import find


@pytest.mark.parametrize(
    ("machine", "code", "words"),
    [
        ("x86_64", 0x0000, "read from a non-present page by the kernel"),
        ("x86_64", 0x0002, "write to a non-present page by the kernel"),
        ("x86_64", 0x0003, "write to a protected page by the kernel"),
        ("x86_64", 0x0010, "instruction fetch from a non-present page by the kernel"),
        ("x86_64", 0x0011, "instruction fetch from a protected page by the kernel"),
        ("x86_64", 0x0006, "write to a non-present page by user mode"),
        ("x86_64", 0x0009, "read from a protected page by the kernel (a reserved bit is set)"),
        ("i686", 0x0002, "write to a non-present page by the kernel"),
        ("aarch64", 0x96000004, "read from a non-present page by the kernel"),
        ("aarch64", 0x96000046, "write to a non-present page by the kernel"),
        ("aarch64", 0x9600004F, "write to a protected page by the kernel"),
        ("aarch64", 0x86000006, "instruction fetch from a non-present page by the kernel"),
        ("aarch64", 0x8600000F, "instruction fetch from a protected page by the kernel"),
        ("aarch64", 0x96000021, "misaligned access"),
        ("aarch64", 0x02000000, "undefined instruction"),
        ("aarch64", 0xF2000800, "BRK instruction"),
        ("aarch64", 0xBE000000, "SError interrupt: an asynchronous hardware error"),
        ("armv7l", 0x005, "read from a non-present page by the kernel"),
        ("armv7l", 0x805, "write to a non-present page by the kernel"),
        ("armv7l", 0x80D, "write to a protected page by the kernel"),
        ("armv7l", 0xA06, "write to a non-present page by the kernel"),  # large descriptors
        ("ppc64le", 0x40000000, "read from a non-present page by the kernel"),
        ("ppc64le", 0x42000000, "write to a non-present page by the kernel"),
        ("ppc64le", 0x0A000000, "write to a protected page by the kernel"),
        ("s390x", 0x0004, "write to a protected page by the kernel"),
        ("s390x", 0x0011, "access to a non-present page by the kernel"),
        ("s390x", 0x0009, "fixed-point division by zero"),
        ("riscv64", 12, "instruction fetch from a page by the kernel"),
        ("riscv64", 13, "read from a page by the kernel"),
        ("riscv64", 15, "write to a page by the kernel"),
        ("riscv64", 2, "illegal instruction"),
        ("sparc", 1, ""),
    ],
)
def test_an_error_code_in_words(machine: str, code: int, words: str) -> None:
    assert find(machine).access(code).words == words


def test_without_a_code_there_is_no_instruction_sentence() -> None:
    assert find("x86_64").access(None).words == ""


@pytest.mark.parametrize(
    ("machine", "address", "place", "words"),
    [
        ("x86_64", 0x0, "null", "NULL"),
        ("x86_64", 0x10, "null", "NULL plus 0x10"),
        ("x86_64", 0x1000, "user", "user space"),
        ("x86_64", 0x7F3524D3A000, "user", "user space"),
        ("x86_64", 0x6B6B6B6B6B6B6B6B, "poison", "a use after free"),
        ("x86_64", 0x6B6B6B6B6B6B6B83, "poison", "plus 0x18"),
        ("x86_64", 0xDEAD000000000100, "poison", "LIST_POISON1"),
        ("x86_64", 0xDEAD000000000122, "poison", "LIST_POISON2"),
        ("x86_64", 0xDFFFFC0000000000, "non-canonical", "non-canonical"),
        ("x86_64", 0xFFFFFFFFFFFFFFF2, "error", "-14"),
        ("x86_64", 0xFFFFC90000010000, "kernel", "vmalloc"),
        ("x86_64", 0xFFFFFFFFC04008C0, "kernel", "a module"),
        ("x86_64", 0xFFFFFFFF81234567, "kernel", "the kernel's image"),
        ("x86_64", 0xFF255CDD17F343C0, "kernel", "five levels"),
        ("aarch64", 0xFFFF64F943142800, "kernel", "a kernel address"),
        ("aarch64", 0x0000AAAACAFE0000, "user", "user space"),
        ("aarch64", 0x6B6B6B6B6B6B6B6B, "poison", "a use after free"),
        ("armv7l", 0x6B6B6B6B, "poison", "a use after free"),
        ("armv7l", 0xC0101010, "kernel", "a kernel address"),
        ("armv7l", 0x00010000, "user", "user space"),
        ("i686", 0x00000100, "null", "LIST_POISON"),
        ("i686", 0xFFFFFFEA, "error", "-22"),
        ("riscv64", 0xFF600000082D3100, "kernel", "a kernel address"),
    ],
)
def test_an_address_in_words(machine: str, address: int, place: str, words: str) -> None:
    located = find(machine).locate(address)
    assert located.place == place
    assert words in located.words


@pytest.mark.parametrize(
    ("machine", "code", "address", "expected"),
    [
        ("x86_64", 0x0002, 0x0, "null-dereference"),
        ("x86_64", 0x0002, 0xFFFFE8DEADBE0000, "bad-pointer"),
        ("x86_64", 0x0003, 0xFFFFFFFFC04008C0, "write-protected"),
        ("x86_64", 0x0011, 0xFF255CDD17F343C0, "exec-protected"),
        ("x86_64", 0x0011, 0x7FC1C6509000, "user-memory-access"),
        ("x86_64", 0x0003, 0x7F3524D3A000, "user-memory-access"),
        ("x86_64", 0x0000, 0x0000001C00000040, "bad-pointer"),
        ("aarch64", 0x9600004F, 0xFFFFA1B2C3D40000, "write-protected"),
        ("s390x", 0x0004, 0x3FF7E75A000, "write-protected"),
        ("riscv64", 13, 0x10, "null-dereference"),
    ],
)
def test_the_cause_that_follows(machine: str, code: int, address: int, expected: str) -> None:
    assert find(machine).cause("bad-pointer", find(machine).access(code), address) == expected


def test_an_address_that_the_kernel_calls_null_is_null() -> None:
    arm64 = find("aarch64")
    assert arm64.cause("null-dereference", arm64.access(0x96000004), 0x1FF8) == "null-dereference"
