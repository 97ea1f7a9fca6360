from __future__ import annotations

import json

import pytest

from tests.shipper import golden


@pytest.mark.parametrize("log", golden.LOGS)
def test_the_document_of_a_real_crash_is_as_written_down(log: str) -> None:
    assert golden.documents(log) == json.loads(golden.file(log).read_text(encoding="utf-8"))
