// Requests: the latest records, which hold no content.

import { choice, field } from "../field.js";
import { open as openDialog } from "../dialog.js";
import { h, say } from "../dom.js";
import { clock, count, duration, plural, text, utc, when } from "../format.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 2000;
const SHOWN = 100;

export const requests = { id: "requests", title: "Requests", open };

const isWell = (row) => row.end === "complete";
const tone = (row) => (isWell(row) ? "good" : row.end === "cancelled" ? "warn" : "bad");

const COLUMNS = [
  {
    title: "Time",
    cell: (row) => ({ text: clock(row.started_at_ms), title: utc(row.started_at_ms) }),
    order: (row) => row.started_at_ms,
  },
  { title: "Model", cell: (row) => text(row.model), order: (row) => row.model },
  { title: "Key", cell: (row) => text(row.key), order: (row) => row.key, minor: true },
  {
    title: "Upstream",
    cell: (row) => [text(row.upstream), row.attempts > 1 && { text: plural(row.attempts, "attempt"), tone: "warn", small: true }],
    order: (row) => row.upstream,
    minor: true,
  },
  {
    title: "End",
    cell: (row) => [
      { text: `${text(row.status)} ${text(row.end)}`, tone: tone(row), mark: true },
      row.error_code && { text: row.error_code, small: true, mono: true },
    ],
    order: (row) => row.end,
  },
  { title: "In", cell: (row) => count(input(row)), order: input, end: true, minor: true },
  { title: "Out", cell: (row) => count(output(row)), order: output, end: true, minor: true },
  {
    title: "Cost",
    cell: (row) => (row.cost ? { text: row.cost, title: row.currency, mono: true } : text(row.cost)),
    order: (row) => Number(row.cost ?? 0),
    end: true,
    minor: true,
  },
  { title: "First token", cell: (row) => duration(row.ttft_ms), order: (row) => row.ttft_ms, end: true, minor: true },
  { title: "Duration", cell: (row) => duration(row.duration_ms), order: (row) => row.duration_ms, end: true },
];

function input(row) {
  return row.usage ? row.usage.prompt + row.usage.cached : null;
}
function output(row) {
  return row.usage ? row.usage.completion + row.usage.reasoning : null;
}

function open(root) {
  let rows = [];
  let isPaused = false;
  const words = h("input", { type: "search", autocomplete: "off", spellcheck: "false", on: { input: draw } });
  const ends = choice({ on: { change: draw } }, [
    ["all", "All"],
    ["well", "Complete"],
    ["not", "Not complete"],
  ]);
  const pause = h("button", { type: "button", "aria-pressed": "false", on: { click: turn } }, "Pause");
  const shown = h("p", { class: "hint" });
  const list = table({
    label: "The latest requests",
    columns: COLUMNS,
    key: (row) => row.request_id,
    empty: "No request yet.",
    actions: (row) => [
      h(
        "button",
        { type: "button", class: "quiet", "aria-label": `Details of ${row().request_id}`, on: { click: () => detail(row()) } },
        "Details",
      ),
    ],
  });
  const asking = following({
    path: () => `requests?limit=${SHOWN}`,
    every: EVERY_MS,
    update(answer) {
      if (isPaused) return;
      rows = answer.data;
      draw();
    },
    fail: list.fail,
  });

  function turn() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    say(pause, isPaused ? "Go on" : "Pause");
    if (!isPaused) asking.now();
    draw();
  }

  function draw() {
    const wanted = words.value.trim().toLowerCase();
    const fits = (row) =>
      (ends.value === "all" || isWell(row) === (ends.value === "well")) &&
      [row.request_id, row.model, row.key, row.upstream, row.endpoint, row.end, row.error_code, row.status]
        .some((value) => String(value ?? "").toLowerCase().includes(wanted));
    const kept = rows.filter(fits);
    list.update(kept);
    if (kept.length === 0 && rows.length > 0) list.fail("No request among the latest fits the filter.");
    say(shown, `${count(kept.length)} of the latest ${plural(rows.length, "request")}${isPaused ? ", paused" : ""}`);
  }

  root.append(
    h("div", { class: "tools" }, field("Filter", words), field("End", ends), pause, shown),
    asking.problem,
    list.element,
  );
  return asking.stop;
}

function detail(row) {
  const usage = row.usage ?? {};
  const facts = [
    ["Request", text(row.request_id)],
    ["Started", `${when(row.started_at_ms)}`],
    ["UTC", utc(row.started_at_ms).replace(" (UTC)", "")],
    ["Key", text(row.key)],
    ["Endpoint", text(row.endpoint)],
    ["Model", text(row.model)],
    ["Upstream", text(row.upstream)],
    ["Attempts", count(row.attempts)],
    ["Status", text(row.status)],
    ["End", text(row.end)],
    ["Error", text(row.error_code)],
    ["Stream", row.stream ? "yes" : "no"],
    ["First token", duration(row.ttft_ms)],
    ["Duration", duration(row.duration_ms)],
    ["Prompt tokens", count(usage.prompt)],
    ["Cached tokens", count(usage.cached)],
    ["Completion tokens", count(usage.completion)],
    ["Reasoning tokens", count(usage.reasoning)],
    ["Cost", row.cost ? `${row.cost} ${row.currency}` : text(row.cost)],
  ];
  const shut = h("button", { type: "button", on: { click: () => dialog.close() } }, "Close");
  const content = h(
    "div",
    {},
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("div", { class: "dialog-actions" }, shut),
  );
  const dialog = openDialog({ title: "Request", content });
}
