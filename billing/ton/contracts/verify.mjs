// npm run verify: each source, compiled here and now, is byte for byte what is checked in.
import { readFile } from "node:fs/promises";
import { at, compile, CONTRACTS } from "./compile.mjs";

for (const name of Object.keys(CONTRACTS)) {
  const { boc, json } = await compile(name);
  const same = boc.equals(await readFile(at(`${name}.boc`))) && json === (await readFile(at(`${name}.json`), "utf8"));
  if (!same) {
    console.error(`${name}.tolk does not compile to what is checked in; what it compiles to:`);
    console.error(json);
    process.exit(1);
  }
  process.stdout.write(`${name} ${json}`);
}
