// A jetton, and a channel that holds it, in @ton/core's words: written from TEP-74, TEP-89 and docs/contract.md.
import { readFile } from "node:fs/promises";
import { beginCell, Cell, contractAddress } from "@ton/core";
import { at, compile } from "../compile.mjs";
import { account, comment, PAYEE_KEYS, PAYER, PAYER_KEYS, TERMS, termsCell, TON } from "../scheme.mjs";

export const JETTON = 1_000_000n; // USDT's six decimals
export const ISSUER = account(0x55);

const MINTER = Cell.fromBoc(await readFile(at("jetton/minter.boc")))[0];
const WALLET = Cell.fromBoc(await readFile(at("jetton/wallet.boc")))[0];
const FUSSY = Cell.fromBoc((await compile("jetton/fussy")).boc)[0];

// Masters that differ in what they say of themselves.
export function jetton(name) {
  const content = comment(name);
  const data = beginCell().storeCoins(0n).storeAddress(ISSUER).storeRef(content).storeRef(WALLET).endCell();
  const init = { code: MINTER, data };
  const master = contractAddress(0, init);
  const wallet = (owner) => {
    const data = beginCell().storeCoins(0n).storeAddress(owner).storeAddress(master).storeRef(WALLET).endCell();
    return contractAddress(0, { code: WALLET, data });
  };
  return { init, master, wallet };
}

// Ours, that does what it is told to do wrong: master and only wallet in one.
export function fussy(least) {
  const init = { code: FUSSY, data: beginCell().storeCoins(0n).storeAddress(null).storeCoins(least).endCell() };
  const master = contractAddress(0, init);
  return { init, master, wallet: () => master };
}

export function channel(code, master, terms = {}, { workchain = 0, wallet = null, deposited = 0n } = {}) {
  const all = { ...TERMS, ...terms };
  const held = beginCell()
    .storeAddress(master)
    .storeAddress(wallet)
    .storeBit(false)
    .storeUint(0, 32)
    .storeCoins(0n)
    .storeCoins(0n)
    .storeCoins(0n)
    .endCell();
  const data = beginCell()
    .storeUint(0, 32)
    .storeCoins(deposited)
    .storeCoins(0n)
    .storeBuffer(PAYER_KEYS.publicKey)
    .storeBuffer(PAYEE_KEYS.publicKey)
    .storeRef(termsCell(all))
    .storeRef(held)
    .endCell();
  const init = { code, data };
  return { terms: all, master, init, address: contractAddress(workchain, init) };
}

const operation = (code, queryId = 1n) => beginCell().storeUint(code, 32).storeUint(queryId, 64);

export const opens = () => operation(0x70636f70).endCell();
export const retry = (who) => operation(0x70637279).storeUint(who, 2).endCell();
export const sweep = (amount) => operation(0x70637377).storeCoins(amount).endCell();
export const takeWallet = (wallet) => operation(0xd1735400).storeAddress(wallet).storeBit(false).endCell();
export const demand = (least) => beginCell().storeUint(0x6c656173, 32).storeCoins(least).endCell();
export const receive = (amount, sender = PAYER) => beginCell().storeUint(0x66757373, 32).storeCoins(amount).storeAddress(sender).endCell();

export function notification(amount, sender) {
  return operation(0x7362d09c).storeCoins(amount).storeAddress(sender).storeBit(false).endCell();
}

// With the payload that some wallets write: none, in place, or in a cell of its own.
export function transfer(amount, to, forward, response, { payload = "none" } = {}) {
  const body = operation(0x0f8a7ea5).storeCoins(amount).storeAddress(to).storeAddress(response).storeBit(false).storeCoins(forward);
  if (payload === "none") return body.storeBit(false).endCell();
  if (payload === "here") return body.storeBit(false).storeUint(0, 32).storeStringTail("for a channel").endCell();
  return body.storeBit(true).storeRef(comment("for a channel")).endCell();
}

export function mint(to, amount) {
  const internal = operation(0x178d4519).storeCoins(amount).storeAddress(null).storeAddress(ISSUER).storeCoins(0n).storeBit(false);
  return operation(21).storeAddress(to).storeCoins(TON / 10n).storeRef(internal.endCell()).endCell();
}

// What the data say.
export function readChannel(data) {
  const from = data.beginParse();
  const sums = { close_at: from.loadUint(32), deposited: from.loadCoins(), claimed: from.loadCoins() };
  from.skip(512);
  from.loadRef();
  const held = from.loadRef().beginParse();
  held.loadAddress();
  const wallet = held.loadMaybeAddress();
  return {
    ...sums,
    is_open: wallet !== null,
    ended: held.loadBit(),
    ordered_at: held.loadUint(32),
    payee_due: held.loadCoins(),
    fee_due: held.loadCoins(),
    payer_due: held.loadCoins(),
  };
}
