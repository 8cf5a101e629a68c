// The registry's data, messages and signatures in @ton/core's words, written from docs/registry.md.
import { beginCell, contractAddress, Dictionary } from "@ton/core";
import { sign } from "@ton/crypto";
import { FEE_DEST, keys, MAINNET } from "../scheme.mjs";

export const OWNERS = ["one", "two", "three"].map((name) => keys(`owner ${name}`));

const list = (entries, bits) => {
  if (entries === null) return null;
  const dictionary = Dictionary.empty(Dictionary.Keys.BigUint(256), Dictionary.Values.Uint(bits));
  for (const [key, value] of entries) dictionary.set(key, value);
  return beginCell().storeDict(dictionary).endCell();
};

const number = (key) => BigInt(`0x${Buffer.from(key).toString("hex")}`);

// images: pairs of a digest and the roles' bits; gateways, models: digests; null where nothing is said.
export function charter({ delay = 86_400, threshold = 2, veto = 1, owners = OWNERS, mostFeeBps = 500, feeDest = FEE_DEST, images = [[7n, 2]], gateways = null, models = null } = {}) {
  const named = Dictionary.empty(Dictionary.Keys.BigUint(256), Dictionary.Values.Uint(1));
  for (const owner of owners) named.set(number(owner.publicKey), 1);
  const marked = (entries) => entries && entries.map((entry) => [entry, 1]);
  const lists = beginCell()
    .storeMaybeRef(list(images, 8))
    .storeMaybeRef(list(marked(gateways), 1))
    .storeMaybeRef(list(marked(models), 1))
    .endCell();
  return beginCell()
    .storeUint(delay, 32)
    .storeUint(threshold, 8)
    .storeUint(veto, 8)
    .storeDict(named)
    .storeUint(mostFeeBps, 16)
    .storeAddress(feeDest)
    .storeRef(lists)
    .endCell();
}

export function registry(code, first = charter(), { network = MAINNET, workchain = 0 } = {}) {
  const data = beginCell().storeInt(network, 32).storeUint(0, 64).storeRef(first).storeBit(false).endCell();
  const init = { code, data };
  return { terms: { network }, init, address: contractAddress(workchain, init), read };
}

// Each of `by` signs; `other` says what is signed other than it should be: tag, network, address, seqno, hash.
function signatures(of, tag, seqno, cell, by, other = {}) {
  const bytes = beginCell()
    .storeBuffer(Buffer.from(other.tag ?? tag, "latin1"))
    .storeInt(other.network ?? of.terms.network, 32)
    .storeBuffer((other.address ?? of.address).hash)
    .storeUint(other.seqno ?? seqno, 64)
    .storeBuffer(other.hash ?? cell.hash())
    .endCell()
    .beginParse()
    .loadBuffer(80);
  const dictionary = Dictionary.empty(Dictionary.Keys.BigUint(256), Dictionary.Values.Cell());
  for (const each of by) dictionary.set(number(each.publicKey), beginCell().storeBuffer(sign(bytes, each.secretKey)).endCell());
  return dictionary;
}

export function propose(of, seqno, cell, by, other) {
  return beginCell()
    .storeUint(0x72677072, 32)
    .storeUint(1, 64)
    .storeUint(seqno, 64)
    .storeDict(signatures(of, "RGP1", seqno, cell, by, other))
    .storeRef(cell)
    .endCell();
}

export function veto(of, seqno, cell, by, other) {
  return beginCell()
    .storeUint(0x72677665, 32)
    .storeUint(1, 64)
    .storeUint(seqno, 64)
    .storeDict(signatures(of, "RGV1", seqno, cell, by, other))
    .endCell();
}

export const apply = () => beginCell().storeUint(0x72676170, 32).storeUint(1, 64).endCell();

function read(data) {
  const from = data.beginParse();
  from.skip(32);
  return { seqno: from.loadUintBig(64), charter: from.loadRef().hash().toString("hex"), is_pending: from.loadBit() };
}
