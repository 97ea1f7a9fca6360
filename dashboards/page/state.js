// The state of the page, which is part of its address.

const DAY = 86400000;
let state;
function parse() {
  const found = { is: Object.create(null), not: Object.create(null), from: "", to: "", last: "", a: "", b: "", q: "", all: false, about: "" };
  for (const [key, word] of new URLSearchParams(location.hash.slice(1))) {
    if (key === "q" || (["from", "to"].includes(key) && isMoment(word))) found[key] = word;
    else if (key === "last" && Number(word) > 0) found.last = String(Number(word));
    else if (key === "a" || key === "b") found[key] = SIDE.test(word) ? word : "";
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
  for (const key of ["from", "to", "last", "a", "b", "q"]) if (next[key]) out.set(key, next[key]);
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
// The selected time range in milliseconds since 1970; undefined for an open end. The last N days end when the
// page was written.
const MADE = Date.parse(model.made);
function range() {
  if (state.last) return [MADE - Number(state.last) * DAY, undefined];
  return [state.from ? moment(state.from, false) : undefined, state.to ? moment(state.to, true) : undefined];
}
function filtered() {
  const tests = [];
  for (const [name, list] of Object.entries(state.is)) {
    if (list.length) tests.push(tester(name, (word) => list.some((one) => word.includes(one))));
  }
  for (const [name, list] of Object.entries(state.not)) {
    if (list.length) tests.push(tester(name, (word) => !list.some((one) => word.includes(one))));
  }
  if (state.about) tests.push(tester(SIGNATURE, (word) => word.includes(state.about)));
  const [from, to] = range();
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
