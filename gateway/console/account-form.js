// The fields of an account, and what they say as the admin API takes it. A bound that is left empty is none.

import { h } from "./dom.js";
import { check, choice, field } from "./field.js";
import { read as amountOf, written } from "./money.js";
import { pairs } from "./tags.js";

const bounded = (value) => h("input", { inputmode: "decimal", autocomplete: "off", spellcheck: "false", value: written(value) });

/** The three bounds of a budget, for accounts and for keys. */
export function budgetForm(budget) {
  const total = bounded(budget?.total);
  const day = bounded(budget?.day);
  const month = bounded(budget?.month);
  const fields = h(
    "fieldset",
    {},
    h("legend", {}, "Budget in units of its currency; empty is without"),
    field("In all", total),
    field("A day (UTC)", day),
    field("A month (UTC)", month),
  );
  return {
    fields,
    read: () => ({
      total: amountOf(total, "The budget in all"),
      day: amountOf(day, "The budget a day"),
      month: amountOf(month, "The budget a month"),
    }),
  };
}

/**
 * @param account what is edited; null for a new one
 * @param organisation the organisation of a new team; null for a new organisation
 * @returns {{ fields: Node[], read(): object }} `read` throws what is wrong, in words
 */
export function accountForm(account, organisation) {
  const isNew = account === null;
  const isTeam = organisation !== null;
  const name = h("input", { required: true, maxlength: 128, pattern: "[A-Za-z0-9._\\-]+", autocomplete: "off", spellcheck: "false", autofocus: true });
  const currency = h("input", { maxlength: 3, pattern: "[A-Z]{3}", placeholder: "USD", autocomplete: "off", spellcheck: "false" });
  const paying = choice(
    { autofocus: !isNew },
    [
      ["before", "before: it spends what was deposited, and its credit"],
      ["after", "after: it may owe without bound"],
    ],
    isNew || account.credit !== null ? "before" : "after",
  );
  const credit = bounded(account?.credit === "0.000000000" ? null : account?.credit);
  const budget = budgetForm(account?.budget);
  const lines = Object.entries(account?.tags ?? {}).map(([tag, value]) => `${tag}=${value}`);
  const tags = h("textarea", { rows: 2, spellcheck: "false", value: lines.join("\n") });
  const disabled = h("input", { type: "checkbox", checked: Boolean(account?.disabled) });

  const fields = [
    isNew && field("Name", name, isTeam ? `A team of ${organisation}.` : "Letters, digits and -_. ; it cannot be changed later."),
    isNew && !isTeam && field("Currency", currency, "Three capital letters; it cannot be changed later. Empty is the ledger's own."),
    !isTeam && field("Pays", paying),
    !isTeam && field("Credit", credit, "What it may owe beyond its deposits, where it pays before."),
    budget.fields,
    field("Tags", tags, "One a line, as name=value."),
    !isNew && check("Disabled", disabled),
  ].filter(Boolean);

  function read() {
    const body = { budget: budget.read(), tags: pairs(tags.value) };
    if (!isTeam) body.credit = paying.value === "after" ? null : (amountOf(credit, "The credit") ?? "0");
    if (!isNew) return { ...body, disabled: disabled.checked };
    if (!isTeam && currency.value.trim()) body.currency = currency.value.trim();
    const id = isTeam ? `team:${organisation.slice("org:".length)}/${name.value.trim()}` : `org:${name.value.trim()}`;
    return { id, ...body };
  }

  return { fields, read };
}
