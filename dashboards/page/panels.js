// The kinds of panels: numbers, bars, charts over time, heat maps, tables, lists of incidents.

function card(panel, rows, ...children) {
  return h("section", { class: `card ${panel.form} span-${panel.width}`, id: `panel-${panel.id}`, "aria-labelledby": `head-${panel.id}`, style: { "--span": panel.width } },
    panel.form === "number" ? null : h("header", {},
      h("h2", { id: `head-${panel.id}` }, titled(panel)), h("p", {}, panel.question)),
    ...children);
}
const empty = (text = "Nothing matches these filters.") => h("p", { class: "empty" }, text);
const active = (name, word) => (state.is[name] ?? []).includes(word);

const FOLD = 12; // rows of a folded table
const NEWEST = 8; // incidents of a folded list
const unfolded = new Set();
const forms = {
  number(panel, rows) {
    const [metric] = panel.metrics;
    const all = answered(panel);
    const found = all ? all[0].values[0] : rows.length || metric.kind === "distinct" ? single(metric, rows) : undefined;
    const text = found === undefined ? "–" : isDate(metric) ? minute(found) : number(found);
    return card(panel, rows,
      h("h2", { id: `head-${panel.id}`, title: panel.question }, titled(panel)),
      h("p", { class: isDate(metric) ? "figure date" : "figure", "data-value": found ?? "" }, text),
      h("p", { class: "note" }, ...[note(panel, found) ?? panel.question].flat()));
  },
  bars(panel, rows) {
    const all = answered(panel);
    const found = all ?? group(panel.by, rows, distinct("event.id"));
    const shown = found.slice(0, panel.size);
    const most = Math.max(1, ...shown.map(({ n }) => n));
    const total = incidents(rows);
    const having = single({ kind: "distinct", field: "event.id" }, rows.filter(tester(panel.by, (word) => word.length > 0)));
    const colour = panel.by === CAUSE ? scale(CAUSE).of : null;
    const rest = all ? "" : [
      found.length > shown.length && `${plural(found.length - shown.length, "other")}`,
      total > having && `${number(total - having)} without a value`,
    ].filter(Boolean).join(" · ");
    return card(panel, rows, shown.length
      ? h("ol", { class: "bars" }, shown.map(({ key, n }) =>
        h("li", {}, h("button", {
          type: "button", "aria-pressed": String(active(panel.by, key)), title: spoken(panel.by, key), "data-key": key, "data-value": n,
          style: { "--part": `${(100 * n) / most}%`, ...(colour && { "--tone": colour(key) }) },
          onclick: () => toggle(panel.by, key),
        }, middle(spoken(panel.by, key), mono(panel.by)), h("span", { class: "n" }, number(n))))))
      : empty(rows.length ? "No report has a value." : undefined), shown.length > 0 && rest && h("p", { class: "rest" }, rest));
  },
  histogram(panel, rows) {
    if (!rows.length) return card(panel, rows, empty());
    const all = answered(panel);
    const [low, high] = all?.length ? [all[0].key, all.at(-1).key + DAY] : extent(rows);
    const [width, step] = interval(high - low, all && DAY);
    const domain = [Math.floor(low / width) * width, (Math.floor(high / width) + 1) * width];
    const { top, of } = scale(panel.split);
    const buckets = new Map();
    const tests = distinct("event.id");
    const metric = panel.rate ? panel.title : named(panel.metrics[0]);
    const { codes, entries } = columns[panel.split] ?? { codes: allRows, entries: [] };
    const round = panel.rate ? (n) => Number(((1000 * DAY * n) / model.fleet / width).toPrecision(3)) : (n) => n;
    const nameOf = (word) => (!panel.split || top.includes(word) || word === "not known" ? word : "other");
    for (const { key: t, split, n } of all ?? []) {
      const at = Math.floor(t / width) * width;
      const name = nameOf(split || metric);
      const key = `${at} ${name}`;
      const before = buckets.get(key)?.counter.get() ?? 0;
      buckets.set(key, { t: at, u: at + width, word: name, counter: { get: () => before + n } });
    }
    for (const row of all ? [] : rows) {
      const at = Math.floor(time[row] / width) * width;
      for (const word of !panel.split ? [metric] : entries[codes[row]].length ? entries[codes[row]] : ["not known"]) {
        const name = nameOf(word);
        const key = `${at} ${name}`;
        if (!buckets.has(key)) buckets.set(key, { t: at, u: at + width, word: name, counter: tests() });
        buckets.get(key).counter.add(row);
      }
    }
    const data = [...buckets.values()].map(({ t, u, word, counter }) => ({ t, u, word: clean(word), n: round(counter.get()), from: minute(t) }));
    const used = [...(panel.split ? [...top, "other", "not known"] : [metric])].filter((word) => data.some((d) => d.word === clean(word)));
    const born = new Map();
    if (panel.split === CAUSE) {
      const first = all ? Object.values(model.answers.firsts).filter((one) => one.fatal)
        : [...rows].filter((row) => firstRows.has(row)).map((row) => ({ at: time[row], title: value(TITLE, row) }));
      for (const one of first) {
        const at = Math.floor(one.at / width) * width;
        born.set(at, [...(born.get(at) ?? []), clean(one.title || "?")]);
      }
    }
    const fresh = [...born].map(([t, titles]) => ({
      t: t + width / 2, new: titles.length, titles: titles.slice(0, 5).join("; ") + (titles.length > 5 ? " …" : ""),
    }));
    const chart = h("div", { class: "chart", "data-chart": panel.id });
    charts.push({ chart, spec: () => histogramSpec({ data, fresh, used, of, metric, label: `${titled(panel)}, a bar each ${step}`, height: panel.rate ? 110 : 210, domain }), click: (d) => {
      if (d.u) go({ from: stamp(d.t).slice(0, 16), to: stamp(d.u).slice(0, 16) });
    } });
    return card(panel, rows,
      panel.split && h("ul", { class: "legend", "aria-label": "Colours" }, used.map((word) => h("li", { style: { "--tone": of(word) } }, clean(word))),
        fresh.length ? h("li", { class: "fresh" }, "new signature") : null),
      chart,
      h("details", { class: "astable" }, h("summary", {}, `As a table, a row each ${step}`), () => null,
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titled(panel)} as a table` }, matrix("Time, UTC", data.map((d) => ({ row: d.from, column: d.word, n: d.n })), used.map(clean)))));
  },
  heatmap(panel, rows) {
    const all = answered(panel);
    const kernels = (all ? [...new Set(all.map(({ key }) => key))]
      : group(panel.by, rows, distinct("event.id")).slice(0, panel.size).map(({ key }) => key)).sort(versions);
    const titles = (answered({ id: `${panel.id}-lines` }) ?? group(panel.split, rows, distinct("event.id")))
      .slice(0, panel.size).map(({ key }) => key);
    if (!kernels.length || !titles.length) return card(panel, rows, empty());
    const cells = new Map();
    const make = distinct("event.id");
    for (const { key: k, split: t, n } of all ?? []) {
      if (titles.includes(t)) cells.set(JSON.stringify([k, t]), { k, t, counter: { get: () => n } });
    }
    for (const row of all ? [] : rows) {
      const k = value(panel.by, row);
      const t = value(panel.split, row);
      if (!kernels.includes(k) || !titles.includes(t)) continue;
      const key = JSON.stringify([k, t]);
      if (!cells.has(key)) cells.set(key, { k, t, counter: make() });
      cells.get(key).counter.add(row);
    }
    const data = [...cells.values()].map(({ k, t, counter }) => ({ k, t, kernel: clean(k), title: clean(t), n: counter.get() }));
    if (innerWidth < 700) return card(panel, rows, heatList(panel, data, kernels, titles));
    const chart = h("div", { class: "chart", "data-chart": panel.id });
    charts.push({ chart, spec: () => heatSpec({ data, kernels: kernels.map(clean), titles: titles.map(clean), metric: named(panel.metrics[0]), label: titled(panel) }), click: (d) => {
      if (d.k) go({ is: { ...state.is, [panel.by]: [d.k], [panel.split]: [d.t] } });
    } });
    return card(panel, rows, chart, h("details", { class: "astable" }, h("summary", {}, "As a table"),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titled(panel)} as a table` }, matrix("Fault", data.map((d) => ({ row: d.title, column: d.kernel, n: d.n })), kernels.map(clean)))));
  },
  table(panel, rows) {
    const all = answered(panel);
    const found = all ?? table(panel, rows);
    if (!found.length) return card(panel, rows, empty());
    const whole = found.slice(0, panel.size);
    const shown = unfolded.has(panel.id) ? whole : whole.slice(0, FOLD);
    const signatures = panel.by === SIGNATURE;
    const position = (name) => panel.metrics.findIndex((metric) => metric.field === name);
    const plain = panel.metrics.map((metric, i) => ({ metric, i }))
      .filter(({ metric, i }) => metric.kind !== "newest" || (!signatures && shown.some((row) => row.values[i])));
    const most = Math.max(1, ...shown.map((row) => Number(row.values[0])));
    const head = h("tr", {}, h("th", { scope: "col" }, panel.label),
      plain.map(({ metric }) => h("th", { scope: "col", class: isDate(metric) ? "when" : metric.kind === "newest" ? null : "n" }, named(metric))));
    const body = shown.flatMap((row, line) => {
      const cells = plain.map(({ metric, i }) => {
        const v = row.values[i];
        if (isDate(metric)) return h("td", { class: "when", "data-label": named(metric) }, v === undefined ? "–" : when(v, panel.width < 30 && plain.filter((one) => isDate(one.metric)).length > 1 ? day : minute));
        if (metric.kind === "newest") return h("td", { "data-label": named(metric) }, v === undefined ? "–" : clean(v));
        return h("td", { class: "n", "data-label": named(metric), "data-value": v, ...(i === 0 && { style: { "--part": `${(100 * v) / most}%` } }) }, i === 0 ? h("span", { class: "meter" }, number(v)) : number(v));
      });
      if (!signatures) {
        const button = h("button", { type: "button", class: `link ${mono(panel.by)}`, "aria-pressed": String(active(panel.by, row.key)), onclick: () => toggle(panel.by, row.key) }, middle(clean(row.key)));
        return [h("tr", { "data-key": row.key }, h("th", { scope: "row" }, button), cells)];
      }
      const title = row.values[position(TITLE)];
      const cause = row.values[position(CAUSE)];
      const triage = row.values[position(TRIAGE)];
      const id = `open-${panel.id}-${line}`;
      const inside = h("tr", { class: "inside", id, hidden: true });
      const opener = opening(clean(title ?? row.key), inside, plain.length + 1, () => example(row.key));
      return [h("tr", { "data-key": row.key }, h("th", { scope: "row" }, opener,
        h("div", { class: "under" },
          cause && h("span", { class: "tag", style: { "--tone": scale(CAUSE).of(cause) } }, clean(cause)),
          triage && h("span", { class: `tag ${triage === "regressed" ? "bad" : "known"}` }, clean(triage)),
          h("a", { class: "mono", href: address({ ...state, about: row.key }) }, clean(row.key)))), cells), inside];
    });
    return card(panel, rows, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titled(panel)}, the rows` },
      h("table", { class: "stacking" }, h("thead", {}, head), h("tbody", {}, body))),
    whole.length > FOLD && h("p", { class: "rest" }, folding(panel, whole.length - FOLD)),
    found.length > panel.size && (unfolded.has(panel.id) || whole.length <= FOLD) && h("p", { class: "rest" }, `${plural(found.length - panel.size, "other")} not shown`));
  },
  documents(panel, rows) {
    const seen = new Set();
    const newest = [];
    for (let i = rows.length - 1; i >= 0 && newest.length < panel.size; i--) {
      if (!seen.has(incident[rows[i]])) newest.push(rows[i]);
      seen.add(incident[rows[i]]);
    }
    if (!newest.length) return card(panel, rows, empty());
    const total = answered(panels.get("panics"))?.[0].n ?? incidents(rows);
    const shown = unfolded.has(panel.id) ? newest : newest.slice(0, NEWEST);
    const heads = ["What", "Host", "Kernel", "Time, UTC"];
    const body = shown.flatMap((row, line) => {
      const id = `open-${panel.id}-${line}`;
      const inside = h("tr", { class: "inside", id, hidden: true });
      const own = words.incidents[incident[row]];
      const cause = value(CAUSE, row);
      const opener = opening(clean(value(TITLE, row) ?? "not understood"), inside, heads.length, () => example(value(SIGNATURE, row) ?? own, own));
      return [h("tr", { "data-key": own ?? line }, h("th", { scope: "row" }, opener, cause && h("div", { class: "under" }, h("span", { class: "tag", style: { "--tone": scale(CAUSE).of(cause) } }, clean(cause)))),
        h("td", { "data-label": heads[1] }, middle(clean(value("host.name", row) ?? "not known"), "mono")),
        h("td", { "data-label": heads[2] }, middle(clean(value(KERNEL, row) ?? "not known"), "mono")),
        h("td", { class: "when", "data-label": heads[3] }, when(time[row]))), inside];
    });
    return card(panel, rows,
      h("table", { class: "stacking" }, h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { scope: "col", class: i === 3 ? "when" : null }, head)))), h("tbody", {}, body)),
      newest.length > NEWEST && h("p", { class: "rest" }, folding(panel, newest.length - NEWEST)),
      total > newest.length && unfolded.has(panel.id) && h("p", { class: "rest" }, `the newest ${number(newest.length)} of ${number(total)}`));
  },
};

// A button that shows or hides the row below, which is built when it is first shown.
function opening(label, inside, columns, fill) {
  const opener = h("button", {
    type: "button", class: "opener", "aria-expanded": "false", "aria-controls": inside.id,
    onclick: () => {
      const open = opener.getAttribute("aria-expanded") === "true";
      opener.setAttribute("aria-expanded", String(!open));
      inside.hidden = open;
      if (!open && !inside.firstChild) inside.append(h("td", { colspan: columns }, fill()));
    },
  }, label);
  return opener;
}
// A button that unfolds or folds a table.
function folding(panel, more) {
  return h("button", { type: "button", class: "link", onclick: () => {
    unfolded[unfolded.has(panel.id) ? "delete" : "add"](panel.id);
    draw();
    document.querySelector(`#panel-${panel.id} .rest button`)?.focus({ preventScroll: unfolded.has(panel.id) });
  } }, unfolded.has(panel.id) ? "Show less" : `Show ${more} more`);
}
// A heat map on a narrow screen: each fault with its kernels.
function heatList(panel, data, kernels, titles) {
  const most = Math.max(...data.map((d) => d.n));
  return h("ol", { class: "heat" }, titles.map((title) => h("li", {}, h("p", {}, clean(title)),
    h("p", {}, kernels.flatMap((kernel) => data.filter((d) => d.t === title && d.k === kernel)).map((d) =>
      h("button", { type: "button", class: "tag", style: { "--heat": `${Math.round(100 * Math.sqrt(d.n / most))}%` }, onclick: () => go({ is: { ...state.is, [panel.by]: [d.k], [panel.split]: [d.t] } }) },
        middle(d.kernel, "mono"), h("b", {}, number(d.n))))))));
}

