// Spend: what was paid, for what and by whom, over days. Each currency for itself.

import { bar } from "../chart.js";
import { csv, download } from "../csv.js";
import { h, say } from "../dom.js";
import { choice, field } from "../field.js";
import { count, plural, text } from "../format.js";
import { amount, money, size } from "../money.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 30_000;
/** As many as help the eye; the table below has all. */
const BARS = 31;

export const spend = { id: "spend", title: "Spend", open };

const GROUPS = [
  ["day", "Day"],
  ["model", "Model"],
  ["key", "Key"],
  ["team", "Team"],
  ["org", "Organisation"],
];
const DAYS = [
  ["1", "The last day"],
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "365 days"],
];
const COUNTS = ["requests", "prompt", "cached", "completion", "reasoning"];

const columns = (by) => [
  { title: by, cell: (row) => text(row.group), order: (row) => row.group },
  { title: "Spent", cell: (row) => money(row.amount, row.currency), order: (row) => size(row.amount), end: true },
  { title: "Of it fees", cell: (row) => amount(row.fee), order: (row) => size(row.fee), end: true, minor: true },
  ...COUNTS.map((name) => ({
    title: name[0].toUpperCase() + name.slice(1),
    cell: (row) => count(row[name]),
    order: (row) => row[name],
    end: true,
  })),
];

function open(root) {
  let rows = [];
  const group = choice({ on: { change: regroup } }, GROUPS, "day");
  const days = choice({ on: { change } }, DAYS, "30");
  const account = h("input", { placeholder: "org:acme", autocomplete: "off", spellcheck: "false", on: { change } });
  const save = h("button", { type: "button", disabled: true, on: { click: write } }, "Download CSV");
  const sums = h("p", { class: "hint" });
  const charts = h("div", {});
  const place = h("div", {});
  let list;
  const path = () => {
    const of = account.value.trim();
    return `spend?by=${group.value}&days=${days.value}${of ? `&account=${encodeURIComponent(of)}` : ""}`;
  };
  let asked = path();
  const asking = following({
    path: () => (asked = path()),
    every: EVERY_MS,
    update({ data }) {
      // The answer to a question that is no longer asked.
      if (asked !== path()) return;
      rows = data;
      draw();
    },
    fail(why) {
      rows = [];
      list.update(rows);
      list.fail(why);
      charts.replaceChildren();
      say(sums, "");
    },
  });

  /** A table anew, because the first column is another one. */
  function start() {
    const by = GROUPS.find(([value]) => value === group.value)[1];
    list = table({ label: "Spend", columns: columns(by), key: (row) => `${row.currency} ${text(row.group)}`, empty: "Nothing was spent in this time." });
    place.replaceChildren(list.element);
  }

  function change() {
    // What is shown is the answer to another question, until this one is answered.
    save.disabled = true;
    asking.now();
  }

  function regroup() {
    start();
    change();
  }

  function draw() {
    list.update(rows);
    save.disabled = rows.length === 0;
    say(sums, plural(rows.reduce((sum, row) => sum + row.requests, 0), "request"));
    const currencies = [...new Set(rows.map((row) => row.currency))];
    charts.replaceChildren(...currencies.map((currency) => chart(currency, rows.filter((row) => row.currency === currency))));
  }

  function chart(currency, all) {
    const shown = drawn(all);
    const largest = Math.max(0, ...shown.map((row) => size(row.amount)));
    const bars = shown.map((row) =>
      h(
        "div",
        { class: "bar-row" },
        h("span", { class: "bar-name" }, text(row.group)),
        bar([["fill-spent", size(row.amount)]], largest),
        h("span", { class: "bar-value" }, amount(row.amount)),
      ),
    );
    return h("section", { class: "block", "aria-label": `Spent in ${currency}` }, h("h2", {}, `Spent in ${currency}`), h("div", { class: "bars" }, bars));
  }

  /** The latest days in their order; of everything else the largest. */
  function drawn(all) {
    if (group.value !== "day") return all.toSorted((a, b) => size(b.amount) - size(a.amount)).slice(0, BARS);
    return all.toSorted((a, b) => String(a.group).localeCompare(String(b.group))).slice(-BARS);
  }

  function write() {
    const names = ["currency", "amount", "fee", ...COUNTS];
    const file = csv([group.value, ...names], rows.map((row) => [row.group, ...names.map((name) => row[name])]));
    download(`mulberry-spend-by-${group.value}-${days.value}-days.csv`, file);
  }

  root.append(
    h("div", { class: "tools" }, field("By", group), field("Over", days), field("Account", account), save, sums),
    asking.problem,
    charts,
    place,
    h("p", { class: "hint" }, "From the ledger: what accounts paid, less what they were given back. Requests without an account are in Usage only."),
  );
  start();
  return asking.stop;
}
