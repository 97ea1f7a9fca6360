"""An output that fails for a document: only this document is not delivered."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from kpanic.shipper.api import REASON, DeliveryStatus, Outcome, Settings, Unavailable
from kpanic.shipper.delivery import Delivery
from kpanic.shipper.store import Store
from tests.shipper.samples import packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kpanic.shipper.api import Stored


class Faulty:
    """An output that raises an exception for some documents.

    :param faults: what it raises, by a document's number.
    :param all_of_them: what it raises at each.
    """

    Config = Settings
    name = "faulty"

    def __init__(self, faults: dict[int, Exception], all_of_them: Exception | None = None) -> None:
        self.faults = faults
        self.all_of_them = all_of_them
        self.sent: list[int] = []

    def send(self, batch: Sequence[Stored]) -> list[Outcome]:
        for stored in batch:
            if fault := self.all_of_them or self.faults.get(stored.seq):
                raise fault
        self.sent += [stored.seq for stored in batch]
        return [Outcome(stored.id, DeliveryStatus.DELIVERED) for stored in batch]

    def check(self) -> str:
        return "faulty"

    def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "kpanic.db") as made:
        made.add([packed(number) for number in range(1, 9)])
        yield made


def delivered(store: Store, output: Faulty) -> Delivery:
    delivery = Delivery(store, output, attempts=1)
    delivery.finish()
    delivery.run()
    return delivery


def test_a_document_that_an_output_has_no_form_for_is_rejected_and_the_others_are_delivered(
    store: Store,
) -> None:
    faults = {1: struct.error("'I' format requires 0 <= number <= 4294967295"), 5: TypeError("no such form")}
    output = Faulty(faults)
    delivery = delivered(store, output)
    assert output.sent == [2, 3, 4, 6, 7, 8]
    assert delivery.trouble == ""
    assert [letter.reason for letter in store.dead_letters()] == [
        "error: 'I' format requires 0 <= number <= 4294967295",
        "TypeError: no such form",
    ]


def test_a_connection_that_fails_at_a_document_is_tried_again(store: Store) -> None:
    output = Faulty({5: ConnectionResetError("reset")})
    assert "reset" in delivered(store, output).trouble
    assert output.sent == [1, 2, 3, 4, 6, 7, 8]
    output.faults.clear()
    assert delivered(store, output).trouble == ""
    assert output.sent == [1, 2, 3, 4, 6, 7, 8, 5]
    assert list(store.dead_letters()) == []


@pytest.mark.parametrize("fault", [TypeError("of ours"), Unavailable("down")])
def test_an_output_that_fails_at_all_rejects_none(store: Store, fault: Exception) -> None:
    output = Faulty({}, fault)
    assert str(fault) in delivered(store, output).trouble
    assert list(store.dead_letters()) == []
    output.all_of_them = None
    delivered(store, output)
    assert output.sent == [1, 2, 3, 4, 5, 6, 7, 8]


def test_long_answers_of_a_receiver_are_cut(store: Store) -> None:
    output = Faulty({1: ValueError("x" * 5_000_000)})
    delivered(store, output)
    (letter,) = store.dead_letters()
    assert len(letter.reason) == REASON
