// npm run verify: the source, compiled here and now, is byte for byte what is checked in.
import { readFile } from "node:fs/promises";
import { at, compile } from "./compile.mjs";

const { boc, json } = await compile("channel");
const same = boc.equals(await readFile(at("channel.boc"))) && json === (await readFile(at("channel.json"), "utf8"));
if (!same) {
  console.error("channel.tolk does not compile to what is checked in; what it compiles to:");
  console.error(json);
  process.exit(1);
}
process.stdout.write(json);
