// TON's official client against the simulated chain: a wallet is funded, deployed by its first transfer, and read.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Address, Cell, SendMode, external, internal, toNano } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { TonClient, WalletContractV4, WalletContractV5R1 } from '@ton/ton';
import { startChain } from './chain.mjs';

let chain;
let client;

before(async () => {
  chain = await startChain();
  client = new TonClient({ endpoint: chain.endpoint });
});

after(() => chain.stop());

const keys = (n) => keyPairFromSeed(Buffer.alloc(32, n));

// The chain's network is -217, and a V5 wallet's id names its network.
const wallet = (n) =>
  WalletContractV5R1.create({ workchain: 0, publicKey: keys(n).publicKey, walletId: { networkGlobalId: -217 } });

test('a wallet is funded, deployed by its first transfer, and read', async () => {
  const mine = client.open(wallet(1));
  const theirs = Address.parseRaw(`0:${'ab'.repeat(32)}`);
  assert.equal(await client.isContractDeployed(mine.address), false);
  await chain.fund(mine.address, toNano('10'));
  assert.equal(await mine.getBalance(), toNano('10'));
  assert.equal(await mine.getSeqno(), 0);

  await mine.sendTransfer({
    seqno: 0,
    secretKey: keys(1).secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY,
    messages: [internal({ to: theirs, value: toNano('2.5'), body: 'thank you', bounce: false })],
  });
  assert.equal(await mine.getSeqno(), 1);
  assert.equal(await client.isContractDeployed(mine.address), true);
  const got = await client.getBalance(theirs);
  assert.ok(got <= toNano('2.5') && got > toNano('2.499'), `${got}`);
  const left = await mine.getBalance();
  assert.ok(left < toNano('7.5') && left > toNano('7.49'), `${left}`);

  const { stack } = await client.runMethod(mine.address, 'seqno');
  assert.equal(stack.readNumber(), 1);
  const key = await client.runMethod(mine.address, 'get_public_key');
  assert.equal(key.stack.readBigNumber(), BigInt(`0x${keys(1).publicKey.toString('hex')}`));

  const [transaction] = await client.getTransactions(theirs, { limit: 10 });
  assert.equal(transaction.inMessage.info.src.toString(), mine.address.toString());
  assert.equal(transaction.inMessage.info.value.coins, toNano('2.5'));
  const body = transaction.inMessage.body.beginParse();
  assert.equal(body.loadUint(32), 0);
  assert.equal(body.loadStringTail(), 'thank you');
});

test('a message comes once', async () => {
  const mine = client.open(wallet(2));
  await chain.fund(mine.address, toNano('1'));
  const body = wallet(2).createTransfer({
    seqno: 0,
    secretKey: keys(2).secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY,
    messages: [internal({ to: mine.address, value: 1n })],
  });
  const message = external({ to: mine.address, init: mine.init, body });
  await client.sendMessage(message);
  await assert.rejects(client.sendMessage(message), (error) => {
    assert.equal(error.response.status, 500);
    assert.match(error.response.data.error, /cannot apply external message to current state.*exit code/);
    return true;
  });
  assert.equal(await mine.getSeqno(), 1);
});

test('a history is paged through', async () => {
  const mine = client.open(wallet(3));
  await chain.fund(mine.address, toNano('5'));
  for (let seqno = 0; seqno < 5; seqno++) {
    await mine.sendTransfer({
      seqno,
      secretKey: keys(3).secretKey,
      sendMode: SendMode.PAY_GAS_SEPARATELY,
      messages: [internal({ to: wallet(4).address, value: BigInt(1000 + seqno), bounce: false })],
    });
  }
  const all = await client.getTransactions(mine.address, { limit: 100 });
  assert.equal(all.length, 6);
  const paged = [];
  let from = {};
  for (;;) {
    const page = await client.getTransactions(mine.address, { limit: 2, ...from });
    if (page.length === 0) break;
    paged.push(...page);
    const last = page.at(-1);
    from = { lt: last.lt.toString(), hash: last.hash().toString('base64') };
  }
  assert.deepEqual(paged.map((one) => one.lt), all.map((one) => one.lt));
  // Each names the one before it.
  for (let n = 0; n + 1 < all.length; n++) {
    assert.equal(all[n].prevTransactionLt, all[n + 1].lt);
    assert.equal(all[n].prevTransactionHash.toString(16).padStart(64, '0'), all[n + 1].hash().toString('hex'));
  }
  const one = await client.getTransaction(mine.address, all[2].lt.toString(), all[2].hash().toString('base64'));
  assert.equal(one.lt, all[2].lt);
  const sent = all[0].outMessages.get(0).info;
  const result = await client.tryLocateResultTx(mine.address, wallet(4).address, sent.createdLt.toString());
  assert.equal(result.inMessage.info.value.coins, 1004n);
  const source = await client.tryLocateSourceTx(mine.address, wallet(4).address, sent.createdLt.toString());
  assert.equal(source.lt, all[0].lt);
});

test('fees are known before a message is sent', async () => {
  const mine = client.open(WalletContractV4.create({ workchain: 0, publicKey: keys(5).publicKey }));
  await chain.fund(mine.address, toNano('1'));
  const transfer = () => ({
    seqno: 0,
    secretKey: keys(5).secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY,
    messages: [internal({ to: mine.address, value: 0n, bounce: false })],
  });
  const { source_fees: fees } = await client.estimateExternalMessageFee(mine.address, {
    body: mine.createTransfer(transfer()),
    initCode: mine.init.code,
    initData: mine.init.data,
    ignoreSignature: true,
  });
  await mine.sendTransfer(transfer());
  const transactions = await client.getTransactions(mine.address, { limit: 10 });
  const sending = transactions.find((one) => one.outMessagesCount === 1);
  const estimated = fees.in_fwd_fee + fees.storage_fee + fees.gas_fee + fees.fwd_fee;
  const forwarded = sending.outMessages.get(0).info.forwardFee;
  assert.equal(BigInt(estimated), sending.totalFees.coins + forwarded);
});

test('blocks, configuration and the clock are told', async () => {
  const info = await client.getMasterchainInfo();
  const [shard] = await client.getWorkchainShards(info.latestSeqno);
  assert.equal(shard.workchain, 0);
  const mine = wallet(6);
  await chain.fund(mine.address, 5n);
  const { latestSeqno } = await client.getMasterchainInfo();
  const inside = await client.getShardTransactions(0, latestSeqno, shard.shard);
  assert.equal(inside[0].account.toString(), mine.address.toString());
  const state = await client.getContractState(mine.address);
  assert.equal(state.lastTransaction.lt, inside[0].lt);
  assert.equal(state.state, 'uninitialized');

  const answer = await fetch(new URL('/api/v2/getConfigParam?config_id=19', chain.endpoint));
  const { result } = await answer.json();
  const global = Cell.fromBase64(result.config.bytes).beginParse().loadInt(32);
  assert.equal(global, -217);
  const before = state.timestampt;
  await chain.danger('danger_advance', { seconds: '86400' });
  assert.ok((await client.getContractState(mine.address)).timestampt >= before + 86400);
});
