// The form before everything else: an admin token, tried once before it is kept.

import { tryToken } from "./api.js";
import { h } from "./dom.js";
import { check, field } from "./field.js";
import * as session from "./session.js";

export function signIn(root, entered) {
  const token = h("input", {
    type: "password",
    required: true,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
  });
  const keep = h("input", { type: "checkbox" });
  const problem = h("p", { class: "problem", role: "alert" });
  const send = h("button", { type: "submit", class: "primary" }, "Sign in");
  const form = h(
    "form",
    { class: "form sign-in" },
    h("h1", { tabindex: -1 }, "Sign in"),
    field(
      "Admin token",
      token,
      "One of admin.tokens in the configuration; without any, the file admin.token in the data directory.",
    ),
    check("Keep it until this tab is closed", keep),
    problem,
    send,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    send.disabled = true;
    try {
      const value = token.value.trim();
      await tryToken(value);
      session.begin(value, keep.checked);
      entered();
    } catch (error) {
      problem.textContent = error.message;
      token.focus();
      token.select();
    } finally {
      send.disabled = false;
    }
  });
  root.append(form);
  token.focus();
}
