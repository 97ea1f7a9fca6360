// One crash: the reading on the left; the call trace, the facts and the text on the right.

function example(key, id) {
  const e = words.examples[id] ?? words.examples[key];
  if (!e) return empty(`The text of ${id ?? key} is not in this file; it is in the store.`);
  const verdict = e.vmcore === true ? ["vmcore needed", "bad"] : e.vmcore === false ? ["dmesg is enough", "good"] : null;
  const place = e.facts.RIP;
  const frames = e.trace.length || place
    ? h("ol", { class: "trace mono", tabindex: 0 }, place && h("li", { class: "rip" }, clean(place.replace(/^[0-9a-f]{4}:/i, ""))),
      e.trace.map((frame) => h("li", { class: frame.startsWith("?") ? "unsure" : suspect(frame, e) ? "suspect" : null }, clean(frame))))
    : empty("No call trace was printed.");
  return h("article", { class: "example" },
    h("div", { class: "reading" },
      id && !words.examples[id] && h("p", { class: "note" }, `The page does not contain the text of this crash. It shows another crash with the same signature, of ${minute(e.time)} UTC.`),
      h("h3", {}, "What happened", verdict && h("span", { class: `tag ${verdict[1]}` }, verdict[0])),
      e.summary && h("p", { class: "summary" }, clean(e.summary)),
      e.why && h("p", { class: "why" }, clean(e.why)),
      e.steps.length ? h("ol", { class: "steps" }, e.steps.map((step) => h("li", {}, labelled(clean(step))))) : null,
      e.next.length ? [h("h3", {}, "What to do now"), h("ul", { class: "steps" }, e.next.map((step) => h("li", {}, command(clean(step)))))] : null),
    h("div", { class: "printed" },
      h("h3", {}, "Call trace"), frames,
      h("dl", {}, Object.entries(e.facts).filter(([label]) => !state.about || label !== "Signature").flatMap(([label, text]) => [h("dt", {}, label), h("dd", { class: "mono" }, clean(text))])),
      e.text ? h("details", { class: "raw" }, h("summary", {}, "Full text", e.cut ? " (only its beginning)" : ""), h("pre", { tabindex: 0 }, clean(e.text))) : null,
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
const suspect = (frame, e) => Boolean(e.facts["Suspect function"]) && frame.split(/[+.\s]/)[0] === e.facts["Suspect function"].split(".")[0];
