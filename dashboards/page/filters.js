// The bar of filters at the top.

const SPANS = { 1: "Last 24 hours", 7: "Last 7 days", 30: "Last 30 days", 90: "Last 90 days", 365: "Last year" };
const facets = [];
function bar() {
  const text = h("input", { type: "search", id: "q", placeholder: "Function, host, module, words of the trace…", "aria-label": "Search", autocomplete: "off", spellcheck: "false" });
  let timer;
  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go({ q: text.value.trim() }, { replace: true }), 120);
  });
  const from = h("input", { type: "date", id: "from", "aria-label": "From", onchange: () => go({ from: from.value, last: "" }) });
  const to = h("input", { type: "date", id: "to", "aria-label": "To, this day included", onchange: () => go({ to: to.value, last: "" }) });
  const last = h("select", { id: "last", "aria-label": "Time range", onchange: () => {
    if (last.value !== "-1") go({ last: last.value, from: "", to: "" });
  } }, [["", "All time"], ...Object.entries(SPANS), ["-1", "From – to"]].map(([v, label]) => h("option", { value: v }, label)));
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
        h("button", { type: "button", class: "not", "aria-pressed": "false", title: "Exclude", "aria-label": `Exclude ${spoken(name, key)}`, onclick: () => toggle(name, key, "not") }, "not"))),
      ...(all.length > shown.length ? [h("li", { class: "rest" }, `${number(all.length - shown.length)} more: search`)] : []),
      ...(all.length ? [] : [h("li", { class: "rest" }, "None.")]));
      mark();
    };
    // The order of values does not change while the list is open.
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
  const all = h("label", { class: "switch" }, h("input", { type: "checkbox", id: "all", onchange: (event) => go({ all: event.target.checked }) }), "Include survived reports");
  const chips = h("div", { class: "chips", id: "chips" });
  document.getElementById("filters").append(
    h("div", { class: "line" }, text, h("div", { class: "range" }, last, from, h("span", { "aria-hidden": "true" }, "–"), to), buttons, all), chips);
  return () => {
    if (document.activeElement !== text) text.value = state.q;
    from.value = state.from.slice(0, 10);
    to.value = state.to.slice(0, 10);
    last.value = state.last in SPANS ? state.last : state.from || state.to || state.last ? "-1" : "";
    document.getElementById("all").checked = state.all;
    for (const { name, mark, badge } of facets) {
      const n = (state.is[name]?.length ?? 0) + (state.not[name]?.length ?? 0);
      badge.textContent = n ? String(n) : "";
      mark();
    }
    const chip = (label, off, flip) => h("span", { class: "chip" }, flip
      ? h("button", { type: "button", title: "Invert", onclick: flip }, label) : h("span", {}, label),
    h("button", { type: "button", class: "off", "aria-label": `Remove filter ${label}`, onclick: off }, "×"));
    const list = [];
    for (const side of ["is", "not"]) {
      for (const [name, chosen] of Object.entries(state[side])) {
        for (const word of chosen) {
          list.push(chip(`${called(name)} ${side === "is" ? "is" : "is not"} ${spoken(name, word)}`, () => toggle(name, word, side), () => toggle(name, word, side === "is" ? "not" : "is")));
        }
      }
    }
    if (state.last) list.push(chip(SPANS[state.last] ?? `Last ${plural(Number(state.last), "day")}`, () => go({ last: "" })));
    if (state.from) list.push(chip(`from ${state.from.replace("T", " ")}`, () => go({ from: "" })));
    if (state.to) list.push(chip(`${state.to.length === 10 ? "to" : "before"} ${state.to.replace("T", " ")}`, () => go({ to: "" })));
    if (state.q) list.push(chip(`“${state.q}”`, () => { text.value = ""; go({ q: "" }); }));
    if (list.length > 1) list.push(h("button", { type: "button", class: "link clear", onclick: () => { text.value = ""; go({ is: {}, not: {}, from: "", to: "", last: "", q: "" }); } }, "Clear all"));
    chips.replaceChildren(...list);
  };
}
const called = (name) => model.facets[name] ?? [...panels.values()].find((panel) => panel.by === name)?.label ?? (name === TITLE ? "Title" : name);
