// pytoniq, which checks the proofs of lite-servers, against the lite-server front; compared with what the HTTP front says.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beginCell, external, internal, SendMode, storeMessage, toNano } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { TonClient, WalletContractV5R1 } from '@ton/ton';
import { startChain } from './chain.mjs';

const script = fileURLToPath(new URL('lite.py', import.meta.url));
const run = promisify(execFile);
let chain, client, wallet, keys;

before(async () => {
  chain = await startChain();
  client = new TonClient({ endpoint: chain.endpoint });
  keys = keyPairFromSeed(Buffer.alloc(32, 9));
  wallet = WalletContractV5R1.create({ publicKey: keys.publicKey, walletId: { networkGlobalId: -217 } });
  await chain.fund(wallet.address, toNano('5'));
});
after(() => chain.stop());

async function pytoniq(...more) {
  const { stdout } = await run(process.env.MULBERRY_PYTONIQ, [script, chain.liteServer, chain.liteKey, ...more]);
  return JSON.parse(stdout);
}

async function compared(said) {
  const [newest] = await client.getTransactions(wallet.address, { limit: 1 });
  assert.equal(said.balance, String(await client.getBalance(wallet.address)));
  assert.deepEqual(said.last, [String(newest.lt), newest.hash().toString('hex')]);
  const all = await client.getTransactions(wallet.address, { limit: 20 });
  assert.deepEqual(said.transactions, all.map((one) => [String(one.lt), one.hash().toString('hex')]));
}

test('an account is proven before it has a contract', async () => {
  const said = await pytoniq(wallet.address.toRawString());
  assert.equal(said.status, 'account_uninit');
  await compared(said);
  assert.equal(said.same_block, true);
  assert.equal(said.shards[0], said.seqno);
  assert.equal(said.nobody, true);
  assert.deepEqual(said.parameters, [19, 20, 21]);
  assert.ok(said.all_parameters > 10);
  assert.equal(said.version, 0x101);
  assert.ok(Math.abs(said.time - Date.now() / 1000) < 60);
});

test('a message is sent, and what came of it is proven', async () => {
  const body = wallet.createTransfer({
    seqno: 0,
    secretKey: keys.secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY,
    messages: [internal({ to: wallet.address, value: toNano('0.1'), bounce: false })],
  });
  const message = beginCell().store(storeMessage(external({ to: wallet.address, init: wallet.init, body }))).endCell();
  const said = await pytoniq(wallet.address.toRawString(), message.toBoc().toString('base64'));
  assert.equal(said.status, 'account_active');
  assert.equal(said.wallet_seqno, 1);
  assert.equal(said.transactions.length, 3);
  await compared(said);
});

test('a message that is no good is refused with its reason', async () => {
  const again = beginCell().store(storeMessage(external({ to: wallet.address, body: beginCell().endCell() }))).endCell();
  await assert.rejects(
    pytoniq(wallet.address.toRawString(), again.toBoc().toString('base64')),
    /cannot apply external message to current state/,
  );
});
