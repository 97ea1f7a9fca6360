// The page, which is drawn again when the address changes.

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
    const [all, hosts] = extremes(current);
    subtitle.textContent = count ? `${plural(all, "report")} of ${plural(hosts, "host")} · ${span()}` : "The store is empty.";
  }
  const cards = dashboard.panels.map((panel) => forms[panel.form](panel, select(panel, current)));
  const numbersEnd = dashboard.panels.findIndex((panel) => panel.form !== "number");
  // The newest crashes come first, for whoever is on call.
  const list = dashboard.panels.findIndex((panel) => panel.form === "documents");
  cards.splice(numbersEnd + 1, 0, ...cards.splice(list, 1));
  const deaths = select({ source: "panics", where: panels.get("panics").where }, current);
  if (!state.about && count) {
    top.push(changes(deaths));
    cards.splice(cards.findIndex((one) => one.classList.contains("heatmap")) + 1, 0, comparison(deaths));
  }
  main.replaceChildren(...(count ? [...cards.slice(0, numbersEnd), ...top, ...cards.slice(numbersEnd)]
    : [h("section", { class: "card welcome", style: { "--span": 48 } }, h("h2", {}, "No crash has been read yet"),
      h("p", {}, "Read a folder of crash logs and write this page again:"), h("pre", { tabindex: 0 }, "kpanic ship /var/crash\nkpanic report"))]));
  refresh();
  if (opened && key !== undefined) {
    [...document.querySelectorAll(`#${opened} [data-key]`)].find((element) => element.dataset.key === key)?.focus?.();
  }
  document.getElementById("status").textContent = `${plural(incidents(current), "incident")} with these filters`;
  paint();
}
function span() {
  if (!current.length) return "nothing matches these filters";
  const [, , low, high] = extremes(current);
  return day(low) === day(high) ? `${day(low)}, UTC` : `${day(low)} to ${day(high)}, UTC`;
}
document.getElementById("foot").textContent = `Made by kpanic, ${model.made.slice(0, 16).replace("T", " ")} UTC. Numbers are of incidents: a crash that arrived several times counts once. Times are UTC.${model.older ? ` The newest ${number(count)} documents; ${number(model.older)} older ones are not in this file${model.answers ? ", but are counted if no filter is set" : ""}.` : ""}`;
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
