// A new secret, shown once. Only its button closes the dialog, because the gateway has kept nothing but a hash.

import { copyButton } from "./copy.js";
import { open } from "./dialog.js";
import { h } from "./dom.js";
import { utc, when } from "./format.js";

export async function showSecret({ title, secret, until = null }) {
  const shown = h("code", { class: "secret", tabindex: 0 }, secret);
  const old = until ? h("p", { title: utc(until) }, `The old secret works until ${when(until)}.`) : null;
  const content = h(
    "div",
    {},
    h("p", {}, "Copy it now: it is not shown again. The gateway keeps a hash of it and nothing else."),
    shown,
    old,
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", on: { click: () => dialog.close() } }, "I have kept it"),
      copyButton("Copy", shown, { class: "primary", autofocus: true }),
    ),
  );
  const dialog = open({ title, content, isHeld: true });
  await dialog.closed;
  // The dialog is gone from the page; what it said goes too.
  shown.textContent = "";
}
