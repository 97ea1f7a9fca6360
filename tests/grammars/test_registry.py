"""Families are plugins; the built-in ones are registered like those of other distributions."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from kpanic import plugins
from kpanic.grammars import Parser, names, registry
from kpanic.grammars import vocabulary as k
from kpanic.grammars.data.anchors import DISPATCHERS, INTERRUPTS, WAITING
from kpanic.grammars.data.skip import HELPERS, OLDER, SKIP
from kpanic.grammars.family import Family
from kpanic.grammars.registry import GROUP, Registry
from kpanic.grammars.report import FAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyparsing import ParserElement

FAMILIES = Path(registry.__file__).parent / "families"

widget = Family("widget")


@widget.form(
    title="widget meltdown in {function}",
    kind="hardware",
    cause="driver",
    walk="only-named",
    traceless=True,
)
def meltdown() -> ParserElement:
    """widget: meltdown in widget_core+0x1/0x2"""
    return "widget: meltdown in " + k.symbol


def test_every_built_in_file_is_registered() -> None:
    files = {
        f"kpanic.grammars.families.{path.stem}" for path in FAMILIES.glob("*.py") if path.stem != "__init__"
    }
    assert {entry.value for entry in entry_points(group=GROUP)} >= files


def test_a_family_of_a_site_is_read() -> None:
    parser = Parser(Registry([*registry.default().families, widget]))
    parser.feed(b"[    1.000000] widget: meltdown in widget_core+0x1/0x2\n")
    (crash,) = parser.close()
    assert (crash.title, crash.cause, crash.kind) == ("widget meltdown in widget_core", "driver", "hardware")


def broken(_fields: Mapping[str, str]) -> str:
    raise ZeroDivisionError("boom")


def test_a_family_with_a_fault_costs_only_its_own_reports() -> None:
    faulty = Family("faulty", forms=[replace(widget.forms[0], cause=broken)])
    parser = Parser(Registry([*registry.default().families, faulty]))
    banner = b"[    0.000000] Linux version 6.1.0-56-amd64 (a@b) (gcc) #1 SMP Debian 6.1\n"
    found = parser.feed(
        banner
        + b"[    1.000000] widget: meltdown in widget_core+0x1/0x2\n"
        + banner
        + b"[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
    )
    broken_, good = found + parser.close()
    assert (broken_.status, broken_.title, broken_.kernel.release, len(broken_.lines)) == (
        "corrupted",
        "widget: meltdown in widget_core",
        "6.1.0-56-amd64",
        1,
    )
    assert broken_.doubt.startswith(FAULT)
    assert "ZeroDivisionError: boom" in broken_.doubt
    assert (good.cause, good.doubt) == ("no-root-filesystem", "there is no call trace")


def test_a_fault_of_the_reading_step_by_step_costs_the_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpanic.grammars.parser.analyse", lambda _crash: broken({}))
    parser = Parser()
    parser.feed(b"[    1.000000] Kernel panic - not syncing: sysrq triggered crash\n")
    (crash,) = parser.close()
    assert (crash.cause, crash.status, crash.analysis) == ("sysrq", "corrupted", None)
    assert crash.doubt.startswith(FAULT)


def test_an_entry_point_that_is_no_family_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = plugins.Point("wrong", "re:compile", GROUP)
    monkeypatch.setattr(plugins, "points", lambda _group: (wrong,))
    with pytest.raises(TypeError, match=r"'wrong' of kpanic\.families"):
        list(plugins.installed(GROUP, Family))


def test_every_rule_has_a_reason_and_compiles() -> None:
    for reason, patterns in (*HELPERS, *OLDER, *DISPATCHERS, *INTERRUPTS, *WAITING):
        assert reason
        for pattern in patterns.split():
            re.compile(pattern)


@pytest.mark.parametrize(
    "name",
    [
        "kmalloc_trace",
        "widget_kzalloc",
        "__list_add_valid",
        "memcpy",
        "do_raw_spin_lock",
        "widget",
        "refcount_inc",
        "up_read",
        "schedule",
    ],
)
def test_rules_without_a_regular_expression_answer_as_one_would(name: str) -> None:
    one = re.compile("|".join(pattern for pattern, _ in SKIP))
    assert bool(names.Names(SKIP).reason(name)) == bool(one.search(name))
