"""Kernel crash text in, :class:`CrashReport` out.

The way of the data is one line::

    bytes ─► scan ─► lines ─► report ─► blame, cause, signature, analysis ─► CrashReport

Nothing here knows of hosts, files, JSON or networks.
"""
