import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Cell } from "@ton/core";
import { at, checkedIn, compile } from "./compile.mjs";
import { record } from "./record.mjs";

const codes = await checkedIn();

for (const [name, code] of Object.entries(codes)) {
  test(`${name}.tolk compiles to the code that is checked in, byte for byte`, async () => {
    const { boc, json } = await compile(name);
    assert.deepEqual(boc, code);
    assert.equal(json, await readFile(at(`${name}.json`), "utf8"));
  });

  test(`the hash of ${name}'s code is the one that is written beside it`, async () => {
    const { code_hash } = JSON.parse(await readFile(at(`${name}.json`), "utf8"));
    assert.equal(Cell.fromBoc(code)[0].hash().toString("hex"), code_hash);
  });
}

const files = await record(codes);

test("nothing else is among the fixtures", async () => {
  const found = await readdir(fileURLToPath(at("fixtures/")), { recursive: true, withFileTypes: true });
  const names = found.filter((entry) => entry.isFile()).length;
  assert.equal(names, files.size);
});

for (const [name, bytes] of files) {
  test(`the official executor says again what is in fixtures/${name}`, async () => {
    assert.equal(Buffer.compare(bytes, await readFile(at(`fixtures/${name}`))), 0, "run `npm run fixtures`, and read the difference");
  });
}
