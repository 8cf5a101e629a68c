// Several accounts in the official executor, and the messages between them: each is delivered after those before it.
import { beginCell, Cell, Dictionary, loadMessage, loadShardAccount, loadTransaction, storeMessage, storeShardAccount } from "@ton/core";
import { Executor } from "@ton/sandbox";
import { accountHash } from "../account.mjs";

const BEGAN = 1_790_000_000;
const LT_STEP = 1_000_000n;
// What one step may set off.
const MOST = 24;

export class System {
  static async create(config) {
    return new System(config.toBoc().toString("base64"), await Executor.create());
  }

  constructor(config, executor) {
    this.config = config;
    this.executor = executor;
    this.begin();
  }

  begin() {
    this.accounts = new Map();
    this.now = BEGAN;
    this.lt = LT_STEP;
  }

  // The data of an account with code, or null.
  data(address) {
    const state = this.account(address)?.storage.state;
    return state?.type === "active" ? state.state.data : null;
  }

  balance(address) {
    return this.account(address)?.storage.balance.coins ?? 0n;
  }

  account(address) {
    const state = this.accounts.get(address.toRawString());
    return state ? loadShardAccount(state.asSlice()).account : null;
  }

  // Who is not a contract of ours gets its coins, and nothing comes of it.
  isParty(address) {
    return new Set(address.hash).size === 1;
  }

  // Gives the transactions in their order: the first is what `step` says, the others what came of it.
  async send(step) {
    this.now += step.after ?? 10;
    const queue = [envelope(step, this.now, this.lt)];
    const done = [];
    while (queue.length > 0) {
      const { to, message } = queue.shift();
      if (done.length === MOST) throw new Error(`${step.name}: it does not end`);
      const outcome = await this.deliver(to, message);
      done.push(outcome);
      for (const out of outcome.sent ?? []) {
        const { dest } = loadMessage(out.asSlice()).info;
        if (!this.isParty(dest)) queue.push({ to: dest, message: out });
      }
    }
    return done;
  }

  async deliver(to, message) {
    const nothing = beginCell().store(storeShardAccount({ account: null, lastTransactionHash: 0n, lastTransactionLt: 0n }));
    const before = this.accounts.get(to.toRawString()) ?? nothing.endCell();
    this.lt += LT_STEP;
    const { result } = await this.executor.runTransaction({
      config: this.config,
      libs: null,
      verbosity: "short",
      shardAccount: before.toBoc().toString("base64"),
      message,
      now: this.now,
      lt: this.lt,
      randomSeed: Buffer.alloc(32),
      ignoreChksig: false,
      debugEnabled: false,
    });
    const input = { to: to.toRawString(), now: this.now, lt: Number(this.lt), message: base64(message), message_hash: message.hash().toString("hex") };
    if (!result.success) return { ...input, accepted: false, exit: result.vmResults?.vmExitCode ?? null };
    const state = Cell.fromBase64(result.shardAccount);
    this.accounts.set(to.toRawString(), state);
    const cell = Cell.fromBase64(result.transaction);
    const transaction = loadTransaction(cell.asSlice());
    const { computePhase: compute, actionPhase, bouncePhase } = transaction.description;
    const ran = compute.type === "vm";
    const sent = outbound(cell);
    return {
      ...input,
      accepted: true,
      exit: ran ? compute.exitCode : null,
      skipped: ran ? null : compute.reason,
      action: actionPhase?.resultCode ?? null,
      bounced: bouncePhase?.type === "ok",
      gas: ran ? Number(compute.gasUsed) : 0,
      fees: String(transaction.totalFees.coins),
      out_hashes: sent.map((out) => out.hash().toString("hex")),
      account_hash: accountHash(state),
      sent,
    };
  }
}

function envelope({ from, to, value, body, init = null, bounce = true, bounced = false, external = false }, now, lt) {
  const info = external
    ? { type: "external-in", src: null, dest: to, importFee: 0n }
    : {
        type: "internal",
        ihrDisabled: true,
        bounce,
        bounced,
        src: from,
        dest: to,
        value: { coins: value },
        ihrFee: 0n,
        forwardFee: 0n,
        createdLt: lt - 1n,
        createdAt: now,
      };
  return { to, message: beginCell().store(storeMessage({ info, init, body }, { forceRef: true })).endCell() };
}

// The messages as they are in the transaction, bit for bit.
function outbound(transaction) {
  const messages = transaction.refs[0].beginParse();
  messages.loadMaybeRef();
  return messages.loadDict(Dictionary.Keys.Uint(15), Dictionary.Values.Cell()).values();
}

const base64 = (cell) => cell.toBoc({ idx: false, crc32: false }).toString("base64");
