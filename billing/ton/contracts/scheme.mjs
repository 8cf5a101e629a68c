// The contract's data, messages and signatures in @ton/core's words, written from docs/contract.md and not from our Rust.
import { Address, beginCell, contractAddress, Cell } from "@ton/core";
import { keyPairFromSeed, sha256_sync, sign } from "@ton/crypto";

export const TON = 1_000_000_000n;
export const MAINNET = -239;
export const TESTNET = -3;

export const account = (byte, workchain = 0) => new Address(workchain, Buffer.alloc(32, byte));
export const keys = (name) => keyPairFromSeed(sha256_sync(`mulberry ${name}`));

export const PAYER = account(0x11);
export const PAYEE = account(0x22);
export const FEE_DEST = account(0x33);
export const STRANGER = account(0x44);
export const PAYER_KEYS = keys("payer");
export const PAYEE_KEYS = keys("payee");
export const OTHER_KEYS = keys("other");

export const TERMS = {
  network: MAINNET,
  closeDelay: 86_400,
  feeBps: 0,
  salt: 0x0123456789abcdef0123456789abcdefn,
  payer: PAYER,
  payee: PAYEE,
  feeDest: FEE_DEST,
};

export function termsCell(terms) {
  return beginCell()
    .storeInt(terms.network, 32)
    .storeUint(terms.closeDelay, 32)
    .storeUint(terms.feeBps, 16)
    .storeUint(terms.salt, 128)
    .storeAddress(terms.payer)
    .storeAddress(terms.payee)
    .storeAddress(terms.feeDest)
    .endCell();
}

export function storage({ closeAt = 0, deposited = 0n, claimed = 0n, terms }) {
  return beginCell()
    .storeUint(closeAt, 32)
    .storeCoins(deposited)
    .storeCoins(claimed)
    .storeBuffer(PAYER_KEYS.publicKey)
    .storeBuffer(PAYEE_KEYS.publicKey)
    .storeRef(terms)
    .endCell();
}

// A channel that nobody opened yet. `data` replaces what a channel is born with.
export function channel(code, terms = {}, { workchain = 0, data } = {}) {
  const all = { ...TERMS, ...terms };
  const init = { code, data: data ?? storage({ terms: termsCell(all) }) };
  return { terms: all, init, address: contractAddress(workchain, init) };
}

// tag:uint32 network:int32 account:bits256 amount:uint128
function signed(tag, amount, { address, network, key, width = 128 }) {
  const bytes = beginCell()
    .storeBuffer(Buffer.from(tag, "latin1"))
    .storeInt(network, 32)
    .storeBuffer(address.hash)
    .storeUint(amount, width)
    .endCell()
    .beginParse();
  return sign(bytes.loadBuffer(bytes.remainingBits / 8), key.secretKey);
}

export function topUp(amount, queryId = 1n) {
  return beginCell().storeUint(0x70637470, 32).storeUint(queryId, 64).storeCoins(amount).endCell();
}

export function comment(text) {
  return beginCell().storeUint(0, 32).storeStringTail(text).endCell();
}

export const NOTHING = Cell.EMPTY;

// Each of `payee` and `payer` may say what is signed other than it should be: tag, key, network, address, amount, width.
export function settle(of, { take, max = take, close = false, payee = {}, payer = {}, queryId = 1n, voucherTail = [] }) {
  const by = (tag, key, amount, other) =>
    signed(other.tag ?? tag, other.amount ?? amount, {
      address: of.address,
      network: of.terms.network,
      key,
      ...other,
    });
  const body = beginCell()
    .storeUint(0x7063736c, 32)
    .storeUint(queryId, 64)
    .storeBit(close)
    .storeCoins(take)
    .storeCoins(max)
    .storeBuffer(by(close ? "CLS1" : "STL1", PAYEE_KEYS, take, payee));
  if (payer === null) return body.storeBit(false).endCell();
  const voucher = beginCell().storeBuffer(by("VCH1", PAYER_KEYS, max, payer));
  for (const bit of voucherTail) voucher.storeBit(bit);
  return body.storeMaybeRef(voucher.endCell()).endCell();
}

export function requestClose(queryId = 1n) {
  return beginCell().storeUint(0x70637271, 32).storeUint(queryId, 64).endCell();
}

export function finishClose(queryId = 1n) {
  return beginCell().storeUint(0x70636663, 32).storeUint(queryId, 64).endCell();
}

// What the data say, for people who read the fixtures.
export function read(data) {
  const from = data.beginParse();
  return { close_at: from.loadUint(32), deposited: from.loadCoins(), claimed: from.loadCoins() };
}
