// Addresses: raw (`0:…`), and the 48 letters that people see, with a checksum. TEP-2 has the format.

import { fromBase64Url, toBase64Url } from "./cell.js";
import { crc16 } from "./hash.js";

const MAINNET = -239;
const [TO_CONTRACT, TO_WALLET, TEST] = [0x11, 0x51, 0x80];
const RAW = /^(-?\d{1,3}):([0-9a-f]{64})$/i;

/** @returns {{ workchain: number, hash: Uint8Array }} Throws at what is no address. */
export function parse(text) {
  const raw = RAW.exec(text);
  if (raw) {
    const hash = Uint8Array.from(raw[2].match(/../g), (pair) => Number.parseInt(pair, 16));
    return checked({ workchain: Number(raw[1]), hash });
  }
  if (!/^[\w+/-]{48}$/.test(text)) throw new Error(`${text.slice(0, 80)} is no address.`);
  const bytes = fromBase64Url(text);
  if (crc16(bytes.slice(0, 34)) !== bytes[34] * 256 + bytes[35] || ![TO_CONTRACT, TO_WALLET].includes(bytes[0] & ~TEST)) {
    throw new Error(`${text} is no address: a letter is wrong.`);
  }
  return checked({ workchain: (bytes[1] << 24) >> 24, hash: bytes.slice(2, 34) });
}

function checked(address) {
  if (address.workchain !== 0 && address.workchain !== -1) throw new Error(`There is no workchain ${address.workchain}.`);
  return address;
}

export const raw = ({ workchain, hash }) => `${workchain}:${Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;

export const same = (one, other) => raw(one) === raw(other);

/** Of a contract: coins that it does not take come back. */
export const ofContract = (address, network) => letters(address, network, TO_CONTRACT);

/** Of a wallet: coins stay there, even before its first transaction. */
export const ofWallet = (address, network) => letters(address, network, TO_WALLET);

function letters({ workchain, hash }, network, tag) {
  const bytes = new Uint8Array(36);
  bytes.set([network === MAINNET ? tag : tag | TEST, workchain & 0xff]);
  bytes.set(hash, 2);
  const crc = crc16(bytes.slice(0, 34));
  bytes.set([crc >> 8, crc & 0xff], 34);
  return toBase64Url(bytes);
}
