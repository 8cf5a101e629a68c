// The page: what the gateway asks, the wallet, the channel, and what can be done with both. It holds no key. Where coins go
// is reckoned from the link; the gateway's word decides nothing but what is shown and which step is offered.

import * as addresses from "./address.js";
import { acts } from "./acts.js";
import { copyButton } from "./copy.js";
import { gram } from "./amount.js";
import { CODE_HASH } from "./code.js";
import { fresh, h, say } from "./dom.js";
import * as gateway from "./gateway.js";
import * as link from "./link.js";
import * as wallets from "./wallet.js";
import { moment, network, percent, span } from "./words.js";

const EVERY_MS = 3000;
const byId = (id) => document.getElementById(id);
const here = new URL("..", location.href).href.replace(/\/$/, "");

/** What is known. `look` is what the gateway says that the chain shows. */
const known = { terms: null, wallet: null, channel: null, look: null };
const act = acts(known, { root: byId("acts"), section: byId("act"), outcome: byId("outcome"), problem: byId("act-problem"), elsewhere: byId("elsewhere") });

byId("lead").textContent =
  "A payment channel is a small contract on TON: you pay in once, sign request by request how much of it the gateway may take, " +
  "and get back what is left. This page moves coins only. What signs stays with mulberry on your own computer.";

function facts(pairs) {
  return pairs.flatMap(([term, ...description]) => [h("dt", {}, term), h("dd", {}, ...description)]);
}

const code = (text) => h("span", { class: "mono" }, text);

// The gateway's terms.

