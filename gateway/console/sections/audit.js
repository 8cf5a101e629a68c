// Audit: who changed what, the latest first.

import { h } from "../dom.js";
import { moment, text, utc, when } from "../format.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 5000;
const SHOWN = 200;

export const audit = { id: "audit", title: "Audit", open };

const COLUMNS = [
  {
    title: "Time",
    cell: (row) => ({ text: when(row.at_ms), title: utc(row.at_ms) }),
    order: (row) => moment(row.at_ms)?.getTime() ?? null,
  },
  { title: "Who", cell: (row) => text(row.actor), order: (row) => row.actor },
  { title: "Did", cell: (row) => text(row.action), order: (row) => row.action },
  { title: "To", cell: (row) => text(row.object), order: (row) => row.object },
  { title: "Detail", cell: (row) => details(row.detail) },
];

/** A line for each thing that was set or changed; what is empty in a new thing is left out. */
function details(detail) {
  if (typeof detail !== "object" || detail === null) return text(detail);
  const lines = Object.entries(detail).filter(([, value]) => !isEmpty(value));
  if (lines.length === 0) return "–";
  return lines.map(([name, value]) => ({ text: `${said(name)}: ${change(name, value)}`, small: true }));
}

const isEmpty = (value) =>
  value === null || value === false || (typeof value === "object" && Object.keys(value).length === 0);

/** Times are told as times. */
const isTime = (name) => name.endsWith("_ms");
const said = (name) => name.replace(/_ms$/, "").replaceAll("_", " ");

function change(name, value) {
  const isChange = typeof value === "object" && value !== null && "old" in value && "new" in value;
  return isChange ? `${one(name, value.old)} → ${one(name, value.new)}` : one(name, value);
}

function one(name, value) {
  if (value === null || value === undefined) return "none";
  if (isTime(name) && typeof value === "number") return when(value);
  if (Array.isArray(value)) return value.join(", ") || "none";
  if (typeof value !== "object") return String(value);
  return Object.entries(value).map(([key, part]) => `${key}=${part}`).join(", ") || "none";
}

function open(root) {
  const list = table({
    label: "Changes, the latest first",
    columns: COLUMNS,
    key: (row) => row.id ?? [row.at_ms, row.actor, row.action, row.object, JSON.stringify(row.detail)].join(" "),
    empty: "Nothing was changed yet.",
  });
  const asking = following({
    path: () => `audit?limit=${SHOWN}`,
    every: EVERY_MS,
    update: ({ data }) => list.update(data),
    fail: list.fail,
  });
  root.append(asking.problem, list.element, h("p", { class: "hint" }, `At most the latest ${SHOWN} changes.`));
  return asking.stop;
}
