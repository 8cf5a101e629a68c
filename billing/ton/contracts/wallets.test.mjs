import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Cell } from '@ton/core';
import { made, OUT } from './wallets.mjs';

test('the golden vectors of wallets are what the official libraries make', async () => {
  assert.equal(readFileSync(OUT, 'utf8'), await made());
});

test('each message of the vectors is the one that its hash says', () => {
  const { transfers } = JSON.parse(readFileSync(OUT, 'utf8'));
  assert.equal(transfers.length, 4);
  for (const { bagOfCells, hash } of transfers) assert.equal(Cell.fromBase64(bagOfCells).hash().toString('hex'), hash);
});
