"""What documents look like inside an engine and on a screen.

Panels are written once, as data; each renderer is one file. Nothing here knows of inputs, outputs
or the grammar::

    panels ─► query (an engine's aggregation)      alerts ─► Kibana, OpenSearch, ElastAlert2, …
           ─► embedded (the same over documents)
           ─► report (HTML) · saved_objects (OpenSearch Dashboards, Kibana) · grafana
"""

from __future__ import annotations

from kpanic.dashboards.export import export
from kpanic.dashboards.report import NAMES as REPORTED
from kpanic.dashboards.report import render_report
from kpanic.dashboards.summary import NAMES as SUMMARISED
from kpanic.dashboards.summary import summarise

__all__ = ["REPORTED", "SUMMARISED", "export", "render_report", "summarise"]
