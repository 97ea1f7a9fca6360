"""The state of a slab object, depending on the kernel's types."""

from __future__ import annotations

import drgn
import pytest

from kpanic.shipper.vmcore.questions.objects import keeps_freed


@pytest.mark.parametrize(("members", "kept"), [(("name", "kasan_info"), True), (("name",), False)])
def test_objects_in_kasan_s_quarantine_have_an_unknown_state(members: tuple[str, ...], *, kept: bool) -> None:
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    word = program.int_type("long", 8, is_signed=True)
    layout = tuple(drgn.TypeMember(word, name, 64 * place) for place, name in enumerate(members))
    cache = program.pointer_type(program.struct_type("kmem_cache", 64, layout))
    assert keeps_freed(drgn.Object(program, cache, value=0)) is kept
