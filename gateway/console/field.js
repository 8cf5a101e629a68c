// A control with its label, and a line that says what to write.

import { fresh, h } from "./dom.js";

export function field(label, control, hint) {
  const id = fresh("field");
  control.id = id;
  const note = hint ? h("span", { class: "hint", id: `${id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, note);
}

export function check(label, control) {
  const id = fresh("field");
  control.id = id;
  return h("div", { class: "check" }, control, h("label", { for: id }, label));
}

/** A choice from `[value, text]` pairs. */
export function choice(attributes, options, chosen) {
  const select = h("select", attributes);
  for (const [value, text] of options) select.append(h("option", { value, selected: value === chosen }, text));
  return select;
}
