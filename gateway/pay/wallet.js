// Wallets that a browser has, by TON Connect's JS bridge: `window.<name>.tonconnect` (github.com/ton-blockchain/ton-connect,
// bridge.md and requests-responses.md). Nobody else is asked for anything: no list of wallets, no bridge of a company's.

import * as addresses from "./address.js";
import { toBag, toBase64 } from "./cell.js";

const PROTOCOL = 2;
const DECLINED = 300;
/** How long a wallet has to be asked in: what it signs later would be refused. */
const GOOD_FOR_S = 300;
const KEPT = "mulberry-pay-wallet";

/** Every wallet that is there now, by its name in the window. */
export function found() {
  const all = [];
  for (const name of Object.keys(window)) {
    let bridge;
    // What stands in a window may refuse to be looked at.
    try {
      bridge = window[name]?.tonconnect;
      if (typeof bridge?.connect !== "function" || typeof bridge.send !== "function") continue;
    } catch {
      continue;
    }
    const title = bridge.walletInfo?.name ?? bridge.deviceInfo?.appName ?? name;
    all.push({ name, bridge, title: String(title).slice(0, 40) });
  }
  return all;
}

/** Asks a wallet to let itself be used here. Throws what it said, in words. */
export async function connect({ name, bridge, title }) {
  const request = { manifestUrl: new URL("../tonconnect-manifest.json", location.href).href, items: [{ name: "ton_addr" }] };
  let event;
  try {
    event = await bridge.connect(PROTOCOL, request);
  } catch (error) {
    throw new Error(`${title} gave no answer: ${reason(error)}`);
  }
  const connected = opened({ name, bridge, title }, event);
  keep(name);
  return connected;
}

/** The one that was connected when the page was last open here, if it still lets itself be used; asks nobody. */
export async function restore() {
  const wallet = found().find(({ name }) => name === kept());
  if (typeof wallet?.bridge.restoreConnection !== "function") return null;
  try {
    return opened(wallet, await wallet.bridge.restoreConnection());
  } catch {
    return null;
  }
}

function opened({ bridge, title }, event) {
  if (event?.event === "connect_error") {
    const { code, message } = event.payload ?? {};
    throw new Error(code === DECLINED ? `You said no in ${title}.` : `${title} says: ${reason({ message })}`);
  }
  const item = event?.payload?.items?.find(({ name }) => name === "ton_addr");
  if (event?.event !== "connect" || !item) throw new Error(`${title} did not say who you are.`);
  const features = event.payload.device?.features ?? bridge.deviceInfo?.features ?? [];
  if (!features.some((feature) => (feature?.name ?? feature) === "SendTransaction")) throw new Error(`${title} cannot send transactions for a page.`);
  return new Connected(bridge, title, addresses.parse(item.address), Number(item.network));
}

class Connected {
  #bridge;
  #last = 0;

  constructor(bridge, title, address, network) {
    this.#bridge = bridge;
    this.title = title;
    this.address = address;
    this.network = network;
  }

  /** `changed()` is called when the wallet is somebody else's, or nobody's. */
  follow(changed) {
    if (typeof this.#bridge.listen !== "function") return;
    this.#bridge.listen((event) => {
      if (["disconnect", "connect"].includes(event?.event)) changed();
    });
  }

  /**
   * Asks the wallet to send one message. Resolves when it says that it did, which is not yet that anything happened.
   * @param message `{ to, amount, body, init }`, where `to` is what people read
   */
  async send({ to, amount, body, init }) {
    const message = { address: to, amount: amount.toString(), payload: toBase64(toBag(body)) };
    if (init) message.stateInit = toBase64(toBag(init));
    const until = Math.floor(Date.now() / 1000) + GOOD_FOR_S;
    const transaction = {
      valid_until: until,
      network: String(this.network),
      from: addresses.raw(this.address),
      messages: [message],
    };
    const answer = await this.#ask("sendTransaction", [JSON.stringify(transaction)]);
    if (answer?.error) {
      const { code, message: said } = answer.error;
      throw new Error(code === DECLINED ? `You said no in ${this.title}. Nothing was sent.` : `${this.title} says: ${reason({ message: said })} Nothing was sent.`);
    }
    return { until };
  }

  async disconnect() {
    keep(null);
    await this.#ask("disconnect", []).catch(() => {});
  }

  async #ask(method, params) {
    // Greater than any before, those of an earlier load of the page too.
    this.#last = Math.max(this.#last + 1, Date.now());
    const id = String(this.#last);
    let answer;
    try {
      answer = await this.#bridge.send({ method, params, id });
    } catch (error) {
      throw new Unclear(`${this.title} gave no answer: ${reason(error)} Look into it before you try again.`);
    }
    const isAnswer = answer?.error !== undefined || answer?.result !== undefined;
    if (!isAnswer || String(answer.id) !== id) throw new Unclear(`${this.title} gave an answer to something else. Look into it before you try again.`);
    return answer;
  }
}

/** It may have been sent. */
export class Unclear extends Error {}

const reason = (error) => String(error?.message ?? error ?? "").slice(0, 200) || "no reason given.";

// A browser may refuse storage altogether; then a wallet is asked anew at each load.
function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

function keep(name) {
  try {
    if (name === null) localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, name);
  } catch {
    // It is asked anew.
  }
}
