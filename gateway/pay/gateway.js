// What the gateway says: its terms, and how a channel stands on the chain. Claims, which are read strictly and believed
// for nothing that coins are sent to.

import * as addresses from "./address.js";
import { nano } from "./amount.js";
import { CODE_HASH } from "./code.js";
import { bytes, networkId, whole } from "./link.js";

const PATIENCE_MS = 20_000;
const STATES = ["absent", "open", "closing", "ended", "other"];

async function ask(path) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  } catch {
    throw new Error("The gateway cannot be reached.");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Error(`The gateway says: ${String(body?.error?.message ?? response.status).slice(0, 300)}`);
  return body;
}

/** Reads an answer, or says that it is none. */
function understood(read) {
  try {
    return read();
  } catch {
    throw new Error("The gateway's answer cannot be read. Tell its operator.");
  }
}

export async function terms() {
  const offer = await ask("terms");
  return understood(() => ({
    network: networkId(offer.network),
    payee: addresses.parse(offer.payTo),
    payeeKey: bytes(offer.extra.receiverAuthorizer, 32),
    hasOurCode: addresses.raw({ workchain: 0, hash: bytes(offer.extra.codeHash, 32) }) === `0:${CODE_HASH}`,
    closeDelay: whole(offer.extra.withdrawDelay, 2 ** 32),
    feeBps: whole(offer.extra.feeBps, 2 ** 16),
    feeDest: addresses.parse(offer.extra.feeDest),
  }));
}

/** @param {string} channel its raw address */
export async function look(channel) {
  const told = await ask(`channel?address=${encodeURIComponent(channel)}`);
  return understood(() => {
    if (told.channel !== channel || !STATES.includes(told.state)) throw new Error("another channel");
    const isClosing = told.state === "closing";
    return {
      state: told.state,
      deposited: nano(told.balance),
      claimed: nano(told.totalClaimed),
      closeAt: isClosing ? whole(told.closeAt, 2 ** 32) : null,
      block: whole(told.block, 2 ** 32),
      time: whole(told.time, 2 ** 32),
    };
  });
}