async function askTerms() {
  try {
    known.terms = await gateway.terms();
    say(byId("terms-problem"), "");
  } catch (error) {
    say(byId("terms-problem"), error.message);
    setTimeout(askTerms, 2 * EVERY_MS);
    return;
  }
  const { network: id, payee, payeeKey, closeDelay, feeBps, feeDest } = known.terms;
  const hex = Array.from(payeeKey, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const fee = feeBps === 0 ? ["none"] : [`${percent(feeBps)} of what the gateway takes, out of its share, to `, code(addresses.ofWallet(feeDest, id))];
  byId("terms").replaceChildren(
    ...facts([
      ["Network", network(id)],
      ["Paid to", code(addresses.ofWallet(payee, id))],
      ["Fee", ...fee],
      ["Waiting time", `${span(closeDelay)}: so long you wait for the rest when the gateway does not answer; at once when it does`],
      ["Gateway's key", code(hex)],
      ["Contract", code(CODE_HASH)],
    ]),
  );
  showChannel();
}

// The wallet.

function showWallet() {
  const { wallet } = known;
  const box = byId("wallet");
  if (wallet) {
    const shown = code(addresses.ofWallet(wallet.address, wallet.network));
    box.replaceChildren(
      h("dl", { class: "facts" }, facts([["Connected", wallet.title], ["Address", shown], ["Network", network(wallet.network)]])),
      h("div", { class: "row" }, h("button", { type: "button", on: { click: leave } }, "Disconnect")),
    );
  } else {
    const all = wallets.found();
    const none = "This browser has no wallet that speaks TON Connect. Open this page in your wallet's own browser or add its extension, or pay by a link.";
    box.replaceChildren(
      h("p", { class: "hint" }, all.length > 0 ? "The wallet is asked for its address, and later for each payment. Its key stays in it." : none),
      h(
        "div",
        { class: "row" },
        all.map((one) => h("button", { type: "button", class: "primary", on: { click: (event) => enter(one, event.target) } }, `Connect ${one.title}`)),
        h("button", { type: "button", class: "quiet", on: { click: showWallet } }, "Look again"),
      ),
    );
  }
  if (!known.channel) showChannel();
  act.show();
}

async function enter(one, button) {
  say(byId("wallet-problem"), "");
  button.disabled = true;
  try {
    take(await wallets.connect(one));
  } catch (error) {
    say(byId("wallet-problem"), error.message);
    button.disabled = false;
  }
}

function take(wallet) {
  known.wallet = wallet;
  // Another account of it may be another person's: it is connected anew.
  wallet?.follow(() => {
    if (known.wallet !== wallet) return;
    known.wallet = null;
    say(byId("wallet-problem"), `${wallet.title} has disconnected.`);
    showWallet();
  });
  showWallet();
}

function leave() {
  known.wallet?.disconnect();
  known.wallet = null;
  showWallet();
}

// The channel.

function showChannel() {
  const { channel, look } = known;
  const box = byId("channel");
  if (!channel) {
    askForLink(box);
    act.show();
    return;
  }
  const { terms } = channel;
  const address = code(channel.shown);
  const rows = [
    ["Address", address, " ", copyButton("Copy", address, { class: "quiet" })],
    ["Rest goes to", code(addresses.ofWallet(terms.payer, terms.network))],
  ];
  if (look) rows.push(["State", h("strong", {}, standing(channel, look))]);
  if (look && ["open", "closing"].includes(look.state)) {
    rows.push(
      ["Paid in", gram(look.deposited)],
      ["Taken by the gateway", gram(look.claimed)],
      ["Left", h("span", { class: "big" }, gram(look.deposited - look.claimed))],
    );
  }
  if (look) rows.push(["As of", `block ${look.block} of ${moment(look.time)}, as the gateway's source of the chain tells it`]);
  const shown = JSON.stringify([channel.raw, { ...look, deposited: look?.deposited.toString(), claimed: look?.claimed.toString() }]);
  if (box.dataset.shown !== shown) {
    box.dataset.shown = shown;
    box.replaceChildren(
      h("p", { class: "hint" }, "This page reckoned the address from your link. Compare it with what mulberry printed and with what your wallet shows."),
      h("dl", { class: "facts" }, facts(rows)),
    );
  }
  act.show();
}

function standing(channel, look) {
  switch (look.state) {
    case "open":
      return "open";
    case "closing":
      return look.time >= look.closeAt ? "closing: the rest can be fetched" : `closing: the rest can be fetched in ${span(look.closeAt - look.time)}, from ${moment(look.closeAt)}`;
    case "other":
      return "something else than a channel is there";
    default:
      return act.isOver() ? "over: what was left went back" : "not open yet";
  }
}

function askForLink(box) {
  const payer = known.wallet ? addresses.ofWallet(known.wallet.address, known.wallet.network) : "YOUR-WALLET";
  const command = `mulberry channel open 5 --to ${here} --payer ${payer} --page`;
  if (box.dataset.shown === command) return;
  box.dataset.shown = command;
  const shown = h("pre", {}, command);
  const id = fresh("link");
  const input = h("input", { id, autocomplete: "off", spellcheck: "false" });
  const form = h(
    "form",
    { class: "act", on: { submit: (event) => (event.preventDefault(), use(input.value)) } },
    h("div", { class: "field" }, h("label", { for: id }, "The link that it prints"), input),
    h("div", { class: "row" }, h("button", { type: "submit" }, "Use this link")),
  );
  box.replaceChildren(
    h("p", {}, "Open this page by the link of a channel. mulberry makes a channel's key, keeps it on your computer, and prints the link:"),
    shown,
    h("div", { class: "row" }, copyButton("Copy the command", shown)),
    form,
  );
}

function use(text) {
  known.look = null;
  try {
    known.channel = link.read(text);
    say(byId("channel-problem"), "");
  } catch (error) {
    known.channel = null;
    say(byId("channel-problem"), error.message);
  }
  act.begin();
  showChannel();
  look();
}

let asking = false;
async function look() {
  const { channel } = known;
  if (!channel || asking || document.hidden) return;
  asking = true;
  try {
    const seen = await gateway.look(channel.raw);
    if (known.channel !== channel) return;
    known.look = seen;
    say(byId("channel-problem"), "");
    act.saw();
    showChannel();
  } catch (error) {
    if (known.channel === channel) say(byId("channel-problem"), `${error.message} Asking again.`);
  } finally {
    asking = false;
  }
}

addEventListener("hashchange", () => use(location.hash));
document.addEventListener("visibilitychange", look);
setInterval(look, EVERY_MS);
if (location.hash.length > 1) use(location.hash);
else showChannel();
showWallet();
askTerms();
wallets.restore().then((wallet) => wallet && !known.wallet && take(wallet));
