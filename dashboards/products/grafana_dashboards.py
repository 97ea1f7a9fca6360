"""The dashboards for Grafana, as JSON that its import takes.

They are built with Grafana's own types (``grafana-foundation-sdk``). Only this renderer needs that package:
the results are kept in ``artefacts/``, so that users do not install it. The data source is a variable: one
for the crashes (index ``logs-kernel.panic-*``), one for the signatures (``kernel-panic-signatures``), because
a data source of either product is bound to its index.
"""

from __future__ import annotations

from typing import Any, Self

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeNamePlacement,
    DataSourceRef,
    GraphDrawStyle,
    LegendDisplayMode,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    VariableOption,
)

from kpanic.dashboards.panels import (
    INDEX,
    NEWBORN,
    SIGNATURE,
    TIME,
    Dashboard,
    Panel,
    Source,
    flow,
    of_stack,
)
from kpanic.dashboards.products.grafana_queries import PLUGINS, Product, target
from kpanic.dashboards.query import lucene

__all__ = ["render"]

Json = dict[str, Any]

_FLEET = 1_000
"""Fleet size for the rate until a reader sets the variable at the top."""
_SOURCES: dict[Source, str] = {"panics": "Crashes", "signatures": "Signatures", "days": "Days"}
_HALF = 2  # 48 columns and rows of 20 pixels are 24 columns and rows of about 38 in Grafana


def render(of: Dashboard, product: Product) -> str:
    """Return one dashboard as JSON."""
    of = next(one for one in of_stack(_FLEET) if one.id == of.id)
    made = (
        dashboard.Dashboard(of.title)
        .uid(f"kpanic-{of.id}")
        .description(of.description)
        .tags(["kernel", "panic", "kpanic"])
        .editable()
        .timezone("browser")
        .time(f"now-{of.days}d", "now")
    )
    sources = {panel.source for panel in of.panels}
    for source, label in _SOURCES.items():
        if source in sources:
            made.with_variable(
                dashboard.DatasourceVariable(source)
                .label(f"{label} ({INDEX[source]})")
                .type(PLUGINS[product])
            )
    if any(panel.rate for panel in of.panels):
        hosts = VariableOption(text=str(_FLEET), value=str(_FLEET))
        made.with_variable(
            dashboard.TextBoxVariable("fleet")
            .label("Hosts in all")
            .default_value(str(_FLEET))
            .current(hosts)
            .options([hosts])
        )
    if of.about:
        made.with_variable(
            dashboard.QueryVariable("signature")
            .label("Signature")
            .datasource(_source("panics", product))
            .query('{"find": "terms", "field": "' + of.about + '"}')
        )
    if "panics" in sources:
        made.with_variable(
            dashboard.AdHocVariable("filters").label("Filters").datasource(_source("panics", product))
        )
    for panel, x, y in flow(of):
        place = GridPos(
            x=x // _HALF, y=y // _HALF, w=(x + panel.width) // _HALF - x // _HALF, h=panel.height // _HALF
        )
        made.with_panel(_panel(panel, of, product).grid_pos(place))
    if "signatures" in sources:
        made.annotation(_Target(_newborn(product)))  # type: ignore[arg-type] # the plugins' own JSON
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _source(name: str, product: Product) -> DataSourceRef:
    return DataSourceRef(type_val=PLUGINS[product], uid="${" + name + "}")


def _newborn(product: Product) -> Json:
    """Return the annotation that marks new signatures on charts over time."""
    words = {"query": lucene(NEWBORN), "timeField": TIME, "textField": "title", "tagsField": "cause"}
    return {
        "name": "New signatures",
        "enable": True,
        "iconColor": "red",
        "datasource": _source("signatures", product),
        "target": {"refId": "Anno"} | words,
    } | words


class _Target(variants.Dataquery, builder.Builder[variants.Dataquery]):
    """A query as JSON, because the SDK has no builder that fits both data sources."""

    def __init__(self, content: Json) -> None:
        self._content = content

    def build(self) -> Self:
        return self

    def to_json(self) -> dict[str, object]:
        return self._content


def _names(panel: Panel) -> dict[str, str]:
    """Return kpanic's column names by the plugins', which hold the field if two metrics are alike."""
    kinds = {"distinct": "Unique Count", "earliest": "Min", "latest": "Max", "sum": "Sum"}
    names = {}
    for metric in panel.metrics:
        if metric.kind == "newest":
            names[metric.field] = metric.label
            continue
        alone = sum(other.kind == metric.kind for other in panel.metrics) == 1
        names[kinds[metric.kind] if alone else f"{kinds[metric.kind]} {metric.field}"] = metric.label
    if panel.by:
        names[panel.by] = panel.label
    return names


def _panel(panel: Panel, of: Dashboard, product: Product) -> Any:  # noqa: ANN401 (no common builder type)
    made: Any = _FORMS[panel.form](panel)
    return (
        made.title(panel.title)
        .description(panel.question)
        .datasource(_source(panel.source, product))
        .with_target(_Target(target(panel, of, product)))
    )


def _number(panel: Panel) -> stat.Panel:
    made = stat.Panel().reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return made.unit("dateTimeAsIso") if panel.metrics[0].field == TIME else made


def _histogram(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel()
    if panel.rate:
        # A sum renames the one series, whatever the plugin calls it: "binary" takes a field by its name.
        steps: list[Json] = [
            {"mode": "reduceRow", "reduce": {"reducer": "sum"}, "alias": "panics"},
            {"mode": "binary", "binary": _binary("panics", "/", "${fleet}"), "alias": "a host"},
            {"mode": "binary", "binary": _binary("a host", "*", "1000"), "alias": panel.title},
        ]
        for step in steps:
            options = step | {"replaceFields": True}
            made.with_transformation(DataTransformerConfig(id_val="calculateField", options=options))
    return (
        made.draw_style(GraphDrawStyle.BARS)
        .fill_opacity(80)
        .line_width(0)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        .legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(show_legend=True))
    )


def _binary(left: str, operator: str, right: str) -> Json:
    return {"left": left, "operator": operator, "right": right}


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .name_placement(BarGaugeNamePlacement.LEFT)
        .reduce_options(common.ReduceDataOptions().values(values=True).limit(panel.size))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("blue"))
    )


def _table(panel: Panel) -> table.Panel:
    made = table.Panel().with_transformation(
        DataTransformerConfig(id_val="organize", options={"renameByName": _names(panel)})
    )
    for metric in panel.metrics:
        if metric.kind in {"earliest", "latest"}:
            made.override_by_name(metric.label, [DynamicConfigValue("unit", "dateTimeAsIso")])
    if panel.by in {SIGNATURE.about, "id"}:
        address = f"/d/kpanic-{SIGNATURE.id}?var-signature=${{__value.text}}"
        link = {"title": "Everything about this signature", "url": address}
        made.override_by_name(panel.label, [DynamicConfigValue("links", [link])])
    return made


def _heatmap(panel: Panel) -> table.Panel:
    options = {"rowField": panel.split, "columnField": panel.by, "valueField": "Unique Count"}
    return (
        table.Panel()
        .with_transformation(DataTransformerConfig(id_val="groupingToMatrix", options=options))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_YL_RD))
        .override_by_field_type(
            "number", [DynamicConfigValue("custom.cellOptions", {"type": "color-background"})]
        )
    )


def _documents(_: Panel) -> table.Panel:
    return table.Panel()


_FORMS = {
    "number": _number,
    "histogram": _histogram,
    "bars": _bars,
    "heatmap": _heatmap,
    "table": _table,
    "documents": _documents,
}
