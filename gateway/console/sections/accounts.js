// Accounts: who pays, as a tree of organisations, their teams and the keys of both; and money in and out.

import { accountForm } from "../account-form.js";
import { get, patch, post } from "../api.js";
import { confirm, form, open as openDialog } from "../dialog.js";
import { h, say } from "../dom.js";
import { field } from "../field.js";
import { plural, text, when } from "../format.js";
import { amount, money, read, size } from "../money.js";
import { notice } from "../notice.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 3000;
const MOVEMENTS = 100;

export const accounts = { id: "accounts", title: "Accounts", open };

const SPANS = [
  ["total", "in all"],
  ["day", "today"],
  ["month", "this month"],
];

const COLUMNS = [
  {
    title: "Account",
    cell: (row) => [
      { text: row.id, deep: row.depth },
      ...Object.entries(row.tags ?? {}).map(([name, value]) => ({ text: `${name}=${value}`, small: true, deep: row.depth })),
    ],
  },
  {
    title: "State",
    cell: (row) => ({ text: row.disabled ? "disabled" : "active", tone: row.disabled ? "warn" : "good", mark: true }),
  },
  { title: "Balance", cell: balance, end: true },
  {
    title: "Spent",
    cell: (row) => [
      money(row.spent?.total, row.currency),
      { text: `${amount(row.spent?.day)} today`, small: true },
      { text: `${amount(row.spent?.month)} this month`, small: true },
    ],
    end: true,
  },
  {
    title: "Held",
    cell: (row) => ({ text: amount(row.leased), title: "Set aside at gateways for requests that are under way or to come" }),
    end: true,
    minor: true,
  },
  { title: "Budgets", cell: budgets },
];

function balance(row) {
  if (row.level !== "organisation") return "–";
  const owes = typeof row.balance === "string" && row.balance.startsWith("-");
  const credit = row.credit === null ? "pays later" : size(row.credit) > 0 && `credit ${amount(row.credit)}`;
  return [{ text: money(row.balance, row.currency), tone: owes && row.credit !== null ? "warn" : undefined }, credit && { text: credit, small: true }];
}

function budgets(row) {
  const bars = SPANS.filter(([span]) => row.budget?.[span] != null).map(([span, said]) => {
    const spent = size(row.spent?.[span]);
    const bound = size(row.budget[span]);
    const isOver = spent >= bound;
    return {
      text: `${amount(row.spent?.[span])} of ${amount(row.budget[span])} ${said}`,
      small: true,
      tone: isOver ? "bad" : spent >= 0.8 * bound ? "warn" : undefined,
      // What is over its bound fills the bar and no more; of a bound of nothing there is nothing to draw.
      bar: { pieces: [[isOver ? "fill-over" : "fill-spent", Math.min(spent, bound)]], largest: bound },
    };
  });
  return bars.length > 0 ? bars : "none";
}

/** Parents before their children, with how deep each is. */
export function tree(rows) {
  const children = new Map();
  for (const row of rows) {
    const siblings = children.get(row.parent ?? null) ?? [];
    siblings.push(row);
    children.set(row.parent ?? null, siblings);
  }
  const known = new Set(rows.map((row) => row.id));
  const LEVELS = ["team", "key"];
  const below = (id, depth) =>
    (children.get(id) ?? [])
      .toSorted((a, b) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level) || a.id.localeCompare(b.id, "en", { numeric: true }))
      .flatMap((row) => [{ ...row, depth }, ...below(row.id, depth + 1)]);
  const orphans = rows.filter((row) => row.parent != null && !known.has(row.parent)).map((row) => ({ ...row, depth: 0 }));
  return [...below(null, 0), ...orphans];
}

const path = (id) => `accounts/${encodeURIComponent(id)}`;

