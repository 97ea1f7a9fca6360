"""Triage of faults in documents, and kernels with a fix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpanic.shipper.api import Stored
from kpanic.shipper.config import ConfigError, load
from kpanic.shipper.triage import Entry, Triage, has_fix

if TYPE_CHECKING:
    from pathlib import Path

EL7 = "3.10.0-1160.25.1.el7"
EL8 = ["4.18.0-425.3.1.el8", "4.18.0-372.32.1.el8_6"]
STABLE = ["6.1.55", "6.5.5", "6.6"]


@pytest.mark.parametrize(
    ("release", "fixes", "has"),
    [
        # a minor release's first kernel and its updates
        ("3.10.0-1160.el7.x86_64", [EL7], False),
        ("3.10.0-1160.24.1.el7.x86_64", [EL7], False),
        ("3.10.0-1160.25.1.el7.x86_64", [EL7], True),
        ("3.10.0-1160.102.1.el7.x86_64", [EL7], True),
        ("3.10.0-957.el7.x86_64", [EL7], False),
        ("3.10.0-1160.105.1.el7.ppc64le", [EL7], True),
        # a fix of another distribution does not apply
        ("4.18.0-553.el8_10.x86_64", [EL7], None),
        ("5.4.17-2136.300.7.el8uek.x86_64", ["4.18.0-425.3.1.el8"], None),
        ("5.15.0-1051-aws", ["5.15.0-91-generic"], None),
        ("5.15.0-91-generic", ["5.15.0-91-generic"], True),
        ("5.15.0-101-generic", ["5.15.0-91-generic"], True),
        # a fix in the next minor release and its backport to an extended one
        ("4.18.0-372.9.1.el8.x86_64", EL8, False),
        ("4.18.0-372.40.1.el8_6.x86_64", EL8, True),
        ("4.18.0-400.el8.x86_64", EL8, False),
        ("4.18.0-477.10.1.el8_8.x86_64", EL8, True),
        ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.13.1.el9"], True),
        ("5.14.0-427.9.1.el9_4.x86_64", ["5.14.0-427.13.1.el9"], False),
        # Debian's numbers increase; the machine does not count
        ("6.1.0-56-amd64", ["6.1.0-9-amd64"], True),
        ("6.1.0-9-arm64", ["6.1.0-56-amd64"], False),
        ("6.1.0-13-rt-amd64", ["6.1.0-12-amd64"], True),
        # each stable series has its own
        ("6.1.54", STABLE, False),
        ("6.1.55-acme", STABLE, True),
        ("6.5.4", STABLE, False),
        ("6.5.11", STABLE, True),
        ("6.4.16", STABLE, False),
        ("6.6.0", STABLE, True),
        ("6.6.0-rc3", STABLE, False),
        ("6.6.0-rc3", ["6.6-rc2"], True),
        ("6.6.0-rc10", ["6.6-rc9"], True),
        ("7.0.0", STABLE, True),
        ("", STABLE, None),
        ("garbage", STABLE, None),
    ],
)
def test_a_kernel_has_a_fix(release: str, fixes: list[str], has: bool | None) -> None:  # noqa: FBT001
    assert has_fix(release, fixes) is has


@given(st.text(), st.text())
def test_any_text_may_be_a_release(release: str, fix: str) -> None:
    assert has_fix(release, [fix]) in {True, False, None}


@given(st.tuples(*[st.integers(0, 300)] * 4), st.tuples(*[st.integers(0, 300)] * 4))
def test_numbers_count_as_numbers(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    release, fix = ("{}.{}.{}-{}-generic".format(*numbers) for numbers in (one, other))
    assert has_fix(release, [fix]) is (one >= other)


def document(
    title: str = "kernel BUG in f", signature: str = "v1-00", kernel: str = "6.1.0"
) -> dict[str, Any]:
    return {
        "host": {"os": {"kernel": kernel}},
        "kernel": {"panic": {"title": title, "signature": {"id": signature}}},
    }


def words(triage: Triage, **of: str) -> dict[str, Any]:
    """Return the triage of a stamped document, and check that storing it gives the same."""
    made = document(**of)
    stamped = json.loads(triage.stamp(Stored(1, "x", json.dumps(made).encode())).body)
    assert stamped == triage.stamp_document(made)
    found: dict[str, Any] = stamped["kernel"]["panic"].pop("triage", {})
    assert stamped == document(**of)
    return found


def test_a_signature_goes_before_a_title_and_the_first_of_titles_counts() -> None:
    triage = Triage(
        [
            Entry(title="kernel BUG in f*", status="ignored"),
            Entry(title="*", status="known", ticket="OPS-2"),
            Entry(signature="v1-00", status="known", ticket="OPS-1", owner="storage", note="a note"),
        ]
    )
    assert words(triage) == {"status": "known", "ticket": "OPS-1", "owner": "storage", "note": "a note"}
    assert words(triage, signature="v1-01") == {"status": "ignored"}
    assert words(triage, signature="v1-01", title="x") == {"status": "known", "ticket": "OPS-2"}
    assert words(Triage(), signature="v1-01") == {}


def test_a_title_may_hold_brackets_and_backslashes() -> None:
    triage = Triage([Entry(title="BUG in nfs_? [nfs] \\*", status="known")])
    assert words(triage, title="BUG in nfs_f [nfs] \\x")
    assert not words(triage, title="BUG in nfs_f n \\x")


def test_a_fixed_fault_is_back_on_a_kernel_that_has_the_fix() -> None:
    triage = Triage([Entry(title="*", status="fixed", fixed_in=[EL7])])
    said = {
        kernel: words(triage, kernel=kernel)["status"]
        for kernel in ("3.10.0-1160.el7.x86_64", "3.10.0-1160.31.1.el7.x86_64", "4.18.0-80.el8.x86_64")
    }
    assert list(said.values()) == ["fixed", "regressed", "known"]


def test_signatures_known_before_are_forgotten() -> None:
    old = document()
    old["kernel"]["panic"]["triage"] = {"status": "ignored"}
    assert Triage().stamp_document(old) == document()


FILE = """\
- signature: v1-bcacd554630c387c
  status: known
  ticket: 12
