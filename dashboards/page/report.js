"use strict";
(async () => {
  // ---------------------------------------------------------------- data
  async function block(id) {
    const element = document.getElementById(id);
    const text = atob(element.textContent);
    element.remove();
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }
  const read = async (id) => JSON.parse(new TextDecoder().decode(await block(id)));
  performance.mark("start");
  const [model, words, numbers] = await Promise.all([read("model"), read("words"), block("numbers")]);

  const count = words.rows;
  const time = new Float64Array(numbers, 0, count);
  let at = 8 * count;
  const next = (length) => new Uint32Array(numbers, (at += 4 * length) - 4 * length, length);
  const incident = next(count);
  const own = words.names.slice(0, words.own).map(() => next(count));
  const profile = next(count);
  const columns = Object.create(null); // an address may ask for any name
  words.names.forEach((name, i) => {
    const entries = words.dictionaries[i]; // each a list of values: none, one or many
    const profiled = own[i] ? null : next(words.profiles);
    let codes = own[i];
    columns[name] = { entries, get codes() { return (codes ??= profile.map((row) => profiled[row])); } };
  });
  const TIME = "@timestamp";
  const SIGNATURE = "kernel.panic.signature.id";
  const TITLE = "kernel.panic.title";
  const FATAL = "kernel.panic.fatal";
  const CAUSE = "kernel.panic.cause";
  const TRIAGE = "kernel.panic.triage.status";
  const PARSED = "kernel.panic.parse.status";
  const KERNEL = "host.os.kernel";
  const [OVERVIEW, ABOUT] = model.dashboards;
  // A signature's document is made of its first crash; here that crash itself stands for it.
  const FIRST_CRASH = { id: SIGNATURE, title: TITLE, cause: CAUSE, fatal: FATAL };
  for (const panel of model.dashboards.flatMap((d) => d.panels).filter((p) => p.source === "signatures")) {
    panel.by = FIRST_CRASH[panel.by] ?? panel.by;
    for (const term of panel.where) term.field = FIRST_CRASH[term.field] ?? term.field;
    for (const metric of panel.metrics) metric.field = FIRST_CRASH[metric.field] ?? metric.field;
  }
  const panels = new Map(model.dashboards.flatMap((d) => d.panels.map((p) => [p.id, p])));
  const value = (name, row) => columns[name].entries[columns[name].codes[row]][0];

  // The values that a field has at all, the commonest first: filters offer them, colours follow them.
  const ranked = {};
  function values(name) {
    return (ranked[name] ??= group(name, allRows, distinct("event.id")).map(({ key, n }) => ({ key, n })));
  }
  const allRows = Uint32Array.from({ length: count }, (_, i) => i);
  let newest = -Infinity;
  let oldest = Infinity;
  for (let row = 0; row < count; row++) {
    newest = Math.max(newest, time[row]);
    oldest = Math.min(oldest, time[row]);
  }
  const firstRows = (() => {
    const first = new Map();
    const { codes } = columns[SIGNATURE];
    for (let row = 0; row < count; row++) {
      const code = codes[row];
      const before = first.get(code);
      if (code && (before === undefined || time[row] < time[before])) first.set(code, row);
    }
    return new Set(first.values());
  })();

  // ---------------------------------------------------------------- counting
  // A counter is made once a group and fed the group's rows in order. An incident's rows are neighbours,
  // so counting distinct incidents is to count the changes.
  function distinct(name) {
    if (name === "event.id") {
      return () => {
        let last = -1;
        let n = 0;
        return { add: (row) => incident[row] !== last && (last = incident[row], n++), get: () => n };
      };
    }
    const { codes, entries } = columns[name];
    return () => {
      const seen = new Set();
      return {
        add: (row) => seen.add(codes[row]),
        get: () => new Set([...seen].flatMap((code) => entries[code])).size,
      };
    };
  }
  function measure(metric) {
    if (metric.kind === "distinct") return distinct(metric.field);
    if (metric.kind === "newest") {
      return () => {
        let best = -1;
        return { add: (row) => (best < 0 || time[row] >= time[best]) && (best = row), get: () => (best < 0 ? undefined : value(metric.field, best)) };
      };
    }
    const better = metric.kind === "earliest" ? (a, b) => a < b : (a, b) => a > b;
    return () => {
      let best;
      return { add: (row) => (best === undefined || better(time[row], best)) && (best = time[row]), get: () => best };
    };
  }
  const order = (a, b) => b.n - a.n || (a.key < b.key ? -1 : 1);
  function group(name, rows, counter) {
    const { codes, entries } = columns[name];
    const of = entries.map(() => null);
    const byKey = new Map();
    for (const row of rows) {
      const code = codes[row];
      if (!of[code]) {
        of[code] = [...new Set(entries[code])].map((key) => {
          if (!byKey.has(key)) byKey.set(key, { key, counter: counter() });
          return byKey.get(key).counter;
        });
      }
      for (const one of of[code]) one.add(row);
    }
    return [...byKey.values()].map(({ key, counter: c }) => ({ key, n: c.get() })).sort(order);
  }
  const counters = (metrics) => {
    const makers = metrics.map(measure);
    return () => {
      const all = makers.map((make) => make());
      return { add: (row) => { for (const one of all) one.add(row); }, get: () => all.map((one) => one.get()) };
    };
  };
  function single(metric, rows) {
    const counter = measure(metric)();
    for (const row of rows) counter.add(row);
    return counter.get();
  }
  function table(panel, rows) {
    const found = group(panel.by, rows, counters(panel.metrics)).map(({ key, n }) => ({ key, values: n }));
    return found.sort((a, b) => b.values[0] - a.values[0] || (a.key < b.key ? -1 : 1));
  }
  // A row's test for a field, decided once a word.
  const tester = (name, accept) => {
    const { codes, entries } = columns[name];
    const verdict = entries.map(accept);
    return (row) => verdict[codes[row]];
  };
  // Most panels ask of the same rows: these are looked for once a drawing, and their incidents counted once.
  let selections = new Map();
  function select(panel, rows) {
    const key = JSON.stringify([panel.source, panel.where]);
    if (!selections.has(key)) selections.set(key, chosen(panel, rows));
    return selections.get(key);
  }
  const counted = new WeakMap();
  function incidents(rows) {
    if (!counted.has(rows)) counted.set(rows, single({ kind: "distinct", field: "event.id" }, rows));
    return counted.get(rows);
  }
  function chosen(panel, rows) {
    const tests = panel.where
      .filter((term) => !(state.all && term.field === FATAL && term.value === true))
      .map((term) => tester(term.field, (word) => word.includes(String(term.value)) !== term.negate));
    if (panel.source === "signatures") tests.push((row) => firstRows.has(row));
    return tests.length ? rows.filter((row) => tests.every((test) => test(row))) : rows;
  }

  // ---------------------------------------------------------------- state: all of it is in the address
  const DAY = 86400000;
  let state;
  function parse() {
    const found = { is: Object.create(null), not: Object.create(null), from: "", to: "", q: "", all: false, about: "" };
    for (const [key, word] of new URLSearchParams(location.hash.slice(1))) {
      if (key === "q" || (["from", "to"].includes(key) && isMoment(word))) found[key] = word;
      else if (key === "signature") found.about = word;
      else if (key === "all") found.all = true;
      else {
        const negate = key.startsWith("!");
        const name = negate ? key.slice(1) : key;
        if (columns[name]) ((negate ? found.not : found.is)[name] ??= []).push(word);
      }
    }
    return found;
  }
  function address(next) {
    const out = new URLSearchParams();
    if (next.about) out.set("signature", next.about);
    for (const [name, list] of Object.entries(next.is)) for (const word of list) out.append(name, word);
    for (const [name, list] of Object.entries(next.not)) for (const word of list) out.append(`!${name}`, word);
    for (const key of ["from", "to", "q"]) if (next[key]) out.set(key, next[key]);
    if (next.all) out.set("all", "1");
    return `#${out}`;
  }
  function go(next, { replace = false } = {}) {
    const hash = address({ ...state, ...next });
    if (hash === (location.hash || "#")) return;
    history[replace ? "replaceState" : "pushState"](null, "", hash);
    draw();
  }
  function toggle(name, word, side = "is") {
    const lists = { is: { ...state.is }, not: { ...state.not } };
    const had = (lists[side][name] ?? []).includes(word);
    for (const each of ["is", "not"]) {
      lists[each][name] = (lists[each][name] ?? []).filter((other) => other !== word);
    }
    if (!had) lists[side][name].push(word);
    go(lists);
  }
  const isMoment = (text) => /^\d{4}-\d\d-\d\d(T\d\d:\d\d)?$/.test(text) && !Number.isNaN(moment(text));
  const moment = (text, end) => {
    const at = Date.parse(text.length === 10 ? `${text}T00:00:00Z` : `${text}Z`);
    return end && text.length === 10 ? at + DAY : at;
  };
  function filtered() {
    const tests = [];
    for (const [name, list] of Object.entries(state.is)) {
      if (list.length) tests.push(tester(name, (word) => list.some((one) => word.includes(one))));
    }
    for (const [name, list] of Object.entries(state.not)) {
      if (list.length) tests.push(tester(name, (word) => !list.some((one) => word.includes(one))));
    }
    if (state.about) tests.push(tester(SIGNATURE, (word) => word.includes(state.about)));
    const from = state.from && moment(state.from, false);
    const to = state.to && moment(state.to, true);
    if (from) tests.push((row) => time[row] >= from);
    if (to) tests.push((row) => time[row] < to);
    for (const term of state.q.toLowerCase().split(/\s+/).filter(Boolean)) {
      const examples = new Set(Object.entries(haystacks()).filter(([, text]) => text.includes(term)).map(([key]) => key));
      const any = words.names.map((name) =>
        tester(name, (word) => word.some((one) => one.toLowerCase().includes(term) || (name === SIGNATURE && examples.has(one)))));
      tests.push((row) => any.some((test) => test(row)));
    }
    return tests.length ? allRows.filter((row) => tests.every((test) => test(row))) : allRows;
  }
  let haystackCache;
  function haystacks() {
    haystackCache ??= Object.fromEntries(Object.entries(words.examples).map(([key, e]) =>
      [key, [...e.trace, e.summary, ...e.steps, ...Object.values(e.facts)].join("\n").toLowerCase()]));
    return haystackCache;
  }

  // ---------------------------------------------------------------- words on the screen
  // Text of logs is only ever a text node.
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, given] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), given);
      else if (name === "style") for (const [key, v] of Object.entries(given)) element.style.setProperty(key, v);
      else if (given === true) element.setAttribute(name, "");
      else if (given !== false && given !== undefined && given !== null) element.setAttribute(name, given);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }
  // A control or direction mark of a log must not rearrange what stands around it.
  const clean = (text) => String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
  const number = (n) => new Intl.NumberFormat("en").format(n);
  const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
  const stamp = (ms) => new Date(ms).toISOString();
  const minute = (ms) => stamp(ms).slice(0, 16).replace("T", " ");
  const day = (ms) => stamp(ms).slice(0, 10);
  const when = (ms, shown = minute) => h("time", { datetime: stamp(ms), title: `${stamp(ms).slice(0, 19).replace("T", " ")} UTC` }, shown(ms));
  const isDate = (metric) => metric.kind === "earliest" || metric.kind === "latest";
  const named = (metric) => (state.all && metric.label === "Panics" ? "Reports" : metric.label);
  const titled = (panel) => (state.all ? panel.title.replace(/^Panics/, "Reports") : panel.title);
  const CODE = /symbol|rip\.|release|kernel$|signature|module|taint|host\.name|bios/;
  const mono = (name) => (CODE.test(name) ? "mono" : "");
  const TAINTS = {
    P: "proprietary module", F: "module loaded by force", S: "out of specification", R: "module unloaded by force",
    M: "machine check", B: "bad page", U: "asked for by user space", D: "died before", A: "ACPI table overridden",
    W: "warned before", C: "staging driver", I: "firmware workaround", O: "out-of-tree module", E: "unsigned module",
    L: "soft lockup before", K: "live patched", X: "auxiliary, by the distribution", T: "randomized layout", N: "in-kernel test",
  };
  const spoken = (name, word) => (name === "kernel.panic.taint.flags" && TAINTS[word] ? `${word} · ${TAINTS[word]}` : clean(word));

  // Colours: what most panics are of has one each for good, whatever the filters leave.
  const coloured = {};
  const PALETTE = {
    light: ["#2f62d9", "#d1432f", "#0b8a6f", "#a33fb0", "#b36a00", "#0a86b3", "#7a5af0", "#b52e6b"],
    dark: ["#7ea2ff", "#ff8a73", "#3fcfa8", "#dd8aea", "#eeb04a", "#55c8f0", "#b09cff", "#ff86b6"],
  };
  const OTHER = { light: "#8a93a3", dark: "#7f899b" };
  const theme = () => document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  function scale(name) {
    if (!name) return { top: [], of: () => (theme() === "dark" ? "#8db1ff" : "#1f55c7") }; // one colour, the links'
    const top = (coloured[name] ??= group(name, allRows.filter(tester(FATAL, (word) => word.includes("true"))), distinct("event.id"))
      .slice(0, 8).map(({ key }) => key));
    const colours = PALETTE[theme()];
    return { top, of: (word) => (top.includes(word) ? colours[top.indexOf(word)] : OTHER[theme()]) };
  }

  // ---------------------------------------------------------------- forms
  function card(panel, rows, ...children) {
    return h("section", { class: `card ${panel.form} span-${panel.width}`, id: `panel-${panel.id}`, "aria-labelledby": `head-${panel.id}`, style: { "--span": panel.width } },
      panel.form === "number" ? null : h("header", {},
        h("h2", { id: `head-${panel.id}` }, titled(panel)), h("p", {}, panel.question)),
      ...children);
  }
  const empty = (text = "Nothing here with these filters.") => h("p", { class: "empty" }, text);
  const active = (name, word) => (state.is[name] ?? []).includes(word);

  const FOLD = 12; // rows of a table before it asks
  const unfolded = new Set();
  const forms = {
    number(panel, rows) {
      const [metric] = panel.metrics;
      const found = rows.length || metric.kind === "distinct" ? single(metric, rows) : undefined;
      const text = found === undefined ? "–" : isDate(metric) ? minute(found) : number(found);
      return card(panel, rows,
        h("h2", { id: `head-${panel.id}`, title: panel.question }, titled(panel)),
        h("p", { class: isDate(metric) ? "figure date" : "figure", "data-value": found ?? "" }, text),
        h("p", { class: "note" }, ...[note(panel, found) ?? panel.question].flat()));
    },
    bars(panel, rows) {
      const found = group(panel.by, rows, distinct("event.id"));
      const shown = found.slice(0, panel.size);
      const most = Math.max(1, ...shown.map(({ n }) => n));
      const total = incidents(rows);
      const having = single({ kind: "distinct", field: "event.id" }, rows.filter(tester(panel.by, (word) => word.length > 0)));
      const colour = panel.by === CAUSE ? scale(CAUSE).of : null;
      const rest = [
        found.length > shown.length && `${plural(found.length - shown.length, "other")}`,
        total > having && `${number(total - having)} without one`,
      ].filter(Boolean).join(" · ");
      return card(panel, rows, shown.length
        ? h("ol", { class: "bars" }, shown.map(({ key, n }) =>
          h("li", {}, h("button", {
            type: "button", "aria-pressed": String(active(panel.by, key)), title: spoken(panel.by, key), "data-key": key, "data-value": n,
            style: { "--part": `${(100 * n) / most}%`, ...(colour && { "--tone": colour(key) }) },
            onclick: () => toggle(panel.by, key),
          }, h("span", { class: `word ${mono(panel.by)}` }, spoken(panel.by, key)), h("span", { class: "n" }, number(n))))))
        : empty(rows.length ? "None of them has one." : undefined), shown.length > 0 && rest && h("p", { class: "rest" }, rest));
    },
    histogram(panel, rows) {
      if (!rows.length) return card(panel, rows, empty());
      const [width, step] = interval(rows);
      const { top, of } = scale(panel.split);
      const buckets = new Map();
      const tests = distinct("event.id");
      const metric = panel.rate ? panel.title : named(panel.metrics[0]);
      const { codes, entries } = columns[panel.split] ?? { codes: allRows, entries: [] };
      const round = panel.rate ? (n) => Number(((1000 * DAY * n) / model.fleet / width).toPrecision(3)) : (n) => n;
      for (const row of rows) {
        const at = Math.floor(time[row] / width) * width;
        for (const word of !panel.split ? [metric] : entries[codes[row]].length ? entries[codes[row]] : ["not known"]) {
          const name = !panel.split || top.includes(word) || word === "not known" ? word : "other";
          const key = `${at} ${name}`;
          if (!buckets.has(key)) buckets.set(key, { t: at, u: at + width, word: name, counter: tests() });
          buckets.get(key).counter.add(row);
        }
      }
      const data = [...buckets.values()].map(({ t, u, word, counter }) => ({ t, u, word: clean(word), n: round(counter.get()), from: minute(t) }));
      const used = [...(panel.split ? [...top, "other", "not known"] : [metric])].filter((word) => data.some((d) => d.word === clean(word)));
      const born = new Map();
      if (panel.split === CAUSE) {
        for (const row of rows) {
          if (!firstRows.has(row)) continue;
          const at = Math.floor(time[row] / width) * width;
          born.set(at, [...(born.get(at) ?? []), clean(value(TITLE, row) ?? "?")]);
        }
      }
      const fresh = [...born].map(([t, titles]) => ({
        t: t + width / 2, new: titles.length, titles: titles.slice(0, 5).join("; ") + (titles.length > 5 ? " …" : ""),
      }));
      const chart = h("div", { class: "chart", "data-chart": panel.id });
      charts.push({ chart, spec: () => histogramSpec({ data, fresh, used, of, metric, label: `${titled(panel)}, a bar each ${step}`, height: panel.rate ? 110 : 210 }), click: (d) => {
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
      const kernels = group(panel.by, rows, distinct("event.id")).slice(0, panel.size).map(({ key }) => key).sort(versions);
      const titles = group(panel.split, rows, distinct("event.id")).slice(0, panel.size).map(({ key }) => key);
      if (!kernels.length || !titles.length) return card(panel, rows, empty());
      const cells = new Map();
      const make = distinct("event.id");
      for (const row of rows) {
        const k = value(panel.by, row);
        const t = value(panel.split, row);
        if (!kernels.includes(k) || !titles.includes(t)) continue;
        const key = JSON.stringify([k, t]);
        if (!cells.has(key)) cells.set(key, { k, t, counter: make() });
        cells.get(key).counter.add(row);
      }
      const data = [...cells.values()].map(({ k, t, counter }) => ({ k, t, kernel: clean(k), title: clean(t), n: counter.get() }));
      const chart = h("div", { class: "chart", "data-chart": panel.id });
      charts.push({ chart, spec: () => heatSpec({ data, kernels: kernels.map(clean), titles: titles.map(clean), metric: named(panel.metrics[0]), label: titled(panel) }), click: (d) => {
        if (d.k) go({ is: { ...state.is, [panel.by]: [d.k], [panel.split]: [d.t] } });
      } });
      return card(panel, rows, chart, h("details", { class: "astable" }, h("summary", {}, "As a table"),
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titled(panel)} as a table` }, matrix("Fault", data.map((d) => ({ row: d.title, column: d.kernel, n: d.n })), kernels.map(clean)))));
    },
    table(panel, rows) {
      const found = table(panel, rows);
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
          if (isDate(metric)) return h("td", { class: "when" }, v === undefined ? "–" : when(v, panel.width < 30 && plain.filter((one) => isDate(one.metric)).length > 1 ? day : minute));
          if (metric.kind === "newest") return h("td", {}, v === undefined ? "–" : clean(v));
          return h("td", { class: "n", "data-value": v, ...(i === 0 && { style: { "--part": `${(100 * v) / most}%` } }) }, i === 0 ? h("span", { class: "meter" }, number(v)) : number(v));
        });
        if (!signatures) {
          const button = h("button", { type: "button", class: `link ${mono(panel.by)}`, "aria-pressed": String(active(panel.by, row.key)), onclick: () => toggle(panel.by, row.key) }, clean(row.key));
          return [h("tr", { "data-key": row.key }, h("th", { scope: "row" }, button), cells)];
        }
        const title = row.values[position(TITLE)];
        const cause = row.values[position(CAUSE)];
        const triage = row.values[position(TRIAGE)];
        const id = `open-${panel.id}-${line}`;
        const inside = h("tr", { class: "inside", id, hidden: true });
        const opener = h("button", {
          type: "button", class: "opener", "aria-expanded": "false", "aria-controls": id,
          onclick: () => {
            const open = opener.getAttribute("aria-expanded") === "true";
            opener.setAttribute("aria-expanded", String(!open));
            inside.hidden = open;
            if (!open && !inside.firstChild) inside.append(h("td", { colspan: plain.length + 1 }, example(row.key)));
          },
        }, clean(title ?? row.key));
        return [h("tr", { "data-key": row.key }, h("th", { scope: "row" }, opener,
          h("div", { class: "under" },
            cause && h("span", { class: "tag", style: { "--tone": scale(CAUSE).of(cause) } }, clean(cause)),
            triage && h("span", { class: `tag ${triage === "regressed" ? "bad" : "known"}` }, clean(triage)),
            h("a", { class: "mono", href: address({ ...state, about: row.key }) }, clean(row.key)))), cells), inside];
      });
      return card(panel, rows, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${titled(panel)}, the rows` },
        h("table", {}, h("thead", {}, head), h("tbody", {}, body))),
      whole.length > FOLD && h("p", { class: "rest" }, h("button", { type: "button", class: "link", onclick: () => {
        unfolded[unfolded.has(panel.id) ? "delete" : "add"](panel.id);
        draw();
        document.querySelector(`#panel-${panel.id} .rest button`)?.focus({ preventScroll: unfolded.has(panel.id) });
      } }, unfolded.has(panel.id) ? "Show less" : `Show ${whole.length - FOLD} more`)),
      found.length > panel.size && (unfolded.has(panel.id) || whole.length <= FOLD) && h("p", { class: "rest" }, `${plural(found.length - panel.size, "other")} not shown`));
    },
    documents(panel, rows) {
      const seen = new Set();
      const shown = [];
      for (let i = rows.length - 1; i >= 0 && shown.length < panel.size; i--) {
        if (!seen.has(incident[rows[i]])) shown.push(rows[i]);
        seen.add(incident[rows[i]]);
      }
      if (!shown.length) return card(panel, rows, empty());
      const total = incidents(rows);
      const items = shown.map((row) => {
        const key = value(SIGNATURE, row) ?? words.incidents[incident[row]];
        const details = h("details", { ontoggle: () => {
          if (details.open && details.children.length === 1) details.append(example(key, words.incidents[incident[row]]));
        } }, h("summary", {},
          when(time[row]), h("span", { class: "mono host" }, clean(value("host.name", row) ?? "host not known")),
          h("span", { class: "what" }, clean(value(TITLE, row) ?? "not understood")),
          h("span", { class: "mono kernel" }, clean(value(KERNEL, row) ?? "kernel not known"))));
        return h("li", {}, details);
      });
      return card(panel, rows, h("ol", { class: "documents" }, items),
        total > shown.length && h("p", { class: "rest" }, `the newest ${shown.length} of ${number(total)}`));
    },
  };

  function note(panel, found) {
    if (panel.id === "panics" && model.fleet && newest > oldest) {
      const days = Math.max(1, ((state.to ? moment(state.to, true) : newest) - (state.from ? moment(state.from, false) : oldest)) / DAY);
      return `${((found / model.fleet / days) * 1000).toPrecision(2)} per 1,000 hosts a day`;
    }
    if (panel.id === "unparsed" && count) {
      const all = incidents(current);
      const share = all && `${((100 * found) / all).toFixed(found && found * 1000 < all ? 2 : 1).replace(/\.0$/, "")} % of ${plural(all, "report")}`;
      const them = address({ ...state, all: true, not: { ...state.not, [PARSED]: ["complete"] } });
      return all ? [share, ...(found ? [" · ", h("a", { href: them }, "show them")] : [])] : null;
    }
    if (panel.id === "new") return state.from ? "first seen in this time" : `first seen since ${count ? day(oldest) : "–"}`;
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

  // One crash in full: the reading on the left, what the kernel printed on the right.
  function example(key, id) {
    const e = words.examples[key];
    if (!e) return empty(`The text of ${id ?? key} is not in this file; it is in the store.`);
    const verdict = e.vmcore === true ? ["vmcore needed", "bad"] : e.vmcore === false ? ["dmesg is enough", "good"] : null;
    const place = e.facts.RIP;
    const frames = e.trace.length || place
      ? h("ol", { class: "trace mono", tabindex: 0 }, place && h("li", { class: "rip" }, clean(place.replace(/^[0-9a-f]{4}:/i, ""))),
        e.trace.map((frame) => h("li", { class: frame.startsWith("?") ? "unsure" : guilty(frame, e) ? "guilty" : null }, clean(frame))))
      : empty("No call trace was printed.");
    return h("article", { class: "example" },
      h("div", { class: "reading" },
        h("h3", {}, "What happened", verdict && h("span", { class: `tag ${verdict[1]}` }, verdict[0])),
        e.summary && h("p", { class: "summary" }, clean(e.summary)),
        e.why && h("p", { class: "why" }, clean(e.why)),
        e.steps.length ? h("ol", { class: "steps" }, e.steps.map((step) => h("li", {}, labelled(clean(step))))) : null,
        e.next.length ? [h("h3", {}, "What to do now"), h("ul", { class: "steps" }, e.next.map((step) => h("li", {}, command(clean(step)))))] : null),
      h("div", { class: "printed" },
        h("h3", {}, "Call trace"), frames,
        h("dl", {}, Object.entries(e.facts).filter(([label]) => !state.about || label !== "Signature").flatMap(([label, text]) => [h("dt", {}, label), h("dd", { class: "mono" }, clean(text))])),
        e.text ? h("details", { class: "raw" }, h("summary", {}, "All that was printed", e.cut ? " (the beginning of it)" : ""), h("pre", { tabindex: 0 }, clean(e.text))) : null,
        !state.about && words.names.includes(SIGNATURE) && key !== id && e.facts.Signature
          ? h("p", {}, h("a", { class: "more", href: address({ ...state, about: key }) }, "Everything about this signature")) : null));
  }

  const command = (step) => {
    const [line, ...words] = step.split(/ # /);
    return [h("code", {}, line), words.length ? h("small", {}, words.join(" # ")) : null].filter(Boolean);
  };
  const labelled = (step) => {
    const end = step.search(/: /) + 1;
    return end && end < 24 ? [h("b", {}, step.slice(0, end)), step.slice(end)] : [step];
  };
  const guilty = (frame, e) => Boolean(e.facts["Guilty function"]) && frame.split(/[+.\s]/)[0] === e.facts["Guilty function"].split(".")[0];

  // ---------------------------------------------------------------- charts
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
  function histogramSpec({ data, fresh, used, of, metric, label, height }) {
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
    const span = Math.max(...data.map((d) => d.u)) - Math.min(...data.map((d) => d.t));
    const x = { field: "t", type: "temporal", scale: { type: "utc" }, axis: { title: null, grid: false, labelOverlap: true, tickCount: 8, format: span > 400 * DAY ? "%b %Y" : span > 2 * DAY ? "%b %-d" : "%b %-d, %H:%M" } };
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
  function heatSpec({ data, kernels, titles, metric, label }) {
    const of = ink();
    const most = Math.max(...data.map((d) => d.n));
    const narrow = innerWidth < 700;
    const leaning = kernels.length > 4 || narrow;
    const room = leaning ? Math.min(180, 6.7 * kernels.at(-1).length) * Math.cos((35 * Math.PI) / 180) : 0; // of the last label
    return {
      ...base(label),
      padding: { left: 0, right: Math.max(4, room - 20), top: 4, bottom: 6 },
      height: titles.length * 26,
      data: { values: data },
      encoding: {
        x: { field: "kernel", type: "ordinal", sort: kernels, axis: { title: null, orient: "top", labelAngle: leaning ? -35 : 0, labelLimit: 180, labelFont: of("--code"), labelFontSize: 11, labelOverlap: false } },
        y: { field: "title", type: "ordinal", sort: titles, axis: { title: null, labelLimit: narrow ? 130 : 460 } },
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
  function interval(rows) {
    let low = Infinity;
    let high = -Infinity;
    for (const row of rows) {
      low = Math.min(low, time[row]);
      high = Math.max(high, time[row]);
    }
    const steps = [[60000, "minute"], [600000, "10 minutes"], [3600000, "hour"], [3 * 3600000, "3 hours"], [DAY / 2, "12 hours"], [DAY, "day"], [7 * DAY, "week"], [28 * DAY, "4 weeks"], [364 * DAY, "year"]];
    return steps.find(([width]) => (high - low) / width <= 72) ?? steps.at(-1);
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

  // ---------------------------------------------------------------- filters
  const facets = [];
  function bar() {
    const text = h("input", { type: "search", id: "q", placeholder: "Function, host, module, words of the trace…", "aria-label": "Search", autocomplete: "off", spellcheck: "false" });
    let timer;
    text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => go({ q: text.value.trim() }, { replace: true }), 120);
    });
    const from = h("input", { type: "date", id: "from", "aria-label": "From", onchange: () => go({ from: from.value }) });
    const to = h("input", { type: "date", id: "to", "aria-label": "To, this day included", onchange: () => go({ to: to.value }) });
    const last = h("select", { id: "last", "aria-label": "Time range", onchange: () => {
      const days = Number(last.value);
      if (days >= 0) go({ from: days ? day(newest - (days - 1) * DAY) : "", to: "" });
    } }, [["0", "All time"], ["1", "Last day"], ["7", "Last 7 days"], ["30", "Last 30 days"], ["90", "Last 90 days"], ["365", "Last year"], ["-1", "From – to"]].map(([v, label]) => h("option", { value: v }, label)));
    const buttons = Object.entries(model.facets).map(([name, label]) => {
      const search = h("input", { type: "search", placeholder: `Find a ${label.toLowerCase()}`, "aria-label": `Find a ${label.toLowerCase()}` });
      const list = h("ul", {});
      const fill = () => {
        const wanted = search.value.toLowerCase();
        const chosen = new Set([...(state.is[name] ?? []), ...(state.not[name] ?? [])]);
        const all = values(name).filter(({ key }) => spoken(name, key).toLowerCase().includes(wanted));
        const shown = [...all.filter(({ key }) => chosen.has(key)), ...all.filter(({ key }) => !chosen.has(key))].slice(0, 100);
        list.replaceChildren(...shown.map(({ key, n }) => h("li", {},
          h("label", {}, h("input", { type: "checkbox", value: key, onchange: () => toggle(name, key) }),
            h("span", { class: mono(name) }, spoken(name, key)), h("small", {}, number(n))),
          h("button", { type: "button", class: "not", "aria-pressed": "false", title: "Leave out", "aria-label": `Leave out ${spoken(name, key)}`, onclick: () => toggle(name, key, "not") }, "not"))),
        ...(all.length > shown.length ? [h("li", { class: "rest" }, `${number(all.length - shown.length)} more: search`)] : []),
        ...(all.length ? [] : [h("li", { class: "rest" }, "None.")]));
        mark();
      };
      // Values keep their places while the list is open, whatever is chosen.
      const mark = () => {
        for (const box of list.querySelectorAll("input")) {
          box.checked = active(name, box.value);
          box.closest("li").querySelector(".not").setAttribute("aria-pressed", String((state.not[name] ?? []).includes(box.value)));
        }
      };
      search.addEventListener("input", fill);
      const badge = h("b", {});
      const details = h("details", { class: "facet", ontoggle: () => details.open && (fill(), search.focus()) },
        h("summary", {}, label, badge), h("div", { class: "pop" }, search, list));
      details.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && details.open) {
          details.open = false;
          details.firstChild.focus();
        }
      });
      facets.push({ name, details, mark, badge });
      return details;
    });
    document.addEventListener("click", (event) => {
      for (const { details } of facets) if (!details.contains(event.target) && document.contains(event.target)) details.open = false;
    });
    const all = h("label", { class: "switch" }, h("input", { type: "checkbox", id: "all", onchange: (event) => go({ all: event.target.checked }) }), "Survived reports too");
    const chips = h("div", { class: "chips", id: "chips" });
    document.getElementById("filters").append(
      h("div", { class: "line" }, text, h("div", { class: "range" }, last, from, h("span", { "aria-hidden": "true" }, "–"), to), buttons, all), chips);
    return () => {
      if (document.activeElement !== text) text.value = state.q;
      from.value = state.from.slice(0, 10);
      to.value = state.to.slice(0, 10);
      const days = state.from && !state.to ? Math.round((moment(day(newest)) - moment(state.from)) / DAY) + 1 : 0;
      last.value = !state.from && !state.to ? "0" : [...last.options].some((o) => o.value === String(days)) && state.from.length === 10 ? String(days) : "-1";
      document.getElementById("all").checked = state.all;
      for (const { name, mark, badge } of facets) {
        const n = (state.is[name]?.length ?? 0) + (state.not[name]?.length ?? 0);
        badge.textContent = n ? String(n) : "";
        mark();
      }
      const chip = (label, off, flip) => h("span", { class: "chip" }, flip
        ? h("button", { type: "button", title: "Turn round", onclick: flip }, label) : h("span", {}, label),
      h("button", { type: "button", class: "off", "aria-label": `Remove filter ${label}`, onclick: off }, "×"));
      const list = [];
      for (const side of ["is", "not"]) {
        for (const [name, chosen] of Object.entries(state[side])) {
          for (const word of chosen) {
            list.push(chip(`${called(name)} ${side === "is" ? "is" : "is not"} ${spoken(name, word)}`, () => toggle(name, word, side), () => toggle(name, word, side === "is" ? "not" : "is")));
          }
        }
      }
      if (state.from) list.push(chip(`from ${state.from.replace("T", " ")}`, () => go({ from: "" })));
      if (state.to) list.push(chip(`${state.to.length === 10 ? "to" : "before"} ${state.to.replace("T", " ")}`, () => go({ to: "" })));
      if (state.q) list.push(chip(`“${state.q}”`, () => { text.value = ""; go({ q: "" }); }));
      if (list.length > 1) list.push(h("button", { type: "button", class: "link clear", onclick: () => { text.value = ""; go({ is: {}, not: {}, from: "", to: "", q: "" }); } }, "Clear all"));
      chips.replaceChildren(...list);
    };
  }
  const called = (name) => model.facets[name] ?? [...panels.values()].find((panel) => panel.by === name)?.label ?? (name === TITLE ? "Title" : name);

  // ---------------------------------------------------------------- the page
  let current = allRows;
  const main = document.getElementById("main");
  state = parse();
  const refresh = bar();
  function draw() {
    state = parse();
    current = filtered();
    selections = new Map();
    const dashboard = state.about ? ABOUT : OVERVIEW;
    const opened = document.activeElement?.closest?.("[id^=panel-]")?.id;
    const key = document.activeElement?.dataset?.key;
    charts = [];
    const title = document.getElementById("title");
    const subtitle = document.getElementById("subtitle");
    const top = [];
    if (state.about) {
      const rows = allRows.filter(tester(SIGNATURE, (word) => word.includes(state.about)));
      const name = rows.length ? value(TITLE, rows.at(-1)) ?? state.about : "Signature not in this report";
      title.textContent = clean(name);
      subtitle.replaceChildren(h("a", { href: address({ ...state, about: "" }) }, "← Kernel panics"), ` · signature ${clean(state.about)}`);
      document.title = `${clean(name)} · Kernel panics`;
      top.push(h("section", { class: "card", "aria-label": "The reading", style: { "--span": 48 } }, example(state.about)));
    } else {
      title.textContent = OVERVIEW.title;
      document.title = OVERVIEW.title;
      const hosts = single({ kind: "distinct", field: "host.name" }, current);
      const all = incidents(current);
      subtitle.textContent = count ? `${plural(all, "report")} of ${plural(hosts, "host")} · ${span()}` : "The store is empty.";
    }
    const cards = dashboard.panels.map((panel) => forms[panel.form](panel, select(panel, current)));
    const numbersEnd = dashboard.panels.findIndex((panel) => panel.form !== "number");
    main.replaceChildren(...(count ? [...cards.slice(0, numbersEnd), ...top, ...cards.slice(numbersEnd)]
      : [h("section", { class: "card welcome", style: { "--span": 48 } }, h("h2", {}, "No crash has been read yet"),
        h("p", {}, "Give kpanic a folder of crash logs and make this page again:"), h("pre", { tabindex: 0 }, "kpanic ship /var/crash\nkpanic report"))]));
    refresh();
    if (opened && key !== undefined) {
      [...document.querySelectorAll(`#${opened} [data-key]`)].find((element) => element.dataset.key === key)?.focus?.();
    }
    document.getElementById("status").textContent = `${plural(incidents(current), "incident")} with these filters`;
    paint();
  }
  function span() {
    if (!current.length) return "nothing with these filters";
    let low = Infinity;
    let high = -Infinity;
    for (const row of current) {
      low = Math.min(low, time[row]);
      high = Math.max(high, time[row]);
    }
    return day(low) === day(high) ? `${day(low)}, UTC` : `${day(low)} to ${day(high)}, UTC`;
  }
  document.getElementById("foot").textContent = `Made by kpanic, ${model.made.slice(0, 16).replace("T", " ")} UTC. Counted by incident: one crash that arrived by several ways counts once. Times are UTC.${model.older ? ` The newest ${number(count)} documents; ${number(model.older)} older ones are not in this file.` : ""}`;
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("hashchange", draw);
  addEventListener("popstate", draw);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#']");
    if (link && !link.dataset.skip && !event.ctrlKey && !event.metaKey) scrollTo(0, 0);
  });
  draw();
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
})().catch((error) => {
  document.getElementById("subtitle").textContent = `This report could not be drawn: ${error.message}`;
  throw error;
});
