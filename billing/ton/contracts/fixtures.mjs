// npm run fixtures: writes fixtures/ anew. Read the difference before you check it in: it is what a change does to money.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { at, checkedIn } from "./compile.mjs";
import { record } from "./record.mjs";

const files = await record(await checkedIn());
await rm(at("fixtures/"), { recursive: true, force: true });
for (const [name, bytes] of files) {
  const path = fileURLToPath(at(`fixtures/${name}`));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}
console.log(`${files.size} files`);
