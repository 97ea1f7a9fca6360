"""Linux kernel panics as structured documents.

This package has the names that other programs need; everything else is in :mod:`kpanic.grammars` (text in,
reports out),
:mod:`kpanic.shipper` (inputs, store, outputs) and :mod:`kpanic.dashboards`.

>>> import kpanic
>>> log = b'''[   43.1] BUG: kernel NULL pointer dereference, address: 0000000000000000
... [   43.1] #PF: supervisor write access in kernel mode
... [   43.1] Oops: 0002 [#1] SMP
... [   43.1] CPU: 0 PID: 812 Comm: bash Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1
... [   43.1] RIP: 0010:sysrq_handle_crash+0x16/0x20
... [   43.1] Call Trace:
... [   43.1]  __handle_sysrq.cold+0x45/0x12c
... [   43.1]  write_sysrq_trigger+0x24/0x40
... [   43.1] ---[ end trace 0000000000000000 ]---
... '''
>>> [report] = kpanic.parse(log)
>>> report.title, report.cause, report.blame.function
('BUG: unable to handle kernel NULL pointer dereference in sysrq_handle_crash', 'sysrq', 'sysrq_handle_crash')
>>> kpanic.document(report)["process"]["name"]
'bash'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpanic.grammars import CrashReport, parse
    from kpanic.shipper.document import build as document

__all__ = ["CrashReport", "__version__", "document", "parse"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the names above have their types
    """Import a public name when it is first used: the grammar takes a while to build."""
    if name in {"CrashReport", "parse"}:
        from kpanic import grammars  # noqa: PLC0415

        value = getattr(grammars, name)
    elif name == "document":
        from kpanic.shipper.document import build as value  # noqa: PLC0415
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
