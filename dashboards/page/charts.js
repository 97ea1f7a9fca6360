// Vega-Lite charts, drawn after everything else.

let charts = [];
let views = [];
const ink = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(name).trim();
};
function base(label) {
  const of = ink();
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: label,
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    background: null,
    padding: { left: 0, right: 4, top: 4, bottom: 6 },
    usermeta: { embedOptions: { ast: true, actions: false } },
    config: {
      font: of("--sans"),
      view: { stroke: null },
      axis: {
        labelColor: of("--soft"), titleColor: of("--soft"), gridColor: of("--line"), domainColor: of("--line"), tickColor: of("--line"),
        labelFontSize: 12, labelFont: of("--sans"), titleFont: of("--sans"), domain: false, ticks: false, labelPadding: 8,
      },
    },
  };
}
function histogramSpec({ data, fresh, used, of, metric, label, height, domain }) {
  const heights = new Map();
  const level = new Map(used.map((word, i) => [clean(word), i]));
  const stacked = [...data].sort((a, b) => level.get(a.word) - level.get(b.word)).map((d) => {
    const low = heights.get(d.t) ?? 0;
    heights.set(d.t, low + d.n);
    return { ...d, low, high: low + d.n };
  });
  const highest = Math.max(0, ...heights.values());
  const whole = data.every(({ n }) => Number.isInteger(n));
  const most = whole ? Math.max(1, highest) : highest;
  const x = { field: "t", type: "temporal", scale: { type: "utc", nice: false }, axis: { title: null, grid: false, labelOverlap: true, ...axisTicks(...domain) } };
  return {
    ...base(label),
    height,
    layer: [
      {
        data: { values: stacked },
        mark: { type: "rect", cursor: "pointer", cornerRadius: 1, stroke: ink()("--card"), strokeWidth: 0.8 },
        encoding: {
          x,
          x2: { field: "u" },
          y: { field: "low", type: "quantitative", axis: { title: null, tickCount: whole ? Math.min(4, most) : 3, format: whole ? "~s" : "~g", ...(whole && { tickMinStep: 1 }) }, scale: { domain: [0, fresh.length ? most * 1.12 : most], nice: false } },
          y2: { field: "high" },
          color: { field: "word", type: "nominal", scale: { domain: used.map(clean), range: used.map(of) }, legend: null },
          tooltip: [{ field: "from", title: "From, UTC" }, { field: "word", title: "What" }, { field: "n", title: metric }],
        },
      },
      // Invisible marks at the ends of the selected time, so that the axis spans it.
      { data: { values: domain.map((t) => ({ t })) }, mark: { type: "tick", opacity: 0, aria: false }, encoding: { x } },
      ...(fresh.length ? [{
        data: { values: fresh },
        mark: { type: "point", shape: "triangle-down", filled: true, size: 46, color: ink()("--accent"), opacity: 1, yOffset: 2 },
        encoding: {
          x, y: { value: 4 },
          tooltip: [{ field: "new", title: "New signatures" }, { field: "titles", title: "First seen" }],
        },
      }] : []),
    ],
  };
}
// Cuts a label in its middle, because names often differ only at their ends.
const shortened = (most) => `length(datum.label) <= ${most} ? datum.label : slice(datum.label, 0, ${Math.ceil(most / 2)}) + '…' + slice(datum.label, -${Math.floor(most / 2)})`;
function heatSpec({ data, kernels, titles, metric, label }) {
  const of = ink();
  const most = Math.max(...data.map((d) => d.n));
  const narrow = innerWidth < 700;
  const leaning = kernels.length > 4 || narrow;
  const room = leaning ? Math.min(180, 6.7 * kernels.at(-1).length) * Math.cos((35 * Math.PI) / 180) : 0; // room for the last label
  return {
    ...base(label),
    padding: { left: 0, right: Math.max(4, room - 20), top: 4, bottom: 6 },
    height: titles.length * 26,
    data: { values: data },
    encoding: {
      x: { field: "kernel", type: "ordinal", sort: kernels, axis: { title: null, orient: "top", labelAngle: leaning ? -35 : 0, labelLimit: 200, labelExpr: shortened(26), labelFont: of("--code"), labelFontSize: 11, labelOverlap: false } },
      y: { field: "title", type: "ordinal", sort: titles, axis: { title: null, labelLimit: 460, labelExpr: shortened(narrow ? 18 : 56) } },
      tooltip: [{ field: "title", title: "Fault" }, { field: "kernel", title: "Kernel" }, { field: "n", title: metric }],
    },
    layer: [
      { mark: { type: "rect", cursor: "pointer", cornerRadius: 3, stroke: of("--card"), strokeWidth: 2 },
        encoding: { color: { field: "n", type: "quantitative", scale: { type: "sqrt", domain: [0, most], range: [of("--heat-0"), of("--heat-1")] }, legend: null } } },
      { mark: { type: "text", fontSize: 11, fontWeight: 600, cursor: "pointer" },
        encoding: { text: { field: "n", type: "quantitative", format: ",d" }, color: { condition: { test: `datum.n > ${most * 0.3}`, value: of("--heat-ink-1") }, value: of("--heat-ink-0") } } },
    ],
  };
}
// The time range of a chart, at least a day: the selected one, otherwise that of the rows.
function extent(rows) {
  let [low, high] = range();
  const [, , first, final] = extremes(rows);
  low ??= first;
  high ??= Math.max(final, state.last ? MADE : final);
  const missing = state.from && state.to ? 0 : DAY - (high - low);
  return missing > 0 ? [low - missing / 2, high + missing / 2] : [low, high];
}
// The width of a bar in milliseconds, and its name.
function interval(span, least = 0) {
  const steps = [[60000, "minute"], [600000, "10 minutes"], [3600000, "hour"], [3 * 3600000, "3 hours"], [DAY / 2, "12 hours"], [DAY, "day"], [7 * DAY, "week"], [28 * DAY, "4 weeks"], [364 * DAY, "year"]];
  return steps.find(([width]) => width >= least && span / width <= 72) ?? steps.at(-1);
}
// Vega's interpreter, which generates no code, accepts a time on an axis only as separate parts.
function axisTicks(low, high) {
  const { values, labelExpr } = ticks(low, high);
  const parts = (at) => ({ utc: true, year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, date: at.getUTCDate(), hours: at.getUTCHours(), minutes: at.getUTCMinutes() });
  return { values: values.map((ms) => parts(new Date(ms))), labelExpr };
}
// The labelled times of an axis: the beginnings of hours, days, months or years.
function ticks(low, high) {
  const most = innerWidth < 700 ? 4 : 9;
  for (const step of [600000, 3600000, 3 * 3600000, 6 * 3600000, 12 * 3600000, DAY, 2 * DAY, 7 * DAY, 14 * DAY]) {
    const first = Math.ceil(low / step) * step;
    const n = Math.floor((high - first) / step) + 1;
    if (n <= most) {
      const midnight = "utchours(datum.value) === 0 && utcminutes(datum.value) === 0";
      const named = "utcFormat(datum.value, '%b %-d')";
      return { values: Array.from({ length: Math.max(n, 0) }, (_, i) => first + i * step), labelExpr: step < DAY ? `${midnight} ? ${named} : utcFormat(datum.value, '%H:%M')` : named };
    }
  }
  for (const step of [1, 2, 3, 6, 12, 24, 60, 120]) {
    const values = [];
    const start = new Date(low);
    const begin = Date.UTC(start.getUTCFullYear(), 0);
    for (let i = 0; ; i += step) {
      const at = Date.UTC(new Date(begin).getUTCFullYear(), i);
      if (at > high || values.length > most) break;
      if (at >= low) values.push(at);
    }
    if (values.length <= most) return { values, labelExpr: step < 12 ? "utcFormat(datum.value, '%b %Y')" : "utcFormat(datum.value, '%Y')" };
  }
  return { values: [], labelExpr: "''" };
}
let turn = 0;
async function paint() {
  const mine = ++turn;
  document.documentElement.dataset.turn = String(turn);
  for (const view of views.splice(0)) view.finalize();
  for (const { chart, spec, click } of charts) {
    // eslint-disable-next-line no-await-in-loop
    const { view } = await vegaEmbed(chart, spec(), { ast: true, actions: false, renderer: "svg", tooltip: { theme: theme() } });
    if (mine !== turn) return view.finalize();
    view.addEventListener("click", (_, item) => item?.datum && click(item.datum));
    views.push(view);
  }
  document.documentElement.dataset.painted = String(turn);
  performance.mark("painted");
  return undefined;
}