function note(panel, found) {
  if (panel.id === "panics" && model.fleet && newest > oldest) {
    const [from, to] = range();
    const days = Math.max(1, ((to ?? (state.last ? MADE : newest)) - (from ?? model.answers?.all[2] ?? oldest)) / DAY);
    return `${((found / model.fleet / days) * 1000).toPrecision(2)} per 1,000 hosts a day`;
  }
  if (panel.id === "unparsed" && count) {
    const [all] = extremes(current);
    const share = all && `${((100 * found) / all).toFixed(found && found * 1000 < all ? 2 : 1).replace(/\.0$/, "")} % of ${plural(all, "report")}`;
    const them = address({ ...state, all: true, not: { ...state.not, [PARSED]: ["complete"] } });
    return all ? [share, ...(found ? [" · ", h("a", { href: them }, "show them")] : [])] : null;
  }
  if (panel.id === "new") return range()[0] ? "first seen in this time" : `first seen since ${count ? day(model.answers?.all[2] ?? oldest) : "–"}`;
  return null;
}
function versions(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}
function matrix(label, cells, columnsOf) {
  const lines = new Map();
  for (const { row, column, n } of cells) lines.set(row, (lines.get(row) ?? new Map()).set(column, n));
  const keys = label.startsWith("Time") ? [...lines.keys()].sort() : [...lines.keys()];
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, label), columnsOf.map((c) => h("th", { scope: "col", class: "n" }, c)))),
    h("tbody", {}, keys.map((key) => h("tr", {}, h("th", { scope: "row" }, key), columnsOf.map((c) => h("td", { class: "n" }, lines.get(key).has(c) ? number(lines.get(key).get(c)) : ""))))));
}
