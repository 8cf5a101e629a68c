// Models: the names that clients may ask for, and where each leads.

import { h } from "../dom.js";
import { list as listed, text } from "../format.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 10_000;

export const models = { id: "models", title: "Models", open };

const COLUMNS = [
  {
    title: "Model",
    cell: (row) => [text(row.name), row.aliases?.length > 0 && { text: `also ${listed(row.aliases)}`, small: true }],
    order: (row) => row.name,
  },
  {
    title: "Routes, in order",
    cell: (row) => (row.routes ?? []).map((route) => ({ text: routeOf(route, row) })),
  },
  { title: "Fallbacks", cell: (row) => listed(row.fallbacks) },
  { title: "Price / M tokens", cell: (row) => price(row.price) },
];

function routeOf(route, row) {
  const name = route.model && route.model !== row.name ? `${route.backend} as ${route.model}` : route.backend;
  const isOne = row.routes.length === 1;
  return isOne ? name : `${name} · priority ${route.priority}, weight ${route.weight}`;
}

function price(value) {
  if (!value) return "–";
  const amounts = ["prompt", "cached", "completion", "reasoning"]
    .filter((name) => value[name] !== null && value[name] !== undefined)
    .map((name) => ({ text: `${name} ${value[name]} ${text(value.currency)}` }));
  const request = value.request && Number(value.request) !== 0;
  return [...amounts, request && { text: `each request ${value.request} ${text(value.currency)}` }];
}

function open(root) {
  const list = table({
    label: "Models",
    columns: COLUMNS,
    key: (row) => row.name,
    empty: "The configuration names no model: every name goes to all backends, in order.",
  });
  const asking = following({ path: () => "models", every: EVERY_MS, update: ({ data }) => list.update(data), fail: list.fail });
  root.append(asking.problem, list.element, h("p", { class: "hint" }, "Models are changed in the configuration."));
  return asking.stop;
}
