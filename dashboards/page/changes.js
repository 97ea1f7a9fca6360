// Changes: new signatures, signatures that the newest kernel does not have, hosts that crash repeatedly.

const FEW = 4;
function changes(rows) {
  const recent = (row) => time[row] >= MADE - DAY;
  const born = [...rows].filter((row) => firstRows.has(row) && recent(row)).map((row) => [value(TITLE, row), value(SIGNATURE, row)]);
  const kernels = group(KERNEL, rows, distinct("event.id")).map(({ key }) => key).sort(versions);
  const [newestKernel, kernelBefore] = kernels.reverse();
  const on = (kernel) => [...rows].filter(tester(KERNEL, (word) => word.includes(kernel)));
  const still = new Set((kernelBefore ? on(newestKernel) : []).map((row) => value(SIGNATURE, row)));
  const past = new Map();
  for (const row of kernelBefore ? on(kernelBefore) : []) if (value(SIGNATURE, row)) past.set(value(SIGNATURE, row), value(TITLE, row));
  const gone = [...past].filter(([signature]) => !still.has(signature)).map(([signature, title]) => [title, signature]);
  const again = group("host.name", rows.filter(recent), distinct("event.id")).filter(({ n }) => n > 1);
  const list = (items, none) => items.length
    ? h("ul", {}, items.slice(0, FEW), items.length > FEW && h("li", { class: "note" }, `and ${number(items.length - FEW)} more`))
    : h("p", { class: "note" }, none);
  const fault = ([title, signature]) => h("li", {}, h("a", { href: address({ ...state, about: signature }) }, clean(title ?? signature)));
  const part = (n, label, ...children) => h("div", {}, h("h3", {}, h("b", {}, number(n)), ` ${label}`), ...children);
  return h("section", { class: "card changes", "aria-label": "What changed", style: { "--span": 48 } },
    part(born.length, "new in the last 24 hours", list(born.map(fault), "No signature is new.")),
    part(gone.length, kernelBefore ? `gone with kernel ${clean(newestKernel)}` : "gone with a newer kernel",
      list(gone.map(fault), kernelBefore ? `It has all signatures of ${clean(kernelBefore)}.` : "All crashes are of one kernel.")),
    part(again.length, `${again.length === 1 ? "host" : "hosts"} crashed twice in 24 hours`,
      list(again.map(({ key, n }) => h("li", {}, h("button", { type: "button", class: "link mono", onclick: () => toggle("host.name", key) }, middle(clean(key))), ` ${plural(n, "panic")}`)), "No host.")));
}
