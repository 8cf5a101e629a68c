// A channel as `mulberry channel … --page` writes it behind the `#`: what it was born with, and what is to be paid in.
// Its address is reckoned from that here, and never taken from anybody.

import * as addresses from "./address.js";
import { nano } from "./amount.js";
import { fromBase64Url } from "./cell.js";
import * as contract from "./contract.js";

const VERSION = 1;
const LONGEST = 4096;
const NETWORK = /^tvm:(-?\d{1,10})$/;

/** From a whole link or what follows its `#`. Throws what is wrong, in words. */
export function read(text) {
  const fragment = text.trim().replace(/^[^#]*#/, "");
  const damaged = (what) => new Error(`This is no link to a channel: ${what.replace(/\.$/, "")}. Copy it whole, or have a new one made.`);
  if (fragment.length > LONGEST || !/^[\w-]+$/.test(fragment)) throw damaged("it has other letters than such a link has");
  let document;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(fromBase64Url(fragment)));
  } catch {
    throw damaged("it cannot be read");
  }
  if (document?.version !== VERSION) throw damaged("it is of another version than this page");
  try {
    return channel(document);
  } catch (error) {
    throw damaged(error.message);
  }
}

function channel({ network, channelConfig: config, amount, isNew }) {
  const terms = {
    network: networkId(network),
    closeDelay: whole(config.withdrawDelay, 2 ** 32),
    feeBps: whole(config.feeBps, 2 ** 16),
    salt: bytes(config.salt, 16),
    payer: addresses.parse(config.payer),
    payee: addresses.parse(config.receiver),
    feeDest: addresses.parse(config.feeDest),
    payerKey: bytes(config.payerAuthorizer, 32),
    payeeKey: bytes(config.receiverAuthorizer, 32),
  };
  if (config.token !== "native") throw new Error("it is of another coin than GRAM (TON)");
  const address = contract.address(terms);
  return {
    terms,
    address,
    raw: addresses.raw(address),
    shown: addresses.ofContract(address, terms.network),
    amount: amount === undefined || amount === null ? null : nano(amount),
    isNew: isNew === true,
  };
}

/** The global id of a network as x402 names it. */
export function networkId(text) {
  const found = typeof text === "string" ? NETWORK.exec(text) : null;
  const id = Number(found?.[1]);
  if (!found || id < -(2 ** 31) || id >= 2 ** 31) throw new Error("it names no network of TON");
  return id;
}

export function whole(value, below) {
  if (!Number.isInteger(value) || value < 0 || value >= below) throw new Error("a number in it cannot be");
  return value;
}

export function bytes(text, length) {
  if (typeof text !== "string" || text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) throw new Error("a key or the salt in it cannot be");
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}
