// Aggregations of rows: groups, distinct values, earliest and latest times; and the rows of a panel.

// A counter takes the rows of one group in order. The rows of an incident are adjacent, so the number of
// distinct incidents is the number of changes.
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
// A test of rows by a field, which is computed once for each value.
const ANY = "*"; // in a term: any value of the field
const tester = (name, accept) => {
  const { codes, entries } = columns[name];
  const verdict = entries.map(accept);
  return (row) => verdict[codes[row]];
};
// An engine's answer about all documents, while the page has only the newest: rows of key, split and values.
// It is used if no filter is set.
const unfiltered = () => !state.about && !state.q && !state.from && !state.to && !state.last && !state.all
  && [state.is, state.not].every((lists) => Object.values(lists).every((list) => !list.length));
const given = (v) => v ?? undefined;
function answered(panel) {
  const rows = model.answers && unfiltered() ? model.answers.panels[panel.id] : undefined;
  return rows?.map(([key, split, ...found]) => ({ key, split, values: found.map(given), n: found[0] }));
}
// The number of reports and of hosts, the first and the last time of the shown rows.
function extremes(rows) {
  if (model.answers && unfiltered()) return model.answers.all;
  let low = Infinity;
  let high = -Infinity;
  for (const row of rows) {
    low = Math.min(low, time[row]);
    high = Math.max(high, time[row]);
  }
  return [incidents(rows), single({ kind: "distinct", field: "host.name" }, rows), low, high];
}
// Most panels have the same rows, which are selected and counted once for each drawing of the page.
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
    .map((term) => tester(term.field, (word) => (term.value === ANY ? word.length > 0 : word.includes(String(term.value))) !== term.negate));
  if (panel.source === "signatures") tests.push((row) => firstRows.has(row));
  return tests.length ? rows.filter((row) => tests.every((test) => test(row))) : rows;
}
