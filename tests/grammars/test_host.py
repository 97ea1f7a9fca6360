"""The host's name in a boot's messages."""

from __future__ import annotations

import pytest

from kpanic.grammars import parse

CRASH = """\
[    0.000000] Linux version 5.14.0-427.el9.x86_64 (mockbuild@x) (gcc) #1 SMP Mon Jan 1 00:00:00 UTC 2024
{said}[  790.371040] Kernel panic - not syncing: sysrq triggered crash
[  790.371041] CPU: 0 PID: 1 Comm: bash Not tainted 5.14.0-427.el9.x86_64 #1
[  790.371042] Call Trace:
[  790.371043]  panic+0x1/0x2
"""
SYSTEMD = "[    2.100000] systemd[1]: Hostname set to <{name}>.\n"
EARLY = SYSTEMD.format(name="localhost")


@pytest.mark.parametrize(
    ("said", "host"),
    [
        ("", ""),
        (SYSTEMD.format(name="web1.example.com"), "web1.example.com"),
        (EARLY, ""),
        (EARLY + SYSTEMD.format(name="web1"), "web1"),
        (SYSTEMD.format(name="web1") + EARLY, "web1"),
        ("web1 login: \n", "web1"),
        ("web1 login: [  790.371036] sysrq: Trigger a crash\n", "web1"),
        ("web1 login: <6>[  790.371036] usb 1-1: USB disconnect\n", "web1"),
        ("[2024-01-01 10:00:00] web1 login: \n", "web1"),
        (SYSTEMD.format(name="web1.example.com") + "web1 login: \n", "web1.example.com"),
        (SYSTEMD.format(name="installer") + "web1 login: \n", "web1"),
        ("localhost login: \n", ""),
        ("Last login: [  790.371036] sysrq: Trigger a crash\n", ""),
        ("Last login: Mon Jan  1 10:00:00 from 10.0.0.7\n", ""),
        ("web1 login: root\n", ""),
        ("[   12.000000] audit: web1 login: \n", ""),
        ("[   12.000000] web1 login: \n", ""),
    ],
)
def test_the_boot_names_its_host(said: str, host: str) -> None:
    (crash,) = parse(CRASH.format(said=said).encode())
    assert crash.hostname == host


def test_the_line_of_the_prompt_proves_the_name() -> None:
    (crash,) = parse(CRASH.format(said="web1 login: [  790.371036] sysrq: Trigger a crash\n").encode())
    assert [(fact.value, fact.lines[0].number) for fact in crash.facts if fact.kind == "host name"] == [
        ("web1", 2)
    ]


def test_a_machine_without_a_name_yet_is_no_host() -> None:
    stamped = "".join(
        f"Jan  1 10:00:00 localhost kernel: {line}\n" for line in CRASH.format(said="").splitlines()
    )
    (crash,) = parse(stamped.encode())
    assert crash.host == ""


def test_the_prompts_of_two_boots_are_kept_apart() -> None:
    first = CRASH.format(said="web1 login: \n")
    second = CRASH.format(said="web2 login: \n")
    assert [crash.hostname for crash in parse((first + second).encode())] == ["web1", "web2"]
