// Writes cocoon.json: what Cocoon's own wrappers write, and what its own contracts make of it in the official executor.
//   node cocoon.mjs CHECKOUT      CHECKOUT: cocoon-contracts at ae5eebf, with these beside its folders:
//   npm i @ton/core@0.63.1 @ton/crypto@3.3.0 @ton/sandbox@0.41.0 @ton-community/func-js@0.11.0 esbuild-wasm
// By hand, and not in tests/run: the contracts are not on npm. Nothing of them is in this repository.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const checkout = resolve(process.argv[2]);
const of = createRequire(join(checkout, 'package.json'));
const { build } = of('esbuild-wasm');
const { Address, beginCell, BitString, Cell, Dictionary, toNano } = of('@ton/core');
const { keyPairFromSeed } = of('@ton/crypto');
const { Blockchain, createShardAccount, internal } = of('@ton/sandbox');
const { compileFunc } = of('@ton-community/func-js');

await build({
  absWorkingDir: checkout,
  entryPoints: ['Root', 'Client', 'Worker', 'Proxy'].map((name) => `wrappers/Cocoon${name}.ts`),
  outdir: 'out',
  format: 'cjs',
  bundle: true,
  packages: 'external',
  platform: 'node',
  outExtension: { '.js': '.cjs' },
});
const wrapper = (name) => of(`./out/Cocoon${name}.cjs`);
const { cocoonRootConfigToCell, cocoonParamsToCell, createProxyInfoValue } = wrapper('Root');
const { CocoonClient } = wrapper('Client');
const { CocoonWorker } = wrapper('Worker');
const { CocoonProxy } = wrapper('Proxy');

async function compile(name) {
  const sources = (path) => readFileSync(join(checkout, 'contracts', path), 'utf8');
  const compiled = await compileFunc({ targets: [`cocoon_${name}.fc`], sources });
  if (compiled.status !== 'ok') throw new Error(compiled.message);
  return Cell.fromBase64(compiled.codeBoc);
}
const code = { client: await compile('client'), worker: await compile('worker'), proxy: await compile('proxy') };

const bag = (cell) => cell.toBoc().toString('base64');
const hex = (bytes) => Buffer.from(bytes).toString('hex');
// Stands for a contract's code where only its hash counts.
const stub = (number) => beginCell().storeUint(number, 32).endCell();
const account = (byte) => new Address(0, Buffer.alloc(32, byte));
const seed = Buffer.alloc(32, 7);
const keys = keyPairFromSeed(seed);
const publicKey = BigInt(`0x${hex(keys.publicKey)}`);

const params = {
  struct_version: 3,
  params_version: 5,
  unique_id: 239,
  is_test: false,
  price_per_token: 20n,
  worker_fee_per_token: 19n,
  prompt_tokens_price_multiplier: 10000,
  cached_tokens_price_multiplier: 1000,
  completion_tokens_price_multiplier: 80000,
  reasoning_tokens_price_multiplier: 80001,
  proxy_delay_before_close: 86400,
  client_delay_before_close: 86401,
  min_proxy_stake: toNano(15),
  min_client_stake: toNano(14),
  proxy_sc_code: stub(1),
  worker_sc_code: stub(2),
  client_sc_code: stub(3),
};
const without = { proxy_sc_code: null, worker_sc_code: null, client_sc_code: null };
const plain = (value) => (value instanceof Cell ? hex(value.hash()) : typeof value === 'bigint' ? String(value) : value);
const told = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)]));
const golden = {
  made_with: 'cocoon-contracts ae5eebf, @ton/core 0.63.1, @ton/sandbox 0.41.0, func-js 0.11.0',
  seed: hex(seed),
  public_key: hex(keys.publicKey),
  params: [{ struct_version: 1 }, { struct_version: 2 }, {}, { is_test: true, ...without }]
    .map((changed) => ({ ...params, ...changed }))
    .map((value) => ({ value: told(value), boc: bag(cocoonParamsToCell(value)) })),
};

function hashes(...bytes) {
  const list = Dictionary.empty(Dictionary.Keys.BigUint(256), Dictionary.Values.BitString(0));
  for (const byte of bytes) list.set(BigInt(`0x${hex(Buffer.alloc(32, byte))}`), new BitString(Buffer.alloc(0), 0, 0));
  return list;
}
function proxies(entries) {
  const list = Dictionary.empty(Dictionary.Keys.Uint(32), createProxyInfoValue());
  for (const [number, addr] of Object.entries(entries)) list.set(Number(number), { addr });
  return list;
}
const newborn = {
  owner_address: account(9),
  proxy_hashes: hashes(),
  registered_proxies: proxies({}),
  last_proxy_seqno: 0,
  worker_hashes: hashes(),
  model_hashes: hashes(),
  version: 0,
  params,
};
const full = {
  ...newborn,
  proxy_hashes: hashes(1),
  registered_proxies: proxies({ 3: '91.108.4.11:5222 91.108.4.11:8888', 7: '10.0.0.1:1000' }),
  last_proxy_seqno: 8,
  worker_hashes: hashes(2, 3, 0xfe),
  model_hashes: hashes(4, 5),
  version: 77,
};
const listed = (list) => [...list.keys()].map((key) => key.toString(16).padStart(64, '0'));
golden.roots = [newborn, full].map((root) => ({
  value: {
    owner: root.owner_address.toRawString(),
    proxy_images: listed(root.proxy_hashes),
    worker_images: listed(root.worker_hashes),
    models: listed(root.model_hashes),
    proxies: Object.fromEntries([...root.registered_proxies].map(([number, { addr }]) => [number, addr])),
    last_proxy_seqno: root.last_proxy_seqno,
    version: root.version,
  },
  params: told(root.params),
  boc: bag(cocoonRootConfigToCell(root)),
}));

