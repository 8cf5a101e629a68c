// From channel.tolk to its bag of cells, with the compiler that package.json pins.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { getTolkCompilerVersion, runTolkCompiler } from "@ton/tolk-js";
import { Cell } from "@ton/core";

const folder = new URL("./", import.meta.url);
export const at = (name) => new URL(name, folder);

// name: of the source without its end; change: what is done to it before. Gives the bytes of NAME.boc and the text of
// NAME.json.
export async function compile(name, change = (source) => source) {
  const tolk = await getTolkCompilerVersion();
  const source = change(await readFile(at(`${name}.tolk`), "utf8"));
  const result = await runTolkCompiler({
    entrypointFileName: `${name}.tolk`,
    fsReadCallback: (path) => {
      if (path !== `${name}.tolk`) throw new Error(`${path} is not there`);
      return source;
    },
  });
  if (result.status === "error") throw new Error(result.message);
  // The form of a bag of cells is a choice, too: @ton/core's, with a checksum and without an index.
  const boc = Cell.fromBase64(result.codeBoc64).toBoc({ idx: false, crc32: true });
  const facts = {
    tolk,
    code_hash: result.codeHashHex.toLowerCase(),
    boc_sha256: createHash("sha256").update(boc).digest("hex"),
    boc_bytes: boc.length,
    source_sha256: createHash("sha256").update(source).digest("hex"),
  };
  return { boc, json: `${JSON.stringify(facts, null, 2)}\n` };
}
