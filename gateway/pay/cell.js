// Cells and bags of cells, as far as a channel needs them: ordinary cells, one root. TON's TVM documentation has the formats
// ("Cell representation", "Bag of cells"); the tests compare what is made here with @ton/core.

import { crc32c, sha256 } from "./hash.js";

const MAX_BITS = 1023;
const MAX_REFS = 4;
const MAGIC = [0xb5, 0xee, 0x9c, 0x72];
/** Of the bags that are read here: the contract's code and nothing else. */
const MAX_CELLS = 255;

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Up to 1023 bits and four references. It never changes. */
export class Cell {
  /** @param {string} bits of 0 and 1 @param {Cell[]} refs */
  constructor(bits, refs) {
    if (bits.length > MAX_BITS || refs.length > MAX_REFS) throw new Error("A cell is too full.");
    this.bits = bits;
    this.refs = refs;
    this.depth = refs.reduce((depth, ref) => Math.max(depth, ref.depth + 1), 0);
    const depths = refs.flatMap((ref) => [ref.depth >> 8, ref.depth & 0xff]);
    const hashes = refs.flatMap((ref) => [...ref.hash]);
    /** Of its representation: what names it. */
    this.hash = sha256(new Uint8Array([...this.described(), ...depths, ...hashes]));
  }

  /** Two descriptors and the data; a 1 and zeros fill the last byte. */
  described() {
    const { bits, refs } = this;
    const whole = Math.floor(bits.length / 8);
    const all = Math.ceil(bits.length / 8);
    const padded = bits.length % 8 === 0 ? bits : `${bits}1`.padEnd(all * 8, "0");
    const bytes = [refs.length, whole + all];
    for (let i = 0; i < all; i += 1) bytes.push(Number.parseInt(padded.slice(8 * i, 8 * i + 8), 2));
    return bytes;
  }

  get name() {
    return hex(this.hash);
  }
}

/** Makes a cell from its fields, in their order. */
export class Builder {
  #bits = "";
  #refs = [];

  uint(value, width) {
    const number = BigInt(value);
    if (number < 0n || number >= 1n << BigInt(width)) throw new RangeError(`${number} does not fit ${width} bits.`);
    this.#bits += number.toString(2).padStart(width, "0");
    return this;
  }

  int(value, width) {
    const number = BigInt(value);
    const half = 1n << BigInt(width - 1);
    if (number < -half || number >= half) throw new RangeError(`${number} does not fit ${width} bits.`);
    return this.uint(BigInt.asUintN(width, number), width);
  }

  /** A number of nanotons: the length in bytes, and they. */
  coins(value) {
    const number = BigInt(value);
    let bytes = 0;
    while (number >> BigInt(8 * bytes) > 0n) bytes += 1;
    this.uint(bytes, 4);
    return bytes === 0 ? this : this.uint(number, 8 * bytes);
  }

  bytes(bytes) {
    for (const byte of bytes) this.uint(byte, 8);
    return this;
  }

  /** A standard address without anycast. */
  address({ workchain, hash }) {
    return this.uint(0b100, 3).int(workchain, 8).bytes(hash);
  }

  ref(cell) {
    this.#refs.push(cell);
    return this;
  }

  done() {
    return new Cell(this.#bits, this.#refs);
  }
}

/** A bag with this cell as its root, with a checksum and without an index. */
export function toBag(root) {
  const order = [];
  const seen = new Set();
  // Children before parents; the other way round each is named only by those before it.
  const visit = (cell) => {
    if (seen.has(cell.name)) return;
    seen.add(cell.name);
    cell.refs.forEach(visit);
    order.unshift(cell);
  };
  visit(root);
  const places = new Map(order.map((cell, i) => [cell.name, i]));
  const cells = order.flatMap((cell) => [...cell.described(), ...cell.refs.map((ref) => places.get(ref.name))]);
  if (order.length > MAX_CELLS || cells.length > 0xffff) throw new Error("A bag is too large.");
  const pair = (number) => [number >> 8, number & 0xff];
  const bytes = [...MAGIC, 0x41, 2, order.length, 1, 0, ...pair(cells.length), 0, ...cells];
  const crc = crc32c(bytes);
  return new Uint8Array([...bytes, crc & 0xff, (crc >>> 8) & 0xff, (crc >>> 16) & 0xff, crc >>> 24]);
}

/** The root of a bag of ordinary cells. Throws at what is none. */
export function fromBag(bytes) {
  let at = 0;
  const take = (count) => {
    if (at + count > bytes.length) throw new Error("A bag of cells is cut off.");
    at += count;
    return bytes.slice(at - count, at);
  };
  const number = (size) => take(size).reduce((sum, byte) => sum * 256 + byte, 0);
  if (MAGIC.some((byte) => number(1) !== byte)) throw new Error("This is no bag of cells.");
  const flags = number(1);
  const size = flags & 7;
  const offset = number(1);
  const [count, roots, absent] = [number(size), number(size), number(size)];
  number(offset);
  if (size === 0 || roots !== 1 || absent !== 0 || count > MAX_CELLS) throw new Error("This bag of cells is not understood.");
  const top = number(size);
  if (flags & 0x80) take(count * offset);
  const read = Array.from({ length: count }, () => {
    const [refs, length] = take(2);
    if (refs > MAX_REFS) throw new Error("A cell of the bag is not ordinary.");
    let bits = Array.from(take(Math.ceil(length / 2)), (byte) => byte.toString(2).padStart(8, "0")).join("");
    if (length % 2 === 1) bits = bits.slice(0, bits.lastIndexOf("1"));
    return { bits, refs: Array.from({ length: refs }, () => number(size)) };
  });
  const made = [];
  for (let i = count - 1; i >= 0; i -= 1) {
    const refs = read[i].refs.map((ref) => made[ref]);
    if (refs.includes(undefined)) throw new Error("A cell of the bag names one before it.");
    made[i] = new Cell(read[i].bits, refs);
  }
  return made[top];
}

export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
/** For links. */
export const toBase64Url = (bytes) => toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
export const fromBase64Url = (text) => fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
