// Elements and words of the page. Text from logs is always inserted as a text node.

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
// Replaces control and direction marks, which could rearrange the text around them.
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

// Colours: each of the most frequent values of a field has one, independent of filters.
const coloured = {};
const PALETTE = {
  light: ["#2f62d9", "#d1432f", "#0b8a6f", "#a33fb0", "#b36a00", "#0a86b3", "#7a5af0", "#b52e6b"],
  dark: ["#7ea2ff", "#ff8a73", "#3fcfa8", "#dd8aea", "#eeb04a", "#55c8f0", "#b09cff", "#ff86b6"],
};
const OTHER = { light: "#8a93a3", dark: "#7f899b" };
const theme = () => document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
function scale(name) {
  if (!name) return { top: [], of: () => (theme() === "dark" ? "#8db1ff" : "#1f55c7") }; // the colour of links
  const all = model.answers?.panels[OVERVIEW.panels.find((panel) => panel.form === "bars" && panel.by === name)?.id];
  const ranking = () => all?.map(([key]) => key)
    ?? group(name, allRows.filter(tester(FATAL, (word) => word.includes("true"))), distinct("event.id")).map(({ key }) => key);
  const top = (coloured[name] ??= ranking().slice(0, 8));
  const colours = PALETTE[theme()];
  return { top, of: (word) => (top.includes(word) ? colours[top.indexOf(word)] : OTHER[theme()]) };
}

// A name that is shortened in its middle if there is too little room.
const TAIL = 9;
const middle = (text, kind = "") => text.length <= 2 * TAIL
  ? h("span", { class: `word ${kind}` }, text)
  : h("span", { class: `word parted ${kind}`, title: text }, h("span", { class: "head" }, text.slice(0, -TAIL)), h("span", {}, text.slice(-TAIL)));
