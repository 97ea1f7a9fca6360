"""Reports that lost their first line: the second one is known as well.

A console that shares its line with a login prompt, a ring buffer that wrapped, a datagram that went
missing: the
header is gone, and what follows it still says what it was.
"""

from __future__ import annotations

from kpanic.grammars.family import Family, Form, head

HEADLESS = Family(
    name="headless",
    literals=(
        "the code is fine but needs lockdep annotation",
        "caller is ",
        " ticks this GP) idle=",
        "(detected by ",
    ),
    last=True,
    forms=(
        Form(
            head(r"the code is fine but needs lockdep annotation[^\n]*"),
            title="INFO: trying to register non-static key in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("stack|lock|IRQ", "locks for others"),),
        ),
        Form(
            head(r"caller is \w*(?:this_cpu|smp_processor_id)\w*\+0x[^\n]*\n(?=CPU: )"),
            title="BUG: using smp_processor_id() in preemptible code in {function}",
            kind="lockdep",
            cause="lock-misuse",
            skip=(("dump|preempt|smp_processor_id|this_cpu", "checks for others"),),
        ),
        Form(
            head(r"(?: ticks this GP\) idle=|\(detected by \d+, t=\d+ jiffies)[^\n]*"),
            title="INFO: rcu detected stall in {function}",
            kind="stall",
            cause="rcu-stall",
            walk="stall",
        ),
    ),
)
