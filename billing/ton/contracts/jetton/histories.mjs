// Scenarios of a jetton and a channel that holds it, played: a scenario says what should happen, and this says so if it did
// not.
import { ISSUER, mint, readChannel } from "./scheme.mjs";
import { System } from "./system.mjs";
import { FEE_DEST, NOTHING, PAYEE, PAYER, STRANGER, TON } from "../scheme.mjs";

const OWNERS = { payer: PAYER, payee: PAYEE, fee: FEE_DEST, stranger: STRANGER };
// The payer has so much of each jetton to begin with.
const FORTUNE = 1_000_000_000n;

export async function histories(config, scenarios) {
  const system = await System.create(config);
  const played = [];
  for (const scenario of scenarios) {
    system.begin();
    played.push(await play(system, scenario));
  }
  return played;
}

async function play(system, { name, why, of, jettons, steps }) {
  const [ours] = jettons;
  const done = [];
  for (const each of jettons) {
    const to = each.master;
    done.push(...(await send({ name: "deploy a jetton", from: ISSUER, to, value: TON, init: each.init })));
    if (!each.isFussy) done.push(...(await send({ name: "mint", from: ISSUER, to, value: TON, body: mint(PAYER, FORTUNE) })));
  }
  for (const step of steps) {
    const to = step.to ?? of.address;
    const transactions = await send({ ...step, to, init: step.open ? of.init : null });
    const told = `${name}: ${step.name}`;
    if (!step.any) judge(told, step, transactions.find((transaction) => transaction.to === of.address.toRawString()));
    done.push(...transactions);
    for (const [what, expected] of Object.entries(step.then ?? {})) {
      const found = what in OWNERS ? balance(OWNERS[what]) : what === "wallet" ? balance(of.address) : channel()?.[what];
      if (found !== expected) throw new Error(`${told}: ${what} is ${found}, and should be ${expected}`);
    }
  }
  return { name, why, address: of.address.toRawString(), wallet: ours.wallet(of.address).toRawString(), transactions: done };

  async function send(step) {
    const transactions = await system.send({ body: NOTHING, ...step });
    // What an account sent is known by its hash: whoever plays it again has it already.
    return transactions.map(({ sent, message, message_hash, ...facts }, at) => {
      const given = at === 0 ? { name: step.name, message } : { name: `${step.name}, and then`, message_hash };
      return { ...given, ...facts, ...numbers(facts) };
    });
  }

  function numbers({ to, accepted }) {
    if (to !== of.address.toRawString() || !accepted) return {};
    return { balance: String(system.balance(of.address)) };
  }

  function channel() {
    const data = system.data(of.address);
    return data && readChannel(data);
  }

  function balance(owner) {
    const data = system.data(ours.wallet(owner));
    return data ? data.beginParse().loadCoins() : 0n;
  }
}

// `refused` is what the channel had against the first message that reached it.
function judge(told, { refused = null, unheard = false }, transaction) {
  if (unheard !== (transaction === undefined)) throw new Error(`${told}: the channel ${unheard ? "heard" : "did not hear"} of it`);
  if (transaction === undefined) return;
  const { accepted, exit, skipped, action } = transaction;
  const happened = !accepted ? "not accepted" : (skipped ?? (exit !== 0 ? exit : action === 0 ? null : `action ${action}`));
  if (happened !== refused) throw new Error(`${told}: expected ${refused}, and it was ${happened}`);
}