- title: "BUG: * in nfs_*"
  status: fixed
  fixed_in: 6.10
"""


def read(tmp_path: Path, text: str) -> list[Entry]:
    (tmp_path / "triage.yml").write_text(text)
    (tmp_path / "kpanic.yml").write_text("triage.path: triage.yml\n")
    return load(str(tmp_path / "kpanic.yml"), environment={}).entries


def test_the_file_stands_beside_the_configuration(tmp_path: Path) -> None:
    assert read(tmp_path, FILE) == [
        Entry(signature="v1-bcacd554630c387c", status="known", ticket="12"),
        Entry(title="BUG: * in nfs_*", status="fixed", fixed_in=["6.10"]),
    ]
    assert read(tmp_path, "# nothing yet\n") == []
    assert load(environment={}).entries == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            FILE.replace("ticket", "tiket"),
            "triage.yml:3: [0].tiket: there is no such key; the nearest is ticket",
        ),
        (FILE.replace("known", "solved"), "triage.yml:2: [0].status: expected one of fixed, ignored, known"),
        (FILE.replace("  status: known\n", ""), "triage.yml:1: [0].status: is needed and not there"),
        (
            FILE.replace("v1-bcacd554630c387c", "bcacd"),
            "triage.yml:1: [0].signature: expected a signature such as v1-bcacd554630c387c",
        ),
        (FILE.replace("signature: v1-bcacd554630c387c", "owner: x"), "triage.yml:1: [0]: needs either"),
        (
            FILE.replace("  fixed_in: 6.10\n", ""),
            "triage.yml:4: [1]: status fixed and fixed_in need each other",
        ),
        (
            FILE.replace("6.10", "[next]"),
            "triage.yml:6: [1].fixed_in[0]: expected a kernel's release as uname -r says it",
        ),
        (
            "- {signatur: v1-00, status: known}",
            "triage.yml:1: [0].signatur: there is no such key; the nearest is",
        ),
        ("- {title: x, status: fixd}", "triage.yml:1: [0].status: expected one of fixed, ignored, known"),
        ("signature: v1-00", "triage.yml:1: expected a list, each with a signature or a title"),
        ("- [", "triage.yml:1: is not YAML"),
        ("- x", "triage.yml:1: [0]: expected keys and values, got text"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"{tmp_path}/{fault}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml: cannot be read: No such file or directory"):
        load(None, [f"triage.path={tmp_path}/none.yml"], {})
