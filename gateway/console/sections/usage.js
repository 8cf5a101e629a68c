// Usage: what was used, by whom or of what, over days.

import { bar } from "../chart.js";
import { csv, download } from "../csv.js";
import { h, say } from "../dom.js";
import { choice, field } from "../field.js";
import { count, plural, text } from "../format.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 30_000;
const CLASSES = ["prompt", "cached", "completion", "reasoning"];

export const usage = { id: "usage", title: "Usage", open };

const GROUPS = [
  ["model", "Model"],
  ["key", "Key"],
  ["day", "Day"],
  ["upstream", "Upstream"],
];
const DAYS = [
  ["1", "The last day"],
  ["7", "7 days"],
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "365 days"],
];

const total = (row) => CLASSES.reduce((sum, name) => sum + (row[name] ?? 0), 0);

/** @param by what the first column says */
const columns = (by) => [
  { title: by, cell: (row) => text(row.group), order: (row) => row.group },
  number("Requests", "requests"),
  {
    title: "Failures",
    cell: (row) => ({ text: count(row.failures), tone: row.failures > 0 ? "bad" : undefined }),
    order: (row) => row.failures,
    end: true,
  },
  number("Prompt", "prompt"),
  number("Cached", "cached"),
  number("Completion", "completion"),
  number("Reasoning", "reasoning"),
  { title: "All tokens", cell: (row) => count(total(row)), order: total, end: true },
  number("Estimated", "estimated"),
];

function number(title, name) {
  return { title, cell: (row) => count(row[name]), order: (row) => row[name], end: true };
}

function open(root) {
  let rows = [];
  const group = choice({ on: { change: regroup } }, GROUPS, "model");
  const days = choice({ on: { change } }, DAYS, "30");
  const save = h("button", { type: "button", disabled: true, on: { click: write } }, "Download CSV");
  const sums = h("p", { class: "hint" });
  const bars = h("div", { class: "bars" });
  const place = h("div", {});
  let list;
  const path = () => `usage?by=${group.value}&days=${days.value}`;
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
    fail: (why) => list.fail(why),
  });

  /** A table anew, because the first column is another one. */
  function start() {
    const by = GROUPS.find(([value]) => value === group.value)[1];
    list = table({ label: "Usage", columns: columns(by), key: (row) => text(row.group), empty: "Nothing was used in this time." });
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
    const requests = rows.reduce((sum, row) => sum + row.requests, 0);
    const tokens = rows.reduce((sum, row) => sum + total(row), 0);
    say(sums, `${plural(requests, "request")}, ${plural(tokens, "token")}`);
    const shown = drawn();
    const largest = Math.max(0, ...shown.map(total));
    bars.replaceChildren(
      ...shown.map((row) =>
        h(
          "div",
          { class: "bar-row" },
          h("span", { class: "bar-name" }, text(row.group)),
          bar(CLASSES.map((name) => [`fill-${name}`, row[name] ?? 0]), largest),
          h("span", { class: "bar-value" }, count(total(row))),
        ),
      ),
    );
  }

  /** The latest days in their order; of everything else the largest. */
  function drawn() {
    if (group.value !== "day") return rows.toSorted((a, b) => total(b) - total(a)).slice(0, BARS);
    return rows.toSorted((a, b) => String(a.group).localeCompare(String(b.group))).slice(-BARS);
  }

  function write() {
    const names = ["requests", "failures", ...CLASSES, "estimated"];
    const text = csv([group.value, ...names], rows.map((row) => [row.group, ...names.map((name) => row[name])]));
    download(`mulberry-usage-by-${group.value}-${days.value}-days.csv`, text);
  }

  const legend = h("ul", { class: "legend" }, CLASSES.map((name) => h("li", {}, h("span", { class: `swatch fill-${name}` }), name)));
  root.append(
    h("div", { class: "tools" }, field("By", group), field("Over", days), save, sums),
    asking.problem,
    h("section", { class: "block", "aria-label": "Tokens" }, h("div", { class: "block-head" }, h("h2", {}, "Tokens"), legend), bars),
    place,
    h("p", { class: "hint" }, "Estimated are the requests whose tokens the gateway counted itself, because the upstream told none."),
  );
  start();
  return asking.stop;
}

/** As many as help the eye; the table below has all. */
const BARS = 31;
