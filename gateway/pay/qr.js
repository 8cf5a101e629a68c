// QR codes (ISO/IEC 18004): bytes, the lowest level of correction, the smallest of the 40 sizes that holds them. Links that
// open a channel bring the contract along and need about size 34.

import { s } from "./dom.js";

/** Level L: words of correction in a block, and blocks, by version. */
const CORRECTION = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30];
const BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25];
const LEVEL_L = 1;
const QUIET = 4;

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** An image of a text, or null where none holds it. */
export function draw(text, label) {
  const modules = encode(new TextEncoder().encode(text));
  if (!modules) return null;
  const size = modules.length + 2 * QUIET;
  const path = modules.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ""))).join("");
  return s(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges", class: "qr" },
    // Dark on light in every theme: not every camera reads the reverse.
    s("rect", { width: size, height: size, fill: "#fff" }),
    s("path", { d: path, fill: "#000" }),
  );
}

/** @param {Uint8Array} bytes @returns {boolean[][] | null} rows of modules, true where dark */
export function encode(bytes) {
  for (let version = 1; version <= 40; version += 1) {
    const lengthBits = version < 10 ? 8 : 16;
    const capacity = words(version) - CORRECTION[version - 1] * BLOCKS[version - 1];
    if (4 + lengthBits + 8 * bytes.length > 8 * capacity) continue;
    return placed(version, corrected(version, padded(bytes, lengthBits, capacity)));
  }
  return null;
}

/** All words of a version: what is left of the square beside the patterns. */
function words(version) {
  const size = 4 * version + 17;
  const aligned = version === 1 ? 0 : Math.floor(version / 7) + 2;
  let bits = size * size - 3 * 64 - 31 - 2 * (size - 16);
  if (aligned > 0) bits -= (aligned * aligned - 3) * 25 - 2 * (aligned - 2) * 5;
  if (version >= 7) bits -= 36;
  return bits >> 3;
}

function padded(bytes, lengthBits, capacity) {
  let bits = `0100${bytes.length.toString(2).padStart(lengthBits, "0")}`;
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  bits += "0".repeat(Math.min(4, 8 * capacity - bits.length));
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "0");
  const data = bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  for (let fill = 0xec; data.length < capacity; fill ^= 0xec ^ 0x11) data.push(fill);
  return data;
}

/** Multiplication in the field of 256 elements with the polynomial 0x11d. */
function times(a, b) {
  let product = 0;
  for (let i = 7; i >= 0; i -= 1) {
    product = (product << 1) ^ (product & 0x80 ? 0x11d : 0);
    if ((b >> i) & 1) product ^= a;
  }
  return product;
}

function divisor(degree) {
  const factors = Array(degree).fill(0);
  factors[degree - 1] = 1;
  let root = 1;
  for (let i = 0; i < degree; i += 1) {
    for (let j = 0; j < degree; j += 1) {
      factors[j] = times(factors[j], root);
      if (j + 1 < degree) factors[j] ^= factors[j + 1];
    }
    root = times(root, 2);
  }
  return factors;
}

function remainder(data, by) {
  const rest = Array(by.length).fill(0);
  for (const word of data) {
    const factor = word ^ rest.shift();
    rest.push(0);
    by.forEach((coefficient, i) => (rest[i] ^= times(coefficient, factor)));
  }
  return rest;
}

/** Blocks with their correction, interleaved. The later blocks have a word more. */
function corrected(version, data) {
  const [count, degree] = [BLOCKS[version - 1], CORRECTION[version - 1]];
  const by = divisor(degree);
  const short = Math.floor(data.length / count);
  const shorts = count - (data.length % count);
  let at = 0;
  const blocks = Array.from({ length: count }, (_, i) => {
    const block = data.slice(at, (at += short + (i < shorts ? 0 : 1)));
    return { block, check: remainder(block, by) };
  });
  const all = [];
  for (let i = 0; i <= short; i += 1) for (const { block } of blocks) if (i < block.length) all.push(block[i]);
  for (let i = 0; i < degree; i += 1) for (const { check } of blocks) all.push(check[i]);
  return all;
}

