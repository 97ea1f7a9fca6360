// The documents of the report: columns of numbers of words, unpacked from the blocks of the page.

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
const columns = Object.create(null); // no prototype: a name comes from the address
words.names.forEach((name, i) => {
  const entries = words.dictionaries[i]; // each is a list of values: none, one or several
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
// The document of a signature has fields of its first crash; here that crash is used instead.
const FIRST_CRASH = { id: SIGNATURE, title: TITLE, cause: CAUSE, fatal: FATAL };
for (const panel of model.dashboards.flatMap((d) => d.panels).filter((p) => p.source === "signatures")) {
  panel.by = FIRST_CRASH[panel.by] ?? panel.by;
  for (const term of panel.where) term.field = FIRST_CRASH[term.field] ?? term.field;
  for (const metric of panel.metrics) metric.field = FIRST_CRASH[metric.field] ?? metric.field;
}
const panels = new Map(model.dashboards.flatMap((d) => d.panels.map((p) => [p.id, p])));
const value = (name, row) => columns[name].entries[columns[name].codes[row]][0];

// All values of a field, the most frequent first, for filters.
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
  // The first document of a signature may be an older one, which is not in this page.
  for (const [code, row] of first) if (model.answers?.firsts[value(SIGNATURE, row)]?.at < time[row]) first.delete(code);
  return new Set(first.values());
})();
