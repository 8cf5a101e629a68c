// npm run build: writes each contract's NAME.boc and NAME.json. A changed code is another contract: see docs/contract.md.
import { writeFile } from "node:fs/promises";
import { at, compile, CONTRACTS } from "./compile.mjs";

for (const name of Object.keys(CONTRACTS)) {
  const { boc, json } = await compile(name);
  await writeFile(at(`${name}.boc`), boc);
  await writeFile(at(`${name}.json`), json);
  process.stdout.write(`${name} ${json}`);
}
