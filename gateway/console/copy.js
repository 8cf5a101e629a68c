// A button that copies a text. Over plain HTTP from another machine browsers have no clipboard; then the text is selected.

import { h } from "./dom.js";
import { notice } from "./notice.js";

/** @param {HTMLElement} source the element that shows the text */
export function copyButton(label, source, attributes = {}) {
  return h("button", { type: "button", ...attributes, on: { click: () => copy(source) } }, label);
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    notice("Copied.");
  } catch {
    getSelection().selectAllChildren(source);
    notice("The browser allows no copying here; the text is selected, press Ctrl+C.", "warn");
  }
}
