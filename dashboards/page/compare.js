// Compares the signatures of two kernels or two weeks, the greatest difference first.

const WEEK = 7 * DAY;
const WEEKS = { "week:0": "the last 7 days", "week:1": "the 7 days before" };
const SIDE = /^(kernel:.+|week:[01])$/;
const sideName = (side) => WEEKS[side] ?? clean(side.slice("kernel:".length));
function sideRows(side, rows) {
  if (side.startsWith("kernel:")) {
    const kernel = side.slice("kernel:".length);
    return rows.filter(tester(KERNEL, (word) => word.includes(kernel)));
  }
  const end = MADE - Number(side.slice("week:".length)) * WEEK;
  return rows.filter((row) => time[row] >= end - WEEK && time[row] < end);
}
function comparison(rows) {
  const kernels = values(KERNEL).map(({ key }) => key).sort(versions).reverse();
  const choice = (key, label) => h("label", {}, `${label} `, h("select", { "data-key": key, onchange: (event) => go({ [key]: event.target.value }) },
    h("option", { value: "" }, "choose…"),
    [["Weeks", Object.keys(WEEKS)], ["Kernels", kernels.map((kernel) => `kernel:${kernel}`)]].map(([name, sides]) =>
      h("optgroup", { label: name }, sides.map((side) => h("option", { value: side, selected: side === state[key] }, sideName(side)))))));
  return h("section", { class: "card table", id: "panel-compare", "aria-labelledby": "head-compare", style: { "--span": 48 } },
    h("header", {}, h("h2", { id: "head-compare" }, "Compare"), h("p", {}, "Which faults does one kernel or week have, and the other not?")),
    h("p", { class: "sides" }, choice("a", "First"), choice("b", "Second")),
    state.a && state.b ? comparisonTable(rows) : null);
}
function comparisonTable(rows) {
  const found = new Map();
  ["a", "b"].forEach((key, place) => {
    for (const { key: signature, values: [n, title] } of table({ by: SIGNATURE, metrics: [{ kind: "distinct", field: "event.id" }, { kind: "newest", field: TITLE }] }, sideRows(state[key], rows))) {
      if (!found.has(signature)) found.set(signature, { signature, title, n: [0, 0] });
      found.get(signature).n[place] = n;
    }
  });
  if (!found.size) return empty("No panic of either matches these filters.");
  const all = [...found.values()].sort((x, y) => Math.abs(y.n[0] - y.n[1]) - Math.abs(x.n[0] - x.n[1]) || (x.signature < y.signature ? -1 : 1));
  const shown = unfolded.has("compare") ? all : all.slice(0, FOLD);
  const heads = [sideName(state.a), sideName(state.b)];
  return [h("table", { class: "stacking" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Signature"), heads.map((head) => h("th", { scope: "col", class: "n" }, head)))),
    h("tbody", {}, shown.map(({ signature, title, n }) => h("tr", { "data-key": signature },
      h("th", { scope: "row" }, h("a", { href: address({ ...state, about: signature }) }, clean(title ?? signature)), " ",
        n.includes(0) ? h("span", { class: `tag ${n[0] ? "good" : "bad"}` }, `only in ${heads[n[0] ? 0 : 1]}`) : null),
      n.map((count, place) => h("td", { class: "n", "data-label": heads[place], "data-value": count }, number(count))))))),
  all.length > FOLD && h("p", { class: "rest" }, folding({ id: "compare" }, all.length - FOLD))];
}
