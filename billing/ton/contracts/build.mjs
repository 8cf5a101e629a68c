// npm run build: writes channel.boc and channel.json. A changed code is another contract: see docs/contract.md.
import { writeFile } from "node:fs/promises";
import { at, compile } from "./compile.mjs";

const { boc, json } = await compile("channel");
await writeFile(at("channel.boc"), boc);
await writeFile(at("channel.json"), json);
process.stdout.write(json);
