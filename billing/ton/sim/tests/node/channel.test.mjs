// A payment channel through TON's official client: opened, topped up, settled, read and closed, from the words of
// docs/contract.md and with none of our code.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Address, Cell, SendMode, beginCell, contractAddress, internal, toNano } from '@ton/core';
import { keyPairFromSeed, sign } from '@ton/crypto';
import { TonClient, WalletContractV5R1 } from '@ton/ton';
import { startChain } from './chain.mjs';

const NETWORK = -217;
const DAY = 86_400;
const code = Cell.fromBoc(readFileSync(new URL('../../../contracts/channel.boc', import.meta.url)))[0];
const pair = (n) => keyPairFromSeed(Buffer.alloc(32, n));
const [walletKeys, payerKeys, payeeKeys] = [pair(1), pair(2), pair(3)];

let chain;
let client;
let wallet;
let channel;

before(async () => {
  chain = await startChain();
  client = new TonClient({ endpoint: chain.endpoint });
  const contract = WalletContractV5R1.create({
    workchain: 0,
    publicKey: walletKeys.publicKey,
    walletId: { networkGlobalId: NETWORK },
  });
  wallet = client.open(contract);
  await chain.fund(wallet.address, toNano('20'));
});

after(() => chain.stop());

const payee = Address.parseRaw(`0:${'22'.repeat(32)}`);
const feeDest = Address.parseRaw(`0:${'33'.repeat(32)}`);

async function send(to, value, body, init) {
  // By the chain's clock, which this test moves.
  const { timestampt: now } = await client.getContractState(wallet.address);
  await wallet.sendTransfer({
    seqno: await wallet.getSeqno(),
    secretKey: walletKeys.secretKey,
    timeout: now + 60,
    sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
    messages: [internal({ to, value, body, init, bounce: true })],
  });
}

const topUp = (amount) => beginCell().storeUint(0x70637470, 32).storeUint(1, 64).storeCoins(amount).endCell();

function signed(tag, keys, amount) {
  const bytes = beginCell()
    .storeBuffer(Buffer.from(tag, 'latin1'))
    .storeInt(NETWORK, 32)
    .storeBuffer(channel.address.hash)
    .storeUint(amount, 128)
    .endCell()
    .bits.subbuffer(0, 56 * 8);
  return sign(bytes, keys.secretKey);
}

const settle = (take, max, { close = false, payeeBy = payeeKeys } = {}) =>
  beginCell()
    .storeUint(0x7063736c, 32)
    .storeUint(1, 64)
    .storeBit(close)
    .storeCoins(take)
    .storeCoins(max)
    .storeBuffer(signed(close ? 'CLS1' : 'STL1', payeeBy, take))
    .storeMaybeRef(beginCell().storeBuffer(signed('VCH1', payerKeys, max)).endCell())
    .endCell();

const ask = (op) => beginCell().storeUint(op, 32).storeUint(1, 64).endCell();

// close_at, deposited, claimed of the contract's data.
async function data() {
  const state = await client.getContractState(channel.address);
  if (state.state !== 'active') return null;
  const from = Cell.fromBoc(state.data)[0].beginParse();
  return { closeAt: from.loadUint(32), deposited: from.loadCoins(), claimed: from.loadCoins() };
}

/** A channel that nobody opened yet. */
function born(salt) {
  const terms = beginCell()
    .storeInt(NETWORK, 32)
    .storeUint(DAY, 32)
    .storeUint(500, 16)
    .storeUint(salt, 128)
    .storeAddress(wallet.address)
    .storeAddress(payee)
    .storeAddress(feeDest)
    .endCell();
  const first = beginCell()
    .storeUint(0, 32)
    .storeCoins(0)
    .storeCoins(0)
    .storeBuffer(payerKeys.publicKey)
    .storeBuffer(payeeKeys.publicKey)
    .storeRef(terms)
    .endCell();
  const init = { code, data: first };
  return { init, address: contractAddress(0, init) };
}

