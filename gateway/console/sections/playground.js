// Playground: one question to one model, with an API key, streamed.

import { get } from "../api.js";
import { copyButton } from "../copy.js";
import { h, say } from "../dom.js";
import { field } from "../field.js";
import { count, duration, plural, rate, text } from "../format.js";
import { ask, clientsAddress, curl, modelsOf, question } from "../playground.js";

export const playground = { id: "playground", title: "Playground", open };

/** How close to the end of the answer counts as reading along. */
const NEAR_PX = 24;

function open(root) {
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false", on: { change: list } });
  const model = h("select", { required: true, on: { change: tellCurl } }, h("option", { value: "" }, "List the models first"));
  const system = h("textarea", { rows: 2, on: { input: tellCurl } });
  const user = h("textarea", { rows: 4, required: true, on: { input: tellCurl } });
  const most = h("input", { type: "number", min: 1, step: 1, value: 256, on: { input: tellCurl } });
  const listing = h("button", { type: "button", on: { click: list } }, "List models");
  const send = h("button", { type: "submit", class: "primary" }, "Send");
  const stop = h("button", { type: "button", disabled: true, on: { click: () => running?.abort() } }, "Stop");
  const problem = h("p", { class: "problem", role: "alert" });
  const state = h("p", { class: "outcome", role: "status" });
  const reasoning = h("p", { class: "reasoning", hidden: true });
  const answer = h("p", { class: "answer-text" });
  const output = h("div", { class: "answer", tabindex: 0, role: "region", "aria-label": "Answer" }, reasoning, answer);
  const names = ["First token", "Duration", "Prompt tokens", "Completion tokens", "Tokens per second", "Finish", "Backend", "Attempts", "Request"];
  const values = new Map(names.map((name) => [name, h("dd", {}, "–")]));
  const command = h("pre", { class: "code", tabindex: 0, role: "region", "aria-label": "The same with curl" });
  /** @type {AbortController | null} */
  let running = null;
  let address = "ADDRESS";

  const typed = () =>
    question({ model: model.value, system: system.value, user: user.value, most: Number(most.value) || null });

  function tellCurl() {
    say(command, curl(address, typed(), key.value !== ""));
  }

  async function findAddress() {
    try {
      const { yaml } = await get("config");
      address = clientsAddress(yaml) ?? address;
      tellCurl();
    } catch {
      // The placeholder stays; what is wrong with the gateway is told elsewhere.
    }
  }

  async function list() {
    problem.textContent = "";
    listing.disabled = true;
    const before = model.value;
    try {
      const ids = await modelsOf(key.value.trim());
      // A pattern is no name that can be asked for.
      const askable = ids.filter((id) => !id.includes("*"));
      model.replaceChildren(...askable.map((id) => h("option", { value: id, selected: id === before }, id)));
      if (askable.length === 0) model.append(h("option", { value: "" }, "This key may use no model"));
      say(state, `${plural(askable.length, "model")} to choose from.`);
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      listing.disabled = false;
      tellCurl();
    }
  }

  async function run() {
    problem.textContent = "";
    answer.textContent = "";
    reasoning.textContent = "";
    reasoning.hidden = true;
    for (const value of values.values()) say(value, "–");
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    say(state, "Waiting for the first token…");
    const began = performance.now();
    const since = () => performance.now() - began;
    let first = null;
    try {
      for await (const piece of ask(key.value.trim(), typed(), running.signal)) {
        if (piece.start) tellHeaders(piece.start);
        if (piece.content || piece.reasoning) {
          if (first === null) {
            first = since();
            say(values.get("First token"), duration(first));
            say(state, "Answering…");
          }
          append(piece);
        }
        if (piece.finish) say(values.get("Finish"), piece.finish);
        if (piece.usage) tellUsage(piece.usage, since() - first);
      }
      say(state, "Done.");
    } catch (error) {
      if (running.signal.aborted) say(state, "Stopped.");
      else {
        say(state, "");
        problem.textContent = error.message;
      }
    } finally {
      say(values.get("Duration"), duration(since()));
      running = null;
      send.disabled = false;
      stop.disabled = true;
    }
  }

  function append({ content, reasoning: thought }) {
    const isAtEnd = output.scrollHeight - output.scrollTop - output.clientHeight < NEAR_PX;
    if (thought) {
      reasoning.hidden = false;
      reasoning.append(thought);
    }
    if (content) answer.append(content);
    if (isAtEnd) output.scrollTop = output.scrollHeight;
  }

  function tellHeaders(headers) {
    say(values.get("Backend"), text(headers.get("x-mulberry-backend")));
    say(values.get("Attempts"), text(headers.get("x-mulberry-attempts")));
    say(values.get("Request"), text(headers.get("x-request-id")));
  }

  function tellUsage(usage, ms) {
    say(values.get("Prompt tokens"), count(usage.prompt_tokens));
    say(values.get("Completion tokens"), count(usage.completion_tokens));
    // One token has no speed.
    const isTimed = ms > 0 && usage.completion_tokens > 1;
    say(values.get("Tokens per second"), isTimed ? rate((1000 * usage.completion_tokens) / ms) : "–");
  }

  const form = h(
    "form",
    { class: "form" },
    field("API key", key, "Stays in this page, and goes to /v1 of this gateway alone. Empty where the gateway has no keys."),
    h("div", { class: "beside" }, field("Model", model), listing),
    field("System", system),
    field("User", user),
    field("At most, in tokens", most),
    h("div", { class: "tools" }, send, stop, state),
    problem,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  tellCurl();
  findAddress();
  root.append(
    h(
      "div",
      { class: "columns" },
      form,
      h(
        "div",
        {},
        h("h2", {}, "Answer"),
        output,
        h("dl", { class: "facts" }, names.map((name) => [h("dt", {}, name), values.get(name)])),
      ),
    ),
    h(
      "section",
      { class: "block" },
      h("div", { class: "block-head" }, h("h2", {}, "The same with curl"), copyButton("Copy", command, { class: "quiet" })),
      h("p", { class: "hint" }, "As a client asks, at the address of listen. MULBERRY_API_KEY holds the key."),
      command,
    ),
  );
  return () => running?.abort();
}
