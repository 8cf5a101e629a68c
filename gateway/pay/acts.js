// What can be done with a channel: pay in, ask to close, fetch the rest. Each is one message to the address that the page
// reckoned. It is done when the chain shows it, and until then it is offered no second time.

import * as addresses from "./address.js";
import { gram, parse, plain } from "./amount.js";
import { toBag, toBase64Url } from "./cell.js";
import * as contract from "./contract.js";
import { copyButton } from "./copy.js";
import { fresh, h, say } from "./dom.js";
import * as qr from "./qr.js";
import { Unclear } from "./wallet.js";
import { network, percent, span } from "./words.js";

/** After this, what a wallet signed is refused, and a minute later seen if it was not. */
const GRACE_S = 60;
const SEEN = "mulberry-pay-seen";
const SUGGESTED = 5_000_000_000n;

const now = () => Math.floor(Date.now() / 1000);

/** @param known what the page knows @param at the elements that this is shown in */
export function acts(known, at) {
  /** What a wallet was asked for, until the chain shows it: `{ until, isDone(look), done(look) }`. */
  let pending = null;
  let isAsking = false;

  const id = fresh("amount");
  const input = h("input", { id, inputmode: "decimal", autocomplete: "off", "aria-describedby": `${id}-hint`, on: { input: show } });
  const costs = h("p", { class: "hint", id: `${id}-hint` });
  const whyNotIn = h("p", { class: "why" });
  const payIn = h("button", { type: "submit", class: "primary" }, "Pay in");
  const paying = h(
    "form",
    { class: "act", on: { submit: (event) => (event.preventDefault(), ask(inward)) } },
    h("div", { class: "field" }, h("label", { for: id }, "Pay in, in GRAM (TON)"), input, costs),
    whyNotIn,
    h("div", { class: "row" }, payIn),
  );
  const about = h("p", {});
  const whyNotOut = h("p", { class: "why" });
  const out = h("button", { type: "button", on: { click: () => ask(outward) } });
  const closing = h("div", { class: "act" }, about, whyNotOut, h("div", { class: "row" }, out));
  at.root.append(paying, closing);

  const links = elsewhere(at.elsewhere);

  /** Whether the channel was there once and is no more. Its address must not be paid into again, whoever says otherwise. */
  function isOver() {
    const { channel, look } = known;
    return look?.state === "ended" || (look?.state === "absent" && (!channel.isNew || wasSeen(channel.raw)));
  }

  /** Why coins must not go there, as far as the channel itself is concerned. */
  function whyNoChannel() {
    const { channel, terms, look } = known;
    if (isOver()) return "This channel is over. Never pay into its address again: what was signed for it would be good once more. Open a new one.";
    if (look?.state === "closing") return "The channel is closing, and takes nothing any more. Open a new one.";
    if (look?.state === "other") return "What is at the channel's address is no channel.";
    if (!terms) return "The gateway has not said its terms yet.";
    if (!look) return "The chain has not shown yet how the channel stands.";
    return differences(channel.terms, terms)[0] ?? null;
  }

  function whyNoWallet({ isPayers }) {
    const { wallet, channel } = known;
    if (isAsking) return "Your wallet is asking you.";
    if (pending) return "Wait until the chain shows what was sent.";
    if (!wallet) return "Connect a wallet first, or use a link.";
    if (wallet.network !== channel.terms.network) {
      return `Your wallet is on another network: the channel is on ${network(channel.terms.network)}. Change it in the wallet, and connect again.`;
    }
    if (isPayers && !addresses.same(wallet.address, channel.terms.payer)) {
      return `This channel belongs to the wallet ${addresses.ofWallet(channel.terms.payer, channel.terms.network)}: connect that one, or have a link made for this one.`;
    }
    return null;
  }

  const isOpening = () => known.look?.state === "absent";

  /** Throws what is wrong with the amount. */
  function inward() {
    const amount = parse(input.value);
    const before = known.look?.deposited ?? 0n;
    const payment = {
      amount: amount + contract.GAS + (isOpening() ? contract.RENT_RESERVE : 0n),
      body: contract.topUp(amount),
      init: isOpening() ? contract.stateInit(known.channel.terms) : null,
    };
    return {
      payment,
      isPayers: true,
      whyNot: whyNoChannel,
      isDone: (look) => look.state === "open" && look.deposited >= before + amount,
      done: (look) => `Done: the chain shows ${gram(look.deposited)} paid in.`,
    };
  }

  function outward() {
    const isRequest = known.look?.state === "open";
    return {
      payment: { amount: contract.GAS, body: isRequest ? contract.requestClose() : contract.finishClose(), init: null },
      // Anybody may end what has run out.
      isPayers: isRequest,
      whyNot: () => null,
      isDone: (look) => (isRequest ? look.state !== "open" : ["absent", "ended"].includes(look.state)),
      done: () => (isRequest ? "Done: the clock runs." : "Done: the channel is closed, and the rest is with the wallet that it belongs to."),
    };
  }

  async function ask(what) {
    say(at.problem, "");
    say(at.outcome, "");
    const { wallet, channel } = known;
    try {
      const { payment, isPayers, whyNot, isDone, done } = what();
      const why = whyNot() ?? whyNoWallet({ isPayers });
      if (why) throw new Error(why);
      isAsking = true;
      show();
      const sent = { isDone, done, until: now() + GRACE_S };
      try {
        const { until } = await wallet.send({ to: channel.shown, ...payment });
        pending = { ...sent, until: until + GRACE_S };
        say(at.outcome, `${wallet.title} says that it sent it. It counts once the chain shows it.`);
      } catch (error) {
        if (error instanceof Unclear) pending = { ...sent, until: now() + 6 * GRACE_S };
        throw error;
      }
    } catch (error) {
      say(at.problem, error.message);
    } finally {
      isAsking = false;
      saw();
      show();
    }
  }

  /** The chain was looked at. */
  function saw() {
    const { channel, look } = known;
    if (!look) return;
    if (["open", "closing"].includes(look.state)) remember(channel.raw);
    if (pending?.isDone(look)) {
      say(at.outcome, pending.done(look));
      say(at.problem, "");
      pending = null;
    } else if (pending && now() > pending.until) {
      pending = null;
      say(at.outcome, "");
      say(at.problem, "What the wallet signed has run out, and the chain shows nothing of it. Look into the wallet before you try again.");
    }
  }

  function show() {
    const { channel, look } = known;
    at.section.hidden = !channel;
    if (!channel) return;
    const reserve = isOpening() ? `, ${plain(contract.RENT_RESERVE)} for rent that comes back at the end` : "";
    let total = "";
    let request = null;
    try {
      request = inward();
      total = `Your wallet sends ${gram(request.payment.amount)}: what you pay in${reserve}, and ${plain(contract.GAS)} for gas, of which what is not needed comes back.`;
    } catch (error) {
      total = error.message;
    }
    say(costs, total);
    say(payIn, isOpening() && !isOver() ? "Open the channel" : "Pay in");
    const noChannel = whyNoChannel();
    const noPaying = noChannel ?? whyNoWallet({ isPayers: true });
    say(whyNotIn, noPaying ?? "");
    payIn.disabled = noPaying !== null || request === null;

    const canFetch = look?.state === "closing" && look.time >= look.closeAt;
    closing.hidden = !["open", "closing"].includes(look?.state);
    out.hidden = look?.state === "closing" && !canFetch;
    say(out, canFetch ? "Fetch the rest" : "Ask to close");
    say(about, aboutClosing(look, canFetch));
    const noClosing = out.hidden ? null : whyNoWallet({ isPayers: !canFetch });
    say(whyNotOut, noClosing ?? "");
    out.disabled = noClosing !== null;

    links.show([
      request && noChannel === null && !pending ? { title: isOpening() ? "open the channel" : "pay in", payment: request.payment } : null,
      !closing.hidden && !out.hidden && !pending ? { title: canFetch ? "fetch the rest" : "ask to close", payment: outward().payment } : null,
    ], channel);
  }

  function aboutClosing(look, canFetch) {
    const rest = look ? gram(look.deposited - look.claimed) : "";
    if (canFetch) return `The waiting time is over. This fetches ${rest} and the rent, to the wallet that opened the channel.`;
    if (look?.state === "closing") return `The channel is closing. The rest, at most ${rest}, can be fetched in ${span(look.closeAt - look.time)}.`;
    const delay = span(known.channel.terms.closeDelay);
    return `Closing: the gateway has ${delay} to take what you signed for, and then the rest of ${rest} is yours. Nothing can be paid in any more. At once it comes back only where the gateway agrees to close.`;
  }

  function begin() {
    pending = null;
    say(at.outcome, "");
    say(at.problem, "");
    input.value = plain(known.channel?.amount ?? SUGGESTED);
    links.forget();
  }

  return { begin, isOver, saw, show };
}

