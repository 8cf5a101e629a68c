// Upstreams: which are in use, and why the others are not.

import { h, say } from "../dom.js";
import { count, duration, list as listed, plural, text } from "../format.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 2000;

export const upstreams = { id: "upstreams", title: "Upstreams", open };

const BREAKER = { closed: "good", open: "bad", probation: "warn" };

const COLUMNS = [
  {
    title: "Upstream",
    cell: (row) => [text(row.name), { text: text(row.url), small: true, mono: true }],
    order: (row) => row.name,
  },
  {
    title: "Backend",
    cell: (row) => [text(row.backend), { text: `${text(row.kind)}, tier ${text(row.tier)}`, small: true }],
    order: (row) => row.backend,
  },
  {
    title: "In use",
    cell: (row) => [
      { text: row.in_use ? "in use" : "not in use", tone: row.in_use ? "good" : "bad", mark: true },
      row.why && { text: row.why, small: true },
    ],
    order: (row) => (row.in_use ? 1 : 0),
  },
  {
    title: "Health",
    cell: (row) => ({ text: text(row.health), tone: row.health === "up" ? "good" : "bad" }),
    order: (row) => row.health,
  },
  {
    title: "Breaker",
    cell: (row) => ({ text: text(row.breaker), tone: BREAKER[row.breaker] }),
    order: (row) => row.breaker,
  },
  {
    title: "In flight",
    cell: (row) => [count(row.outstanding), row.waiting > 0 && { text: `${count(row.waiting)} waiting`, tone: "warn", small: true }],
    order: (row) => row.outstanding,
    end: true,
  },
  {
    title: "Attempts",
    cell: (row) => [count(row.attempts), row.failures > 0 && { text: `${count(row.failures)} failed`, small: true }],
    order: (row) => row.attempts,
    end: true,
  },
  {
    title: "Over-claims",
    cell: (row) => [
      { text: count(row.overclaims), tone: row.overclaims > 0 ? "bad" : undefined },
      row.misstatements > 0 && { text: `${count(row.misstatements)} misstated`, tone: "bad", small: true },
      row.overclaimed_tokens > 0 && { text: `${count(row.overclaimed_tokens)} tokens`, small: true },
    ],
    order: (row) => row.overclaims,
    end: true,
  },
  { title: "Latency", cell: (row) => duration(row.latency_ms), order: (row) => row.latency_ms, end: true },
  { title: "Models", cell: (row) => models(row.models) },
];

/** The first few, with all of them in the title. */
function models(ids) {
  if (!Array.isArray(ids) || ids.length === 0) return { text: "none listed", tone: "dim", small: true };
  const FEW = 3;
  const more = ids.length > FEW ? ` and ${ids.length - FEW} more` : "";
  return { text: listed(ids.slice(0, FEW)) + more, title: ids.join("\n"), small: true, mono: true };
}

function open(root) {
  const shown = h("p", { class: "hint" }, " ");
  const list = table({
    label: "Upstreams",
    columns: COLUMNS,
    key: (row) => `${row.backend} ${row.name}`,
    empty: "The configuration names no upstream.",
  });
  const asking = following({
    path: () => "upstreams",
    every: EVERY_MS,
    update({ data }) {
      list.update(data);
      const used = data.filter((row) => row.in_use).length;
      say(shown, `${count(used)} of ${plural(data.length, "upstream")} in use`);
    },
    fail: list.fail,
  });
  root.append(h("div", { class: "tools" }, shown), asking.problem, list.element);
  return asking.stop;
}
