"""``python -m tests.shipper.pipelines``: rewrites the golden configurations, for review."""

from pathlib import Path

from kpanic.shipper.pipelines import Engine, pipeline, products

for form in products():
    path = Path(__file__).with_name(f"{form}.golden")
    path.write_text(pipeline(form, Engine()), encoding="utf-8")
