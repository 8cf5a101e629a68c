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
  { title: "Detail", cell: (row) => ({ text: said(row.detail), small: true, mono: true }) },
];

function said(detail) {
  if (detail === null || detail === undefined || detail === "") return "–";
  return typeof detail === "string" ? detail : JSON.stringify(detail);
}

function open(root) {
  const list = table({
    label: "Changes, the latest first",
    columns: COLUMNS,
    key: (row) => row.id ?? [row.at_ms, row.actor, row.action, row.object, said(row.detail)].join(" "),
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
