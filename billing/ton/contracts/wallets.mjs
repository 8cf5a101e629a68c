// Makes ../golden/wallets.json: what TON's official JavaScript libraries say of addresses, mnemonics and wallets.
// `node wallets.mjs` writes it; wallets.test.mjs makes it anew and compares. Every input is fixed, so that the same libraries give the same bytes.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Address, beginCell, Cell, external, internal, SendMode, storeMessage, storeStateInit } from '@ton/core';
import { keyPairFromSeed, mnemonicToPrivateKey, mnemonicValidate } from '@ton/crypto';
// Not exported at the top.
import drawing from '@ton/crypto/dist/mnemonic/mnemonic.js';
import { WalletContractV5R1 } from '@ton/ton';

const { mnemonicFromRandomSeed } = drawing;
export const OUT = new URL('../golden/wallets.json', import.meta.url);
const MAINNET = -239;
const TESTNET = -3;

/** Bytes that look random and are the same each time. */
const drawn = (name) => createHash('sha256').update(`mulberry golden ${name}`).digest();
const hex = (bytes) => Buffer.from(bytes).toString('hex');

function addresses() {
  const accounts = [
    new Address(0, drawn('address 1')),
    new Address(-1, drawn('address 2')),
    new Address(0, Buffer.alloc(32)),
    new Address(-1, Buffer.alloc(32, 0xff)),
  ];
  return accounts.map((address) => {
    const forms = [];
    for (const bounceable of [true, false])
      for (const testOnly of [false, true])
        for (const urlSafe of [true, false])
          forms.push({ bounceable, testOnly, urlSafe, text: address.toString({ bounceable, testOnly, urlSafe }) });
    return { raw: address.toRawString(), forms };
  });
}

async function mnemonics() {
  const made = [];
  for (const name of ['mnemonic 1', 'mnemonic 2', 'mnemonic 3']) {
    const words = await mnemonicFromRandomSeed(drawn(name), 24);
    if (!(await mnemonicValidate(words))) throw new Error(`${name} is not valid`);
    const key = await mnemonicToPrivateKey(words);
    made.push({ words: words.join(' '), seed: hex(key.secretKey.subarray(0, 32)), publicKey: hex(key.publicKey) });
  }
  return made;
}

async function mnemonicWithPassword() {
  const password = 'correct horse';
  const words = await mnemonicFromRandomSeed(drawn('mnemonic with password'), 24, password);
  if (await mnemonicValidate(words)) throw new Error('it is valid without its password too; draw another');
  return { words: words.join(' '), password };
}

const wallet = (name, networkGlobalId) => {
  const key = keyPairFromSeed(drawn(name));
  const contract = WalletContractV5R1.create({ publicKey: key.publicKey, walletId: { networkGlobalId } });
  return { key, contract };
};

function wallets() {
  const made = [];
  for (const name of ['wallet 1', 'wallet 2'])
    for (const network of [MAINNET, TESTNET]) {
      const { key, contract } = wallet(name, network);
      const init = beginCell().store(storeStateInit(contract.init)).endCell();
      made.push({
        seed: hex(drawn(name)),
        publicKey: hex(key.publicKey),
        network,
        address: contract.address.toRawString(),
        stateInit: hex(init.hash()),
      });
    }
  return made;
}

// A contract of nothing, to be deployed by a message.
const codeOfNothing = beginCell().storeUint(0xff00, 16).endCell();
const dataOfNothing = beginCell().storeUint(7, 64).endCell();
const body = (n) => beginCell().storeUint(0x70637470, 32).storeUint(n, 64).storeCoins(1_000_000_000n).endCell();
// Does not fit beside the rest, so that it moves into a cell of its own.
const longBody = beginCell().storeBuffer(Buffer.alloc(120, 0xab)).storeRef(body(9)).endCell();

const scenes = {
  'the first, with the wallet itself': {
    network: MAINNET, seqno: 0, timeout: 1_800_000_000, deploys: true,
    sends: [{ to: 'address 1', value: '1000000000', bounce: true, mode: SendMode.PAY_GAS_SEPARATELY }],
  },
  'one to testnet': {
    network: TESTNET, seqno: 7, timeout: 1_800_000_060, deploys: false,
    sends: [{ to: 'address 2', value: '1', bounce: false, mode: SendMode.PAY_GAS_SEPARATELY }],
  },
  'bodies, a deployment and all that is left': {
    network: MAINNET, seqno: 41, timeout: 1_800_000_120, deploys: false,
    sends: [
      { to: 'address 3', value: '50000000', bounce: true, mode: SendMode.PAY_GAS_SEPARATELY, body: body(1) },
      { to: 'address 4', value: '2000000000', bounce: true, mode: SendMode.PAY_GAS_SEPARATELY, body: body(2), init: true },
      { to: 'address 5', value: '60000000', bounce: true, mode: SendMode.NONE, body: longBody },
      { to: 'address 6', value: '60000000', bounce: true, mode: SendMode.NONE, body: longBody, init: true },
      { to: 'address 7', value: '0', bounce: false, mode: SendMode.CARRY_ALL_REMAINING_BALANCE },
    ],
  },
  'as many as there may be': {
    network: MAINNET, seqno: 4_294_967_295, timeout: 4_294_967_295, deploys: false,
    sends: Array.from({ length: 255 }, (_, n) => ({
      to: `address ${n}`, value: String(10_000_000n * BigInt(n + 1)), bounce: n % 2 === 0,
      mode: SendMode.PAY_GAS_SEPARATELY, body: body(n),
    })),
  },
};

function transfers() {
  return Object.entries(scenes).map(([name, scene]) => {
    const { key, contract } = wallet('wallet 1', scene.network);
    const sends = scene.sends.map((send) => {
      const init = send.init ? { code: codeOfNothing, data: dataOfNothing } : undefined;
      return { ...send, init, to: new Address(0, drawn(send.to)) };
    });
    const request = contract.createRequest({
      seqno: scene.seqno,
      secretKey: key.secretKey,
      timeout: scene.timeout,
      actions: sends.map((send) => ({ type: 'sendMsg', mode: send.mode, outMsg: internal({ ...send, value: BigInt(send.value) }) })),
    });
    const init = scene.deploys ? contract.init : undefined;
    const message = beginCell().store(storeMessage(external({ to: contract.address, init, body: request }))).endCell();
    return {
      name,
      seed: hex(drawn('wallet 1')),
      network: scene.network,
      seqno: scene.seqno,
      validUntil: scene.timeout,
      deploys: scene.deploys,
      sends: sends.map((send) => ({
        to: send.to.toRawString(),
        value: send.value,
        bounce: send.bounce,
        mode: send.mode,
        body: send.body ? send.body.toBoc().toString('base64') : null,
        init: send.init ? beginCell().store(storeStateInit(send.init)).endCell().toBoc().toString('base64') : null,
      })),
      hash: hex(message.hash()),
      bagOfCells: message.toBoc({ crc32: false }).toString('base64'),
    };
  });
}

/** The text of the file. */
export async function made() {
  const { dependencies } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url)));
  const madeWith = Object.fromEntries(['@ton/core', '@ton/crypto', '@ton/ton'].map((name) => [name, dependencies[name]]));
  const golden = {
    madeWith,
    addresses: addresses(),
    mnemonics: await mnemonics(),
    mnemonicWithPassword: await mnemonicWithPassword(),
    wallets: wallets(),
    transfers: transfers(),
  };
  return `${JSON.stringify(golden, null, 1)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(OUT, await made());