function open(root) {
  const shown = h("p", { class: "hint" });
  const list = table({ label: "Accounts", columns: COLUMNS, key: (row) => row.id, empty: "No account yet. Make an organisation, and give keys to it.", actions });
  list.element.classList.add("many-actions");
  const asking = following({
    path: () => "accounts",
    every: EVERY_MS,
    update({ data }) {
      list.update(tree(data));
      const of = (level) => data.filter((row) => row.level === level).length;
      say(shown, `${plural(of("organisation"), "organisation")}, ${plural(of("team"), "team")}, ${plural(of("key"), "key")}`);
    },
    fail: list.fail,
  });

  function actions(row) {
    const act = (name, label, run) =>
      h("button", { type: "button", class: `quiet ${name}`, "aria-label": `${label} ${row().id}`, on: { click: run } }, label);
    if (row().level === "key") return [act("movements", "Charges", () => charges(row()))];
    const isOrganisation = row().level === "organisation";
    return [
      isOrganisation && act("deposit", "Deposit", () => move(row(), "deposits", "Deposit")),
      isOrganisation && act("withdraw", "Withdraw", () => move(row(), "withdrawals", "Withdraw")),
      isOrganisation && act("team", "Team", () => create(row())),
      act("edit", "Edit", () => edit(row())),
      isOrganisation && act("movements", "Movements", () => movements(row())),
      act("charges", "Charges", () => charges(row())),
    ].filter(Boolean);
  }

  /** @param organisation of a new team; null for a new organisation */
  async function create(organisation) {
    const asked = accountForm(null, organisation?.id ?? null);
    const made = await form({
      title: organisation ? `New team of ${organisation.id}` : "New organisation",
      fields: asked.fields,
      action: "Create",
      submit: () => post("accounts", asked.read()),
    });
    if (!made) return;
    notice(`Account ${made.id} created.`);
    asking.now();
  }

  async function edit(row) {
    const asked = accountForm(row, row.level === "team" ? row.parent : null);
    const changed = await form({
      title: `Edit ${row.id}`,
      fields: asked.fields,
      action: "Save",
      async submit() {
        const body = asked.read();
        if (body.disabled && !row.disabled && !(await agreed(row))) throw new Error("Nothing was changed.");
        return patch(path(row.id), body);
      },
    });
    if (!changed) return;
    notice(`Account ${row.id} changed, from the next request on.`);
    asking.now();
  }

  const agreed = (row) =>
    confirm({
      title: `Disable ${row.id}?`,
      text: "Every request that it would pay for is refused until it is enabled again.",
      action: "Disable",
    });

  async function move(row, kind, word) {
    const sum = h("input", { required: true, inputmode: "decimal", autocomplete: "off", autofocus: true });
    const memo = h("input", { maxlength: 256, autocomplete: "off" });
    // Said again with the same id it is done once, whatever became of the first answer.
    const id = crypto.getRandomValues(new Uint32Array(3)).join("-");
    const done = await form({
      title: `${word}: ${row.id}`,
      fields: [
        h("p", {}, `The balance is ${money(row.balance, row.currency)}.`),
        field(`Amount in ${row.currency}`, sum, "Such as 25 or 0.50."),
        field("Memo", memo, "For people: an invoice, a reason."),
      ],
      action: word,
      submit: () =>
        post(`${path(row.id)}/${kind}`, {
          id,
          amount: read(sum, "The amount") ?? "0",
          currency: row.currency,
          memo: memo.value.trim() || null,
        }),
    });
    if (!done) return;
    notice(`${row.id}: the balance is now ${money(done.balance, done.currency)}.`);
    asking.now();
  }

  async function movements(row) {
    const columns = [
      { title: "Time", cell: (entry) => when(entry.at) },
      { title: "What", cell: (entry) => [entry.kind, entry.memo && { text: entry.memo, small: true }] },
      { title: "From", cell: (entry) => text(entry.debit) },
      { title: "To", cell: (entry) => text(entry.credit) },
      { title: "Amount", cell: (entry) => money(entry.amount, entry.currency), end: true },
    ];
    await told(`Movements of ${row.id}`, `${path(row.id)}/transfers?movements=true&limit=${MOVEMENTS}`, columns, "Nothing was moved yet.");
  }

  async function charges(row) {
    const columns = [
      { title: "Time", cell: (entry) => when(entry.at) },
      { title: "Request", cell: (entry) => ({ text: text(entry.request_id), mono: true, small: true }) },
      { title: "Model", cell: (entry) => [text(entry.model), entry.key && { text: entry.key, small: true }] },
      { title: "End", cell: (entry) => (entry.kind === "refund" ? "refund" : text(entry.end)) },
      { title: "Amount", cell: (entry) => money(entry.amount, entry.currency), end: true },
    ];
    await told(`Charges of ${row.id}`, `${path(row.id)}/charges?limit=${MOVEMENTS}`, columns, "Nothing was charged yet.");
  }

  /** A list in a dialog, as it is now. */
  async function told(title, from, columns, empty) {
    const entries = table({ label: title, columns, key: (entry) => entry.number, empty });
    const close = h("button", { type: "button", autofocus: true, on: { click: () => dialog.close() } }, "Close");
    const dialog = openDialog({
      title,
      content: h("div", {}, entries.element, h("p", { class: "hint" }, `At most the latest ${MOVEMENTS}.`), h("div", { class: "dialog-actions" }, close)),
    });
    dialog.element.classList.add("broad");
    try {
      entries.update((await get(from)).data);
    } catch (error) {
      entries.fail(error.message);
    }
    await dialog.closed;
  }

  root.append(
    h(
      "div",
      { class: "tools" },
      h("button", { type: "button", class: "primary", on: { click: () => create(null) } }, "New organisation"),
      shown,
    ),
    asking.problem,
    list.element,
    h("p", { class: "hint" }, "Keys are here once they have an account or a budget; both are set where the key is. Days and months are UTC's."),
  );
  return asking.stop;
}
