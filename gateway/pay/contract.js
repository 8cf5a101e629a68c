// The channel contract's data, messages and address: docs/contract.md, "Data and messages".

import { Builder, fromBag, fromBase64 } from "./cell.js";
import { CODE, CODE_HASH } from "./code.js";

/** Stays in the channel for rent, and comes back at its end. */
export const RENT_RESERVE = 20_000_000n;
/** Brought for gas with every message; what is not needed comes back. docs/contract.md, "What it costs". */
export const GAS = 50_000_000n;
/** What a message to the wallet itself, and its sending, may take. */
export const SENDING = 10_000_000n;

const code = fromBag(fromBase64(CODE));
if (code.name !== CODE_HASH) throw new Error("The page's copy of the contract is damaged.");

/** What brings the contract with the first payment; its hash is the channel's address. */
export function stateInit({ network, closeDelay, feeBps, salt, payer, payee, feeDest, payerKey, payeeKey }) {
  const terms = new Builder()
    .int(network, 32)
    .uint(closeDelay, 32)
    .uint(feeBps, 16)
    .bytes(salt)
    .address(payer)
    .address(payee)
    .address(feeDest)
    .done();
  const data = new Builder().uint(0, 32).coins(0).coins(0).bytes(payerKey).bytes(payeeKey).ref(terms).done();
  // No depth, no special, code and data, no library.
  return new Builder().uint(0b00110, 5).ref(code).ref(data).done();
}

export const address = (terms) => ({ workchain: 0, hash: stateInit(terms).hash });

export const topUp = (amount) => new Builder().uint(0x70637470, 32).uint(0, 64).coins(amount).done();
export const requestClose = () => new Builder().uint(0x70637271, 32).uint(0, 64).done();
export const finishClose = () => new Builder().uint(0x70636663, 32).uint(0, 64).done();