function placed(version, data) {
  const size = 4 * version + 17;
  const blank = () => Array.from({ length: size }, () => Array(size).fill(false));
  const [modules, isFixed] = [blank(), blank()];
  const set = (x, y, dark) => {
    modules[y][x] = dark;
    isFixed[y][x] = true;
  };
  for (let i = 0; i < size; i += 1) {
    set(6, i, i % 2 === 0);
    set(i, 6, i % 2 === 0);
  }
  const square = (cx, cy, radius, isLight) => {
    for (let dy = -radius; dy <= radius; dy += 1) {
      for (let dx = -radius; dx <= radius; dx += 1) {
        const [x, y] = [cx + dx, cy + dy];
        if (x < 0 || y < 0 || x >= size || y >= size) continue;
        set(x, y, !isLight.includes(Math.max(Math.abs(dx), Math.abs(dy))));
      }
    }
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, [2, 4]);
  const centres = alignment(version, size);
  const last = centres.length - 1;
  centres.forEach((x, i) => centres.forEach((y, j) => {
    const isCorner = (i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0);
    if (!isCorner) square(x, y, 2, [1]);
  }));
  if (version >= 7) {
    const bits = (version << 12) | checked(version, 0x1f25, 12);
    for (let i = 0; i < 18; i += 1) {
      const dark = ((bits >> i) & 1) === 1;
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      set(a, b, dark);
      set(b, a, dark);
    }
  }
  format(0, size, set);
  fill(data, size, modules, isFixed);
  let best = null;
  for (let mask = 0; mask < MASKS.length; mask += 1) {
    const tried = modules.map((row, y) => row.map((dark, x) => (isFixed[y][x] ? dark : dark !== (MASKS[mask](x, y) === 0))));
    format(mask, size, (x, y, dark) => (tried[y][x] = dark));
    const cost = penalty(tried);
    if (!best || cost < best.cost) best = { cost, tried };
  }
  return best.tried;
}

function alignment(version, size) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = version === 32 ? 26 : Math.ceil((4 * version + 4) / (2 * count - 2)) * 2;
  const centres = [6];
  for (let at = size - 7; centres.length < count; at -= step) centres.splice(1, 0, at);
  return centres;
}

/** The remainder of BCH codes. */
function checked(value, polynomial, degree) {
  let rest = value;
  for (let i = 0; i < degree; i += 1) rest = (rest << 1) ^ ((rest >> (degree - 1)) * polynomial);
  return rest;
}

function format(mask, size, set) {
  const value = (LEVEL_L << 3) | mask;
  const bits = ((value << 10) | checked(value, 0x537, 10)) ^ 0x5412;
  const bit = (i) => ((bits >> i) & 1) === 1;
  for (let i = 0; i <= 5; i += 1) set(8, i, bit(i));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let i = 9; i < 15; i += 1) set(14 - i, 8, bit(i));
  for (let i = 0; i < 8; i += 1) set(size - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i += 1) set(8, size - 15 + i, bit(i));
  set(8, size - 8, true);
}

/** Up and down in pairs of columns, from the right. */
function fill(data, size, modules, isFixed) {
  let at = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      for (const x of [right, right - 1]) {
        const isUp = ((right + 1) & 2) === 0;
        const y = isUp ? size - 1 - step : step;
        if (isFixed[y][x] || at >= 8 * data.length) continue;
        modules[y][x] = ((data[at >> 3] >> (7 - (at & 7))) & 1) === 1;
        at += 1;
      }
    }
  }
}

/** How hard it is to read: long runs, squares, what looks like a corner, too much of one colour. */
function penalty(modules) {
  const size = modules.length;
  const lines = [...modules, ...modules.map((_, x) => modules.map((row) => row[x]))].map((line) => line.map(Number).join(""));
  let cost = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) cost += run.length - 2;
    for (const pattern of ["10111010000", "00001011101"]) {
      for (let at = line.indexOf(pattern); at >= 0; at = line.indexOf(pattern, at + 1)) cost += 40;
    }
  }
  let dark = 0;
  modules.forEach((row, y) => row.forEach((module, x) => {
    dark += module ? 1 : 0;
    const isSquare = x + 1 < size && y + 1 < size && module === row[x + 1] && module === modules[y + 1][x] && module === modules[y + 1][x + 1];
    if (isSquare) cost += 3;
  }));
  return cost + 10 * Math.floor(Math.abs((20 * dark) / (size * size) - 10));
}
