// Writes ../../src/config/slim.boc: the slim configuration of @ton/sandbox as a bag of cells.
// Afterwards compare the hash that it prints with SLIM_HASH in ../../src/config.rs.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Cell } from '@ton/core';

const { slimConfig } = createRequire(import.meta.url)('@ton/sandbox/dist/config/slimConfig.js');
const root = Cell.fromBase64(slimConfig);
writeFileSync(new URL('../../src/config/slim.boc', import.meta.url), root.toBoc());
console.log(root.hash().toString('hex'));
