// Config: what the gateway runs on, and reloading it. A refused file says why, word for word.

import { post } from "../api.js";
import { copyButton } from "../copy.js";
import { h, say } from "../dom.js";
import { list as listed, short, text, when } from "../format.js";
import { following } from "../section.js";

const EVERY_MS = 5000;

export const config = { id: "config", title: "Configuration", open };

function open(root) {
  const yaml = h("pre", { class: "code", tabindex: 0, role: "region", "aria-label": "The configuration in use" });
  const names = ["File", "Hash", "Loaded", "Needs a restart"];
  const facts = names.map(() => h("dd", {}, "–"));
  const refused = h("pre", { class: "code bad", tabindex: 0, role: "region", "aria-label": "Why the file was refused" });
  const refusal = h(
    "section",
    { class: "block", hidden: true },
    h("h2", {}, "The file was refused, the old configuration serves"),
    refused,
  );
  const outcome = h("p", { class: "outcome", role: "status" });
  const button = h("button", { type: "button", class: "primary", on: { click: reload } }, "Reload the file");
  const asking = following({ path: () => "config", every: EVERY_MS, update });

  function update(answer) {
    say(facts[0], text(answer.file));
    say(facts[1], short(answer.hash));
    facts[1].title = text(answer.hash);
    say(facts[2], when(answer.loaded_at));
    const waiting = answer.needs_restart ?? [];
    say(facts[3], waiting.length > 0 ? `changed, and takes effect at the next start: ${listed(waiting)}` : "nothing");
    say(yaml, text(answer.yaml));
    tellRefusal(answer.last_error);
  }

  function tellRefusal(message) {
    refusal.hidden = !message;
    say(refused, message ?? "");
  }

  async function reload() {
    button.disabled = true;
    outcome.textContent = "";
    try {
      const { hash, changed, needs_restart: waiting } = await post("reload");
      const what = changed?.length > 0 ? `Changed: ${listed(changed)}.` : "Nothing in it changed.";
      const later = waiting?.length > 0 ? ` At the next start: ${listed(waiting)}.` : "";
      outcome.textContent = `Loaded ${short(hash)}. ${what}${later}`;
      tellRefusal(null);
    } catch (error) {
      if (error.status === 422) {
        outcome.textContent = "The file was refused; nothing changed.";
        tellRefusal(error.message);
      } else {
        outcome.textContent = error.message;
      }
    } finally {
      button.disabled = false;
      asking.now();
    }
  }

  root.append(
    h("dl", { class: "facts" }, names.map((name, at) => [h("dt", {}, name), facts[at]])),
    h("div", { class: "tools" }, button, outcome),
    asking.problem,
    refusal,
    h(
      "section",
      { class: "block" },
      h("div", { class: "block-head" }, h("h2", {}, "In use"), copyButton("Copy", yaml, { class: "quiet" })),
      h("p", { class: "hint" }, "With all defaults written out. Secrets are shown as ***."),
      yaml,
    ),
  );
  return asking.stop;
}
