// Dialogs: the browser's own, which keeps the focus inside and gives it back.

import { fresh, h } from "./dom.js";

/**
 * Shows a dialog until `close()`. `isHeld`: only its own buttons close it, because what it shows is shown once.
 * @returns {{ element: HTMLDialogElement, close(): void, closed: Promise<void> }}
 */
export function open({ title, content, isHeld = false }) {
  const id = fresh("dialog");
  const element = h("dialog", { class: "dialog", "aria-labelledby": id }, h("h2", { id }, title), content);
  let isOver = !isHeld;
  if (isHeld) {
    // A browser that does not know `closedby` closes at the second Escape in a row, whatever is said to `cancel`.
    element.setAttribute("closedby", "none");
    element.addEventListener("cancel", (event) => event.preventDefault());
  }
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      if (!isOver) {
        element.showModal();
        return;
      }
      element.remove();
      resolve();
    });
  });
  document.body.append(element);
  element.showModal();
  const close = () => {
    isOver = true;
    element.close();
    // At once: the event comes later, and what was shown may be a secret.
    element.remove();
  };
  return { element, close, closed };
}

/** Asks before what cannot be undone. Cancel has the focus, so that Enter alone harms nothing. */
export async function confirm({ title, text, action }) {
  let isAgreed = false;
  const content = h(
    "div",
    {},
    h("p", {}, text),
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", autofocus: true, on: { click: () => dialog.close() } }, "Cancel"),
      h(
        "button",
        {
          type: "button",
          class: "danger",
          on: {
            click: () => {
              isAgreed = true;
              dialog.close();
            },
          },
        },
        action,
      ),
    ),
  );
  const dialog = open({ title, content });
  await dialog.closed;
  return isAgreed;
}

/** A form in a dialog: `submit(form)` may throw, and what it threw is then shown in it. Resolves to what it returned, or null. */
export async function form({ title, fields, action, submit }) {
  let outcome = null;
  const problem = h("p", { class: "problem", role: "alert" });
  const send = h("button", { type: "submit", class: "primary" }, action);
  const cancel = h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel");
  const content = h("form", { class: "form" }, fields, problem, h("div", { class: "dialog-actions" }, cancel, send));
  content.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    send.disabled = true;
    try {
      outcome = await submit(content);
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      send.disabled = false;
    }
  });
  const dialog = open({ title, content });
  await dialog.closed;
  return outcome;
}
