"""Dashboards, alert rules and index templates for the documents of crashes.

Panels and rules are written once, as data; each product has a file in :mod:`kpanic.dashboards.products`.
Nothing here imports the grammar or the shipper::

    panels ─► query (the aggregation of an engine)     rules ─► products (alerts)
           ─► embedded (the same over documents)
           ─► report (HTML) · products (dashboards)
"""

from __future__ import annotations

from kpanic.dashboards.crashes import Crashes, gather
from kpanic.dashboards.export import export
from kpanic.dashboards.report import NAMES as REPORTED
from kpanic.dashboards.report import NoVega, render_report
from kpanic.dashboards.summary import NAMES as SUMMARISED
from kpanic.dashboards.summary import summarise

__all__ = ["REPORTED", "SUMMARISED", "Crashes", "NoVega", "export", "gather", "render_report", "summarise"]
