import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Cell } from "@ton/core";
import { at, compile } from "./compile.mjs";
import { record } from "./record.mjs";

const checkedIn = await readFile(at("channel.boc"));

test("the source compiles to the code that is checked in, byte for byte", async () => {
  const { boc, json } = await compile("channel");
  assert.deepEqual(boc, checkedIn);
  assert.equal(json, await readFile(at("channel.json"), "utf8"));
});

test("the code's hash is the one that is written beside it", async () => {
  const { code_hash } = JSON.parse(await readFile(at("channel.json"), "utf8"));
  assert.equal(Cell.fromBoc(checkedIn)[0].hash().toString("hex"), code_hash);
});

const files = await record(checkedIn);

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