test('a channel is opened, topped up, settled, read and closed', async () => {
  channel = born(0x5eed);
  await send(channel.address, toNano('5.1'), topUp(toNano('5')), channel.init);
  assert.deepEqual(await data(), { closeAt: 0, deposited: toNano('5'), claimed: 0n });
  await send(channel.address, toNano('1.1'), topUp(toNano('1')));
  assert.deepEqual(await data(), { closeAt: 0, deposited: toNano('6'), claimed: 0n });

  const { stack } = await client.runMethod(channel.address, 'get_channel');
  assert.equal(stack.readNumber(), 0);
  assert.equal(stack.readBigNumber(), toNano('6'));

  // Three are taken of the four that are allowed: 5 % go to the network.
  await send(channel.address, toNano('0.1'), settle(toNano('3'), toNano('4')));
  assert.equal((await data()).claimed, toNano('3'));
  // The payee also got notes of one nanoton each.
  const near = (got, wanted) => assert.ok(got >= wanted && got < wanted + 10n, `${got}, not ${wanted}`);
  near(await client.getBalance(payee), toNano('2.85'));
  near(await client.getBalance(feeDest), toNano('0.15'));

  await send(channel.address, toNano('0.1'), ask(0x70637271));
  const { closeAt } = await data();
  assert.ok(closeAt > 0);
  // Not before its time.
  await send(channel.address, toNano('0.1'), ask(0x70636663));
  assert.notEqual(await data(), null);
  await chain.danger('danger_advance', { seconds: String(DAY + 1) });
  const before = await wallet.getBalance();
  await send(channel.address, toNano('0.1'), ask(0x70636663));
  assert.equal(await data(), null);
  const back = (await wallet.getBalance()) - before;
  assert.ok(back > toNano('2.99') && back < toNano('3.03'), `${back}`);
});

test('a channel is closed at once with both signatures, and its history tells it', async () => {
  channel = born(0xc105e);
  const { address, init } = channel;
  await send(address, toNano('2.1'), topUp(toNano('2')), init);
  // Any wallet can pay in with a comment: all that came is credited, less the cost.
  await send(address, toNano('1'), beginCell().storeUint(0, 32).storeStringTail('for June').endCell());
  const { deposited } = await data();
  assert.ok(deposited > toNano('2.99') && deposited < toNano('3'), `${deposited}`);
  const fee = (await client.runMethod(address, 'get_topup_fee')).stack.readBigNumber();
  assert.ok(fee > 0n && fee < toNano('0.01'), `${fee}`);

  // Not without the payee: the payer signed, and that lets nobody close.
  await send(address, toNano('0.1'), settle(toNano('1'), toNano('2'), { close: true, payeeBy: payerKeys }));
  assert.equal((await data()).claimed, 0n);
  const history = await client.getTransactions(address, { limit: 10 });
  assert.equal(history[0].description.computePhase.exitCode, 205);
  assert.deepEqual(
    history.slice(1).map((one) => one.inMessage.body.beginParse().loadUint(32)),
    [0, 0x70637470],
  );

  const before = await wallet.getBalance();
  await send(address, toNano('0.1'), settle(toNano('1'), toNano('2'), { close: true }));
  assert.equal(await data(), null);
  // By the messages, for rent takes a little of what accounts have.
  for (const [account, op, amount] of [[payee, 0x70637061, '0.95'], [feeDest, 0x70636665, '0.05']]) {
    const [{ inMessage }] = await client.getTransactions(account, { limit: 1 });
    assert.equal(inMessage.info.value.coins, toNano(amount));
    assert.equal(inMessage.body.beginParse().loadUint(32), op);
  }
  const back = (await wallet.getBalance()) - before;
  assert.ok(back > deposited - toNano('1') && back < deposited - toNano('0.97'), `${back}`);
});
