"""A recursion in a trace is described by one round and its end."""

from __future__ import annotations

import time

import pytest

from kpanic.shipper.vmcore.recursion import Run, runs


@pytest.mark.parametrize(
    ("trace", "found"),
    [
        ("", []),
        ("abc", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),
        ("aab", [(0, 1, 1), (1, 1, 1), (2, 1, 1)]),  # twice is no recursion
        ("xaaaay", [(0, 1, 1), (1, 1, 4), (5, 1, 1)]),
        ("abababc", [(0, 2, 3), (6, 1, 1)]),
        ("babababc", [(0, 2, 3), (6, 1, 1), (7, 1, 1)]),
        ("xaabaabaaby", [(0, 1, 1), (1, 3, 3), (10, 1, 1)]),
        ("aaabbb", [(0, 1, 3), (3, 1, 3)]),
    ],
)
def test_frames_that_repeat_are_a_run(trace: str, found: list[tuple[int, int, int]]) -> None:
    assert list(runs(list(trace))) == [Run(*one) for one in found]


def test_a_deep_trace_takes_no_time() -> None:
    started = time.process_time()
    list(runs(["ab"[number % 2] for number in range(100_000)]))
    list(runs([str(number) for number in range(10_000)]))
    assert time.process_time() - started < 5
