// The fields of an API key, and what they say as the admin API takes it. What is left empty is without limit.

import { budgetForm } from "./account-form.js";
import { h } from "./dom.js";
import { check, choice, field } from "./field.js";
import { moment } from "./format.js";
import { pairs } from "./tags.js";

const TIERS = [
  ["open", "open: whoever runs the machine can read prompts"],
  ["tee", "tee: the processor keeps prompts from its owner"],
  ["tee+gpu", "tee+gpu: processor and GPU do"],
];

/**
 * @param key what is edited; null for a new one
 * @returns {{ fields: Node[], read(): object }} `read` throws what is wrong, in words
 */
export function keyForm(key) {
  const limits = key?.limits ?? {};
  const name = h("input", { required: true, maxlength: 128, autocomplete: "off", spellcheck: "false", autofocus: true });
  const owner = h("input", { autocomplete: "off", value: key?.owner ?? "", autofocus: key !== null });
  const models = h("input", { autocomplete: "off", spellcheck: "false", value: (key?.models ?? ["*"]).join(", ") });
  const tier = choice({}, TIERS, key?.min_tier ?? "open");
  const requests = limit(limits.requests_per_minute);
  const tokens = limit(limits.tokens_per_minute);
  const concurrency = limit(limits.concurrency);
  const account = h("input", { autocomplete: "off", spellcheck: "false", value: key?.account ?? "" });
  const budget = budgetForm(key?.budget);
  const expires = h("input", { type: "datetime-local", step: 1, value: local(key?.expires) });
  const disabled = h("input", { type: "checkbox", checked: Boolean(key?.disabled) });
  const lines = Object.entries(key?.tags ?? {}).map(([tag, value]) => `${tag}=${value}`);
  const tags = h("textarea", { rows: 2, spellcheck: "false", value: lines.join("\n") });

  const fields = [
    key === null && field("Name", name, "As it stands in usage and audit; it cannot be changed later."),
    field("Owner", owner, "Who answers for it."),
    field("Models", models, "Names, or the beginning of names and one *; with commas between them."),
    field("Least tier", tier),
    h(
      "fieldset",
      {},
      h("legend", {}, "Limits; empty is without"),
      field("Requests / min", requests),
      field("Tokens / min", tokens),
      field("At a time", concurrency),
    ),
    field("Account", account, "Who pays: org:NAME or team:ORGANISATION/TEAM. Empty is org:default where there is a budget, else nobody."),
    budget.fields,
    field("Expires", expires, "In the time of this machine; empty is never."),
    field("Tags", tags, "One a line, as name=value."),
    key !== null && check("Disabled", disabled),
  ].filter(Boolean);

  function read() {
    const body = {
      owner: owner.value.trim() || null,
      models: names(models.value),
      min_tier: tier.value,
      limits: {
        requests_per_minute: amount(requests),
        tokens_per_minute: amount(tokens),
        concurrency: amount(concurrency),
      },
      account: account.value.trim() || null,
      budget: budget.read(),
      // Seconds are as fine as the API is.
      expires: expires.value ? new Date(expires.value).toISOString().replace(/\.\d+Z$/, "Z") : null,
      tags: pairs(tags.value),
    };
    return key === null ? { name: name.value.trim(), ...body } : { ...body, disabled: disabled.checked };
  }

  return { fields, read };
}

const limit = (value) => h("input", { type: "number", min: 1, max: 4_294_967_295, step: 1, value: value ?? "" });
const amount = (input) => (input.value === "" ? null : Number(input.value));

function names(value) {
  const found = value.split(",").map((name) => name.trim()).filter(Boolean);
  if (found.length === 0) throw new Error("Name at least one model, or * for every model.");
  return found;
}

/** A moment as the control takes it: local time, without a zone. */
function local(value) {
  const date = moment(value);
  if (!date) return "";
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19);
}
