// A gateway that is paid by channel, the simulated chain that it is paid on, and a wallet that a browser would have.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Address, Cell, SendMode, internal, loadStateInit } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { TonClient, WalletContractV5R1 } from "@ton/ton";
import { started } from "./gateway.mjs";

export const NETWORK = -217;
export const CLOSE_DELAY = 3600;
export const PAYOUT = new Address(0, Buffer.alloc(32, 0x22));
const run = promisify(execFile);

/** @returns a gateway on a chain of its own, with `open` as a payer's `mulberry channel`. */
export async function startShop() {
  const folder = await mkdtemp(join(tmpdir(), "mulberry-pay-"));
  const file = join(folder, "mulberry.yaml");
  const chain = await started(
    ["simulated-chain", "--folder", join(folder, "chain"), "serve", "--listen", "127.0.0.1:0"],
    "stdout",
    /--chain (http:\S+)/,
  );
  const source = chain.match[1];
  await writeFile(
    file,
    `
listen: 127.0.0.1:0
admin_listen: 127.0.0.1:0
data_dir: ${folder}/data
reload: {watch: null}
keys: [{name: alice, secret: sk-alice}]
backends: [{name: gone, url: "http://127.0.0.1:9", health: {enabled: false}}]
models: [{name: mock, routes: [{backend: gone}], price: {currency: TON, prompt: 1, completion: 2}}]
ledger: {currency: TON, node: shop-1}
payments:
  network: ${NETWORK}
  chain: ["${source}"]
  payout: "${PAYOUT.toString({ testOnly: true })}"
  min_close_delay: ${CLOSE_DELAY}s
  fee_bps: 250
  fee_dest: "0:${"33".repeat(32)}"
`,
  );
  const serve = await started(["serve", "--config", file], "stderr", /listening.*?address=([0-9.:]+)/);
  const url = `http://${serve.match[1]}`;
  const client = new TonClient({ endpoint: `${source}/jsonRPC` });
  const danger = async (path) => {
    const answer = await fetch(new URL(path, source), { method: "POST" });
    if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  };
  await writeFile(join(folder, "passphrase"), "correct horse battery staple\n", { mode: 0o600 });
  return {
    url,
    client,
    log: serve.log,
    fund: (address, nano) => danger(`/danger_faucet?address=${address}&amount=${nano}`),
    advance: (seconds) => danger(`/danger_advance?seconds=${seconds}`),
    /** What a user types. @returns what it prints */
    async channel(...args) {
      const env = { ...process.env, MULBERRY_NETWORK: String(NETWORK), MULBERRY_CHAIN: source, MULBERRY_CHANNELS: join(folder, "channels") };
      const { stdout } = await run(process.env.MULBERRY_BIN, ["channel", ...args, "--passphrase-file", join(folder, "passphrase")], { env });
      return stdout;
    },
    /** The link of a new channel of this wallet's. */
    async open(name, wallet, amount = "5") {
      const printed = await this.channel("open", amount, "--to", url, "--payer", wallet.shown, "--name", name, "--page");
      return printed.trim().split("\n").at(-1);
    },
    async stop() {
      for (const one of [serve, chain]) {
        one.child.kill("SIGKILL");
        await one.ended;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A W5 wallet with coins, that a page can reach by `window.testWallet.tonconnect`. It checks what wallets must check. */
export async function startWallet(shop, seed, { network = NETWORK, gives = "20000000000" } = {}) {
  const keys = keyPairFromSeed(Buffer.alloc(32, seed));
  const contract = WalletContractV5R1.create({ publicKey: keys.publicKey, walletId: { networkGlobalId: NETWORK } });
  const opened = shop.client.open(contract);
  await shop.fund(contract.address, gives);
  const wallet = {
    address: contract.address,
    shown: contract.address.toString({ bounceable: false, testOnly: true }),
    /** What the person says: "yes", "no", "lose" (signs, and nothing arrives) or "break" (no answer). */
    says: "yes",
    /** Every transaction that it was asked for. */
    asked: [],
    balance: () => opened.getBalance(),
    async install(page) {
      await page.exposeFunction("walletAnswers", answer);
      await page.addInitScript(() => {
        const listeners = [];
        const ask = async (name, content) => {
          const answered = JSON.parse(await globalThis.walletAnswers(name, JSON.stringify(content)));
          if (answered.isBroken) throw new Error("the window was closed");
          return answered;
        };
        globalThis.testWallet = {
          tonconnect: {
            deviceInfo: { platform: "browser", appName: "test", appVersion: "1", maxProtocolVersion: 2, features: ["SendTransaction", { name: "SendTransaction", maxMessages: 4 }] },
            // Nobody may load this picture: the page asks no other address for anything.
            walletInfo: { name: "Test wallet", image: "https://wallet.invalid/icon.png", about_url: "https://wallet.invalid" },
            protocolVersion: 2,
            isWalletBrowser: false,
            connect: (version, request) => ask("connect", { version, request }),
            restoreConnection: () => ask("restore", {}),
            send: (message) => ask("send", message),
            listen: (listener) => listeners.push(listener),
            tell: (event) => listeners.forEach((listener) => listener(event)),
          },
        };
      });
    },
  };
  let isApproved = false;
  const item = () => ({ name: "ton_addr", address: contract.address.toRawString(), network: String(network), publicKey: keys.publicKey.toString("hex") });
  const connected = () => ({ event: "connect", id: Date.now(), payload: { items: [item()], device: { appName: "test", features: ["SendTransaction", { name: "SendTransaction", maxMessages: 4 }] } } });
  const failed = (code, message) => ({ event: "connect_error", id: Date.now(), payload: { code, message } });

  async function answer(name, content) {
    const message = JSON.parse(content);
    return JSON.stringify(await answers[name](message));
  }
  const answers = {
    async connect({ version, request }) {
      if (version !== 2 || !request.manifestUrl.endsWith("/tonconnect-manifest.json")) return failed(1, "bad request");
      const manifest = await (await fetch(request.manifestUrl)).json();
      if (!manifest.url || !manifest.name || !manifest.iconUrl) return failed(3, "bad manifest");
      if (wallet.says === "no") return failed(300, "User declined the connection");
      isApproved = true;
      return connected();
    },
    restore: async () => (isApproved ? connected() : failed(100, "Unknown app")),
    async send({ method, params, id }) {
      const refused = (code, message) => ({ error: { code, message }, id });
      if (!isApproved) return refused(100, "Unknown app");
      if (method === "disconnect") {
        isApproved = false;
        return { result: {}, id };
      }
      const { valid_until: until, network: named, from, messages } = JSON.parse(params[0]);
      wallet.asked.push(messages);
      if (wallet.says === "no") return refused(300, "User declined the transaction");
      if (wallet.says === "break") return { isBroken: true };
      if (until * 1000 < Date.now() || named !== String(network) || from !== contract.address.toRawString() || messages.length !== 1) {
        return refused(1, "this is not for this wallet");
      }
      const { address, amount, payload, stateInit } = messages[0];
      const { address: to, isBounceable } = Address.parseFriendly(address);
      if (wallet.says === "lose") return { result: "te6cckEBAQEAAgAAAEysuc0=", id };
      // By the chain's clock, which tests move.
      const { timestampt: now } = await shop.client.getContractState(contract.address);
      await opened.sendTransfer({
        seqno: await opened.getSeqno(),
        secretKey: keys.secretKey,
        timeout: now + 60,
        sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
        messages: [
          internal({
            to,
            value: BigInt(amount),
            bounce: isBounceable,
            body: Cell.fromBase64(payload),
            init: stateInit ? loadStateInit(Cell.fromBase64(stateInit).beginParse()) : undefined,
          }),
        ],
      });
      return { result: "te6cckEBAQEAAgAAAEysuc0=", id };
    },
  };
  return wallet;
}
