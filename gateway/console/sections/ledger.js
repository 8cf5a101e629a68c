// Ledger: what it holds, who spends from it, and whether it is right.

import { get, post } from "../api.js";
import { confirm } from "../dialog.js";
import { h, say } from "../dom.js";
import { count, plural, text, utc, when } from "../format.js";
import { money } from "../money.js";
import { notice } from "../notice.js";
import { following } from "../section.js";
import { table } from "../table.js";

const EVERY_MS = 3000;
const VERIFY_MS = 500;

export const ledger = { id: "ledger", title: "Ledger", open };

const TONES = { live: "good", expired: "bad", closed: "dim", forgotten: "dim" };

const ACCOUNTS = [
  { title: "Account", cell: (row) => [row.id, { text: MEANING[row.id] ?? "", small: true }] },
  { title: "Balance", cell: (row) => money(row.balance, row.currency), end: true },
];
const MEANING = {
  "system:funding": "what came in from outside",
  "system:earnings": "what was paid for answers",
  "system:fees": "the gateway's own fee",
  "system:loss": "what the operator bears",
};

const NODES = [
  { title: "Gateway", cell: (row) => [row.name, row.is_this && { text: "this one", small: true }] },
  { title: "State", cell: (row) => ({ text: row.state, tone: TONES[row.state], mark: true }) },
  { title: "Journal", cell: (row) => text(row.journal) },
  { title: "Epoch", cell: (row) => count(row.epoch), end: true },
  { title: "Lease until", cell: (row) => ({ text: when(row.lease_until), title: utc(row.lease_until) }) },
  { title: "Charges", cell: (row) => count(row.posted), end: true },
  { title: "Slices", cell: (row) => count(row.slices), end: true, minor: true },
];

function open(root) {
  let isOpen = true;
  const accounts = table({ label: "Accounts of the ledger", columns: ACCOUNTS, key: (row) => `${row.id} ${row.currency}`, empty: "Nothing was moved yet." });
  const nodes = table({ label: "Gateways", columns: NODES, key: (row) => row.name, empty: "No gateway has spent from this ledger yet.", actions });
  const button = h("button", { type: "button", class: "primary", on: { click: verify } }, "Verify");
  const state = h("p", { class: "outcome", role: "status" });
  const found = h("ul", { class: "findings" });
  const asking = following({
    path: () => "ledger",
    every: EVERY_MS,
    update(answer) {
      accounts.update(answer.accounts);
      nodes.update(answer.nodes);
    },
    fail(why) {
      accounts.fail(why);
      nodes.fail(why);
    },
  });

  function actions(row) {
    if (row().state !== "expired") return [];
    const label = "Forget";
    return [h("button", { type: "button", class: "quiet forget", "aria-label": `${label} ${row().name}`, on: { click: () => forget(row()) } }, label)];
  }

  async function verify() {
    button.disabled = true;
    found.replaceChildren();
    say(state, "Computing every balance anew…");
    delete state.dataset.tone;
    try {
      let answer = await post("ledger/verify");
      while (isOpen && answer.state === "running") {
        await new Promise((resolve) => setTimeout(resolve, VERIFY_MS));
        answer = await get("ledger/verify");
      }
      tell(answer);
    } catch (error) {
      state.dataset.tone = "bad";
      say(state, error.message);
    } finally {
      button.disabled = false;
    }
  }

  function tell(answer) {
    const checked = Object.entries(answer.checked ?? {}).map(([what, number]) => plural(number, what.replace(/s$/, "")));
    state.dataset.tone = answer.ok ? "good" : "bad";
    if (answer.failure) {
      say(state, `The ledger could not be checked: ${answer.failure}`);
      return;
    }
    say(state, `${answer.ok ? "The ledger is right" : "The ledger is wrong"}: ${checked.join(", ")}.`);
    found.replaceChildren(...(answer.discrepancies ?? []).map((one) => h("li", {}, one.message)));
    if (answer.more > 0) found.append(h("li", {}, `and ${count(answer.more)} more`));
  }

  async function forget(row) {
    const isAgreed = await confirm({
      title: `Forget ${row.name}?`,
      text: "What it had leased is free again. If it comes back, what it charged and did not report is borne by you and not by the accounts.",
      action: "Forget",
    });
    if (!isAgreed) return;
    try {
      await post(`ledger/nodes/${encodeURIComponent(row.name)}/forget`);
      notice(`Gateway ${row.name} forgotten.`);
    } catch (error) {
      notice(error.message, "bad");
    }
    asking.now();
  }

  root.append(
    h("div", { class: "tools" }, button, state),
    found,
    asking.problem,
    h("section", { class: "block", "aria-label": "Accounts of the ledger" }, h("h2", {}, "Accounts of the ledger"), accounts.element),
    h("section", { class: "block", "aria-label": "Gateways" }, h("h2", {}, "Gateways"), nodes.element),
    h("p", { class: "hint" }, "For a copy that others can check, use mulberry ledger export."),
  );
  return () => {
    isOpen = false;
    asking.stop();
  };
}
