// One account's history in the official executor: each message on the state that the one before left.
import {
  beginCell,
  Cell,
  loadShardAccount,
  loadTransaction,
  storeMessage,
  storeShardAccount,
} from "@ton/core";
import { Executor } from "@ton/sandbox";
import { accountHash } from "./account.mjs";
import { read } from "./scheme.mjs";

// Where every history begins.
const BEGAN = 1_790_000_000;
const LT_STEP = 1_000_000n;

export async function histories(config, scenarios) {
  const executor = await Executor.create();
  const played = [];
  for (const scenario of scenarios) played.push(await play(executor, config, scenario));
  return played;
}

async function play(executor, config, { name, why, of, steps }) {
  let state = beginCell()
    .store(storeShardAccount({ account: null, lastTransactionHash: 0n, lastTransactionLt: 0n }))
    .endCell();
  let now = BEGAN;
  let lt = LT_STEP;
  const done = [];
  for (const step of steps) {
    now += step.after ?? 10;
    lt += LT_STEP;
    const message = envelope(of, step, now, lt);
    const { result } = await executor.runTransaction({
      config: config.toBoc().toString("base64"),
      libs: null,
      verbosity: "short",
      shardAccount: state.toBoc().toString("base64"),
      message,
      now,
      lt,
      randomSeed: Buffer.alloc(32),
      ignoreChksig: false,
      debugEnabled: false,
    });
    const told = `${name}: ${step.name}`;
    const input = { name: step.name, now, lt: Number(lt), message: base64(message) };
    if (!result.success) {
      if (step.refused !== "not accepted") throw new Error(`${told}: ${JSON.stringify(result)}`);
      done.push({ ...input, accepted: false, exit: result.vmResults.vmExitCode });
      continue;
    }
    state = Cell.fromBase64(result.shardAccount);
    const outcome = observe(of, loadTransaction(Cell.fromBase64(result.transaction).asSlice()), state);
    // Of what is random nobody says beforehand what should happen, and the hashes of what was sent are enough.
    if (step.any) {
      outcome.out_hashes = outcome.out.map((message) => Cell.fromBase64(message).hash().toString("hex"));
      delete outcome.out;
    } else {
      judge(told, step, outcome);
    }
    done.push({ ...input, accepted: true, ...outcome });
  }
  return { name, why, address: of.address.toRawString(), network: of.terms.network, steps: done };
}

function envelope(of, { from, value, body, open = false, init = open ? of.init : null, bounce = true, bounced = false, extra, external = false }, now, lt) {
  const info = external
    ? { type: "external-in", src: null, dest: of.address, importFee: 0n }
    : {
        type: "internal",
        ihrDisabled: true,
        bounce,
        bounced,
        src: from,
        dest: of.address,
        value: { coins: value, other: extra },
        ihrFee: 0n,
        forwardFee: 0n,
        createdLt: lt - 1n,
        createdAt: now,
      };
  return beginCell()
    .store(storeMessage({ info, init, body }, { forceRef: true }))
    .endCell();
}

function observe(of, transaction, state) {
  const { description, totalFees, outMessages } = transaction;
  const compute = description.computePhase;
  const ran = compute.type === "vm";
  const shard = loadShardAccount(state.asSlice());
  const account = shard.account;
  const active = account?.storage.state.type === "active" ? account.storage.state.state : null;
  return {
    exit: ran ? compute.exitCode : null,
    skipped: ran ? null : compute.reason,
    action: description.actionPhase?.resultCode ?? null,
    aborted: description.aborted,
    bounced: description.bouncePhase?.type === "ok",
    gas: ran ? Number(compute.gasUsed) : 0,
    rent: String(description.storagePhase?.storageFeesCollected ?? 0n),
    rent_due: String(description.storagePhase?.storageFeesDue ?? 0n),
    gas_fees: String(ran ? compute.gasFees : 0n),
    forward_fees: String(description.actionPhase?.totalFwdFees ?? 0n),
    fees: String(totalFees.coins),
    out: outMessages.values().map((message) => base64(beginCell().store(storeMessage(message)).endCell())),
    status: account?.storage.state.type ?? "none",
    balance: String(account?.storage.balance.coins ?? 0n),
    ...(active ? strings((of.read ?? read)(active.data)) : {}),
    account_hash: accountHash(state),
  };
}

// A scenario says what should happen; this says so if it did not.
function judge(told, { refused = null, kept = false }, { exit, skipped, action, bounced }) {
  const happened = skipped ?? (exit !== 0 ? exit : action === 0 ? null : `action ${action}`);
  if (happened !== refused) throw new Error(`${told}: expected ${refused}, and it was ${happened}`);
  if (refused !== null && bounced === kept) throw new Error(`${told}: the coins ${kept ? "went back" : "were kept"}`);
}

function strings(record) {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [key, typeof value === "bigint" ? String(value) : value]),
  );
}

const base64 = (cell) => cell.toBoc({ idx: false, crc32: false }).toString("base64");
