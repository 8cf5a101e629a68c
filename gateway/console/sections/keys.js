// Keys: what each may use and does use now, and everything that can be done with one.

import { patch, post, remove } from "../api.js";
import { confirm, form } from "../dialog.js";
import { h, say } from "../dom.js";
import { choice, field } from "../field.js";
import { count, day, list as listed, moment, plural, text, utc } from "../format.js";
import { keyForm } from "../key-form.js";
import { showSecret } from "../key-secret.js";
import { notice } from "../notice.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 3000;

export const keys = { id: "keys", title: "Keys", open };

/** @returns {["active" | "disabled" | "expired" | "revoked", string]} and its tone */
function standing(row) {
  if (row.revoked_at) return ["revoked", "bad"];
  if (row.disabled) return ["disabled", "warn"];
  const expires = moment(row.expires);
  if (expires && expires <= new Date()) return ["expired", "bad"];
  return ["active", "good"];
}

const of = (now, limit) => (limit ? `${count(now)} of ${count(limit)}` : count(now));
/** Near the limit is worth a look; at it, requests are refused. */
function pressure(now, limit) {
  if (!limit || typeof now !== "number") return undefined;
  return now >= limit ? "bad" : now >= 0.8 * limit ? "warn" : undefined;
}
const used = (now, limit) => ({ text: of(now, limit), tone: pressure(now, limit) });

const COLUMNS = [
  {
    title: "Key",
    cell: (row) => [text(row.name), row.owner && { text: row.owner, small: true }],
    order: (row) => row.name,
  },
  {
    title: "State",
    cell: (row) => {
      const [state, tone] = standing(row);
      return [{ text: state, tone, mark: true }, { text: `from the ${row.source}`, small: true }];
    },
    order: (row) => standing(row)[0],
  },
  {
    title: "May use",
    cell: (row) => [
      row.models?.length === 1 && row.models[0] === "*" ? "every model" : listed(row.models),
      row.min_tier && row.min_tier !== "open" && { text: `tier ${row.min_tier} at least`, small: true },
    ],
  },
  {
    title: "Requests / min",
    cell: (row) => used(row.now?.requests, row.limits?.requests_per_minute),
    order: (row) => row.now?.requests,
    end: true,
  },
  {
    title: "Tokens / min",
    cell: (row) => used(row.now?.tokens, row.limits?.tokens_per_minute),
    order: (row) => row.now?.tokens,
    end: true,
  },
  {
    title: "In flight",
    cell: (row) => used(row.now?.in_flight, row.limits?.concurrency),
    order: (row) => row.now?.in_flight,
    end: true,
  },
  {
    title: "Expires",
    cell: (row) => ({ text: row.expires ? day(row.expires) : "never", title: row.expires ? utc(row.expires) : undefined }),
    order: (row) => moment(row.expires)?.getTime() ?? Number.MAX_SAFE_INTEGER,
  },
];

function open(root) {
  let all = [];
  const words = h("input", { type: "search", autocomplete: "off", spellcheck: "false", on: { input: draw } });
  const revoked = h("input", { type: "checkbox", id: "show-revoked", on: { change: draw } });
  const shown = h("p", { class: "hint" });
  const list = table({ label: "API keys", columns: COLUMNS, key: (row) => row.name, empty: "No API key yet.", actions });
  const asking = following({
    path: () => "keys",
    every: EVERY_MS,
    update({ data }) {
      all = data;
      draw();
    },
    fail: list.fail,
  });

  function draw() {
    const wanted = words.value.trim().toLowerCase();
    const fits = (row) =>
      (revoked.checked || !row.revoked_at) &&
      [row.name, row.owner, ...(row.models ?? []), ...Object.entries(row.tags ?? {}).flat()].some((value) =>
        String(value ?? "").toLowerCase().includes(wanted),
      );
    const kept = all.filter(fits);
    list.update(kept);
    if (kept.length === 0 && all.length > 0) list.fail("No key fits the filter.");
    const hidden = all.filter((row) => row.revoked_at).length;
    const note = hidden > 0 && !revoked.checked ? `, ${count(hidden)} revoked not shown` : "";
    say(shown, `${plural(kept.length, "key")}${note}`);
  }

  function actions(row) {
    if (row().source === "file") {
      return [h("span", { class: "hint" }, "In the file: change it there, then reload.")];
    }
    if (row().revoked_at) return [];
    const act = (name, label, run) =>
      h("button", { type: "button", class: `quiet ${name}`, "aria-label": `${label} ${row().name}`, on: { click: run } }, label);
    return [
      act("edit", "Edit", () => edit(row())),
      act("rotate", "Rotate", () => rotate(row())),
      act("revoke", "Revoke", () => revoke(row())),
    ];
  }

  async function create() {
    const asked = keyForm(null);
    const made = await form({
      title: "New key",
      fields: asked.fields,
      action: "Create",
      submit: () => post("keys", asked.read()),
    });
    if (!made) return;
    asking.now();
    await showSecret({ title: `The key ${made.key.name}`, secret: made.secret });
    notice(`Key ${made.key.name} created.`);
  }

  async function edit(row) {
    const asked = keyForm(row);
    const changed = await form({
      title: `Edit ${row.name}`,
      fields: asked.fields,
      action: "Save",
      submit: () => patch(`keys/${encodeURIComponent(row.name)}`, asked.read()),
    });
    if (!changed) return;
    notice(`Key ${row.name} changed, from its next request on.`);
    asking.now();
  }

  async function rotate(row) {
    const grace = choice(
      {},
      [
        ["0s", "Not at all"],
        ["1h", "For an hour"],
        ["24h", "For a day"],
        ["7d", "For a week"],
      ],
      "24h",
    );
    const made = await form({
      title: `Rotate ${row.name}`,
      fields: [
        h("p", {}, "The key gets a new secret. Its name, its limits and what it may use stay."),
        field("The old secret still works", grace),
      ],
      action: "Rotate",
      submit: () => post(`keys/${encodeURIComponent(row.name)}/rotate`, { grace: grace.value }),
    });
    if (!made) return;
    asking.now();
    await showSecret({ title: `The new secret of ${row.name}`, secret: made.secret, until: made.old_valid_until });
    notice(`Key ${row.name} rotated.`);
  }

  async function revoke(row) {
    const isAgreed = await confirm({
      title: `Revoke ${row.name}?`,
      text: "Its next request is refused. It cannot be taken back; the name stays in usage and audit.",
      action: "Revoke",
    });
    if (!isAgreed) return;
    try {
      await remove(`keys/${encodeURIComponent(row.name)}`);
      notice(`Key ${row.name} revoked.`);
    } catch (error) {
      notice(error.message, "bad");
    }
    asking.now();
  }

  root.append(
    h(
      "div",
      { class: "tools" },
      field("Filter", words),
      h("div", { class: "check" }, revoked, h("label", { for: "show-revoked" }, "Revoked too")),
      h("button", { type: "button", class: "primary", on: { click: create } }, "New key"),
      shown,
    ),
    asking.problem,
    list.element,
    h("p", { class: "hint" }, "Requests and tokens are of the last 60 seconds."),
  );
  return asking.stop;
}
