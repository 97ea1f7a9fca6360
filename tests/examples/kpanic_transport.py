"""A transport: a console server that puts the host before each line, ``<<web-1>> text``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import structs

from kpanic.grammars.transport import LineReader, Row, Transport

if TYPE_CHECKING:
    from kpanic.grammars.model import Line

_LINE = re.compile(r"<<(?P<host>[\w.-]{1,253})>> (?P<text>.*)")


class _Reader(LineReader):
    def read(self, row: Row) -> list[Line] | None:
        match = _LINE.match(row.text)
        if match is None:
            return None
        lines = self.context.again(structs.replace(row, text=match["text"]))
        return [structs.replace(line, host=match["host"]) for line in lines]


CONSOLE_SERVER = Transport(
    name="console-server", reader=_Reader, order=30, starts="<", holds=rb"<<(?P<host>[\w.-]{1,253})>> "
)