/** In what a channel is not what the gateway asks for, in words. */
function differences(ours, asked) {
  const found = [];
  const differ = (isDifferent, sentence) => isDifferent && found.push(`${sentence} Have a new link made, or ask the gateway's operator.`);
  const equal = (one, other) => one.length === other.length && one.every((byte, i) => byte === other[i]);
  differ(!asked.hasOurCode, "The gateway takes channels of another contract than this page knows.");
  differ(ours.network !== asked.network, `The channel is on ${network(ours.network)}, and this gateway is paid on ${network(asked.network)}.`);
  differ(!addresses.same(ours.payee, asked.payee), "The channel pays another account than the gateway says is its own.");
  differ(!equal(ours.payeeKey, asked.payeeKey), "The channel names another key than the gateway says is its own.");
  differ(ours.feeBps !== asked.feeBps, `The channel's fee is ${percent(ours.feeBps)}, and the gateway's is ${percent(asked.feeBps)}.`);
  differ(!addresses.same(ours.feeDest, asked.feeDest), "The channel's fee goes to another account than the gateway says.");
  differ(ours.closeDelay < asked.closeDelay, `The channel's waiting time is ${span(ours.closeDelay)}, and the gateway needs ${span(asked.closeDelay)}.`);
  return found;
}

/** The same payments for wallets that the browser does not have. */
function elsewhere(root) {
  let shown = "";
  const link = ({ amount, body, init }, channel) => {
    const parts = [`ton://transfer/${channel.shown}?amount=${amount}`, `bin=${toBase64Url(toBag(body))}`];
    if (init) parts.push(`init=${toBase64Url(toBag(init))}`);
    return parts.join("&");
  };
  return {
    forget() {
      shown = "";
    },
    show(payments, channel) {
      const all = payments.filter((one) => one !== null).map(({ title, payment }) => ({ title, url: link(payment, channel) }));
      const now = JSON.stringify(all);
      if (now === shown) return;
      shown = now;
      const wasOpen = [...root.querySelectorAll("details[open]")].map((one) => one.dataset.title);
      root.replaceChildren(...all.map(({ title, url }) => {
        const text = h("pre", { tabindex: 0, "aria-label": `Link to ${title}` }, url);
        const details = h(
          "details",
          { "data-title": title, open: wasOpen.includes(title) },
          h("summary", {}, `With another wallet: ${title} by a link`),
          h("p", { class: "hint" }, "The wallet must be the one that the rest goes to. It shows the channel's address above as where the coins go."),
          text,
          h("div", { class: "row" }, copyButton("Copy the link", text), h("a", { href: url }, "Open it in a wallet here")),
        );
        // Drawn when somebody wants to see it.
        const reveal = () => details.open && !details.querySelector("svg") && details.append(qr.draw(url, `QR code to ${title}`) ?? "");
        details.addEventListener("toggle", reveal);
        reveal();
        return details;
      }));
    },
  };
}

function wasSeen(channel) {
  try {
    return localStorage.getItem(`${SEEN}:${channel}`) !== null;
  } catch {
    return false;
  }
}

function remember(channel) {
  try {
    localStorage.setItem(`${SEEN}:${channel}`, "open");
  } catch {
    // The link says it, too, once mulberry has seen it.
  }
}