const ofChild = cocoonParamsToCell({ ...params, ...without });
const root = account(0x52);
const proxyData = {
  ownerAddress: account(0x10),
  proxyPublicKey: publicKey,
  rootAddress: root,
  state: 0,
  balance: 0n,
  stake: 0n,
  unlockTs: 0,
  params: cocoonParamsToCell({ ...params, proxy_sc_code: null }),
};
const proxy = CocoonProxy.createFromConfig(proxyData, params.proxy_sc_code);
const child = { proxyAddress: proxy.address, proxyPublicKey: publicKey, state: 0, params: ofChild };
const clientData = {
  ...child,
  ownerAddress: account(0x20),
  balance: 0n,
  stake: params.min_client_stake,
  tokensUsed: 0n,
  unlockTs: 0,
  secretHash: 0n,
};
const workerData = { ...child, ownerAddress: account(0x30), tokens: 0n };
golden.children = {
  root: root.toRawString(),
  params: bag(cocoonParamsToCell(params)),
  proxy_owner: proxyData.ownerAddress.toRawString(),
  proxy: proxy.address.toRawString(),
  client_owner: clientData.ownerAddress.toRawString(),
  client: CocoonClient.createFromConfig(clientData, params.client_sc_code).address.toRawString(),
  worker_owner: workerData.ownerAddress.toRawString(),
  worker: CocoonWorker.createFromConfig(workerData, params.worker_sc_code).address.toRawString(),
};

// What a wrapper would send.
async function body(send) {
  let sent;
  await send({ internal: async (_via, message) => (sent = message.body) });
  return sent;
}
const chain = await Blockchain.create();
const sender = await chain.treasury('sender');
const change = account(0x44);
golden.executed = [];
async function execute(name, address, code, before, message, { tokens = null, query_id }) {
  const shard = createShardAccount({ address, code, data: before, balance: toNano(10), workchain: 0 });
  await chain.setShardAccount(address, shard);
  const sent = internal({ from: sender.address, to: address, value: toNano('1'), body: message, bounce: true });
  const { transactions } = await chain.sendMessage(sent);
  const [transaction] = transactions.filter((one) => one.inMessage?.info.dest?.equals(address));
  const after = (await chain.getContract(address)).accountState.state;
  golden.executed.push({
    name,
    to: address.toRawString(),
    tokens: tokens === null ? null : String(tokens),
    query_id: String(query_id),
    excesses_to: change.toRawString(),
    message: bag(message),
    exit_code: transaction.description.computePhase.exitCode,
    before: bag(before),
    after: bag(after.data),
  });
}

const client = CocoonClient.createFromAddress(account(0x61));
const worker = CocoonWorker.createFromAddress(account(0x62));
const closing = CocoonProxy.createFromAddress(account(0x63));
const used = (changed) =>
  CocoonClient.createFromConfig({ ...clientData, balance: toNano(5), tokensUsed: 100n, ...changed }, code.client).init.data;
async function charge(name, tokens, query_id, expected = client.address, changed = {}) {
  const message = await body((via) => client.sendChargeRequest(via, {}, query_id, tokens, expected, change, keys, 1n));
  await execute(name, client.address, code.client, used(changed), message, { tokens, query_id });
}
await charge('charge', 1_000_000n, 5);
await charge('a charge that is no more than before', 100n, 5);
await charge('a charge for another client', 1_000_000n, 6, worker.address);
await charge('a charge by another proxy', 1_000_000n, 5, client.address, { proxyPublicKey: 1n });
const most = 18446744073709551615n;
const refund = await body((via) => client.sendGrantRefundRequest(via, {}, most, 200n, client.address, change, keys, 1n));
await execute('refund', client.address, code.client, used({}), refund, { tokens: 200n, query_id: most });
const worked = CocoonWorker.createFromConfig({ ...workerData, tokens: 7n }, code.worker).init.data;
const payout = await body((via) => worker.sendPayoutRequest(via, {}, 9, 5000n, worker.address, change, keys, 1n));
await execute('payout', worker.address, code.worker, worked, payout, { tokens: 5000n, query_id: 9 });
const last = await body((via) => worker.sendLastPayoutRequest(via, {}, 10, 5001n, worker.address, change, keys, 1n));
await execute('last payout', worker.address, code.worker, worked, last, { tokens: 5001n, query_id: 10 });
const proxyAs = (changed) =>
  CocoonProxy.createFromConfig({ ...proxyData, balance: toNano(1), stake: toNano(2), ...changed }, code.proxy).init.data;
const end = (queryId) => ({ value: 1n, queryId, sendExcessesTo: change, keyPair: keys });
const close = await body((via) => closing.sendCloseRequest(via, {}, end(11)));
await execute('close', closing.address, code.proxy, proxyAs({}), close, { query_id: 11 });
const done = await body((via) => closing.sendCloseComplete(via, {}, end(12)));
await execute('close completed', closing.address, code.proxy, proxyAs({ state: 1, unlockTs: 1 }), done, { query_id: 12 });

writeFileSync(new URL('cocoon.json', import.meta.url), `${JSON.stringify(golden, null, 1)}\n`);
