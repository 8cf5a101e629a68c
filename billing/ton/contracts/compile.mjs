// From a contract's source to its bag of cells, with the compiler that package.json pins.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { getTolkCompilerVersion, runTolkCompiler } from "@ton/tolk-js";
import { Cell } from "@ton/core";

const folder = new URL("./", import.meta.url);
export const at = (name) => new URL(name, folder);

// What is compiled to NAME.boc and NAME.json, each with the files that it is made of.
export const CONTRACTS = {
  channel: ["channel.tolk", "core.tolk"],
  jetton_channel: ["jetton_channel.tolk", "core.tolk"],
  registry: ["registry.tolk"],
};

// Each contract's bytes, as they are checked in.
export async function checkedIn() {
  const read = async (name) => [name, await readFile(at(`${name}.boc`))];
  return Object.fromEntries(await Promise.all(Object.keys(CONTRACTS).map(read)));
}

// name: one of CONTRACTS, or what stands alone; edits: pairs of what stands once in its files, and what is to stand there. Gives the bytes of
// NAME.boc and the text of NAME.json.
export async function compile(name, edits = []) {
  const tolk = await getTolkCompilerVersion();
  const sources = new Map();
  for (const file of CONTRACTS[name] ?? [`${name}.tolk`]) sources.set(file, await readFile(at(file), "utf8"));
  for (const [from, to] of edits) edit(sources, from, to);
  const result = await runTolkCompiler({
    entrypointFileName: `${name}.tolk`,
    fsReadCallback: (path) => {
      if (!sources.has(path)) throw new Error(`${path} is not there`);
      return sources.get(path);
    },
  });
  if (result.status === "error") throw new Error(result.message);
  // The form of a bag of cells is a choice, too: @ton/core's, with a checksum and without an index.
  const boc = Cell.fromBase64(result.codeBoc64).toBoc({ idx: false, crc32: true });
  const facts = {
    tolk,
    code_hash: result.codeHashHex.toLowerCase(),
    boc_sha256: sha256(boc),
    boc_bytes: boc.length,
    sources_sha256: Object.fromEntries([...sources].map(([file, source]) => [file, sha256(source)])),
  };
  return { boc, json: `${JSON.stringify(facts, null, 2)}\n` };
}

function edit(sources, from, to) {
  const found = [...sources].filter(([, source]) => source.includes(from));
  const times = found.reduce((sum, [, source]) => sum + source.split(from).length - 1, 0);
  if (times !== 1) throw new Error(`found ${times} times: ${from}`);
  const [[file, source]] = found;
  sources.set(file, source.replace(from, () => to));
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
