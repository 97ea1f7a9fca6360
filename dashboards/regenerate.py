"""Write the committed artefacts again: ``python -m kpanic.dashboards.regenerate``.

A test compares them with the model byte by byte.
"""

from __future__ import annotations

from pathlib import Path

from kpanic.dashboards.export import EXPORTS
from kpanic.dashboards.panels import of_stack
from kpanic.dashboards.products import grafana_dashboards, saved_objects
from kpanic.dashboards.products.grafana_queries import PLUGINS
from kpanic.dashboards.rules import Options

FOLDER = Path(__file__).parent / "artefacts"


def artefacts() -> dict[str, str]:
    """Return the text of each file by its name; needs Grafana's SDK."""
    made = {"kernel-panics.ndjson": saved_objects.ndjson()}
    for engine in PLUGINS:
        for dashboard in of_stack(None):
            made[f"grafana-{engine}-{dashboard.id}.json"] = grafana_dashboards.render(dashboard, engine)
    endings = {"elastalert2": "yaml", "grafana": "json"}
    for product, render in EXPORTS["alert"].items():
        made[f"alerts-{product}.{endings.get(product, 'ndjson')}"] = render(Options())
    return made


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in artefacts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
