// Random messages around a channel that holds a jetton, each decided by a seed: the two executors must agree on them all.
import { announces, asksToClose, closes, deposits, finishes, GAS, open, retries, settles, sweeps, U } from "./steps.mjs";
import { channel, fussy, jetton, receive } from "./scheme.mjs";
import { account, OTHER_KEYS, PAYEE, PAYER, STRANGER, TON } from "../scheme.mjs";
import { splitMix } from "../scenarios/storm.mjs";

const HISTORIES = 6;
const STEPS = 20;

export default function storm(code) {
  return Array.from({ length: HISTORIES }, (_, seed) => {
    const random = splitMix(BigInt(1_000 + seed));
    const isFussy = seed % 2 === 1;
    const held = isFussy ? { ...fussy(random.among([0n, TON / 10n])), isFussy } : jetton("USD");
    const of = channel(code, held.master, {
      feeBps: random.among([0, 1, 333, 10_000, 65_535]),
      closeDelay: random.among([0, 86_400]),
      feeDest: random.among([account(0x33), PAYEE, PAYER]),
      salt: BigInt(seed),
    });
    const steps = Array.from({ length: STEPS }, (_, at) => ({ ...message(of, held, random, at), name: `message ${at}`, any: true }));
    return { name: `jetton storm ${seed}`, why: "random", of, jettons: [held], steps };
  });
}

function message(of, held, random, at) {
  const common = { after: random.among([0, 1, 60, 90_000, 700_000]) };
  const gas = random.among([GAS, GAS, TON, TON / 10n, TON / 18n, TON / 300n]);
  const amount = BigInt(random.below(3_000_000));
  if (at === 0) return open({ ...common });
  switch (random.below(14)) {
    case 0:
      return open({ ...common, value: gas });
    case 1:
    case 2:
    case 3: {
      const forward = random.among([TON / 10n, TON / 10n, TON / 200n, 0n]);
      if (held.isFussy) return { ...common, from: STRANGER, to: held.master, value: gas, body: receive(amount) };
      return deposits(held, of, amount, { ...common, forward, payload: random.among(["none", "here", "apart"]) });
    }
    case 4:
      return announces(random.among([STRANGER, PAYER]), amount, { ...common, value: gas });
    case 5:
      return asksToClose({ ...common, value: gas, from: random.among([PAYER, PAYEE]) });
    case 6:
      return finishes({ ...common, value: gas });
    case 7:
    case 8:
      return retries(random.below(4), { ...common, value: gas });
    case 9:
      return sweeps(random.among([0n, amount, U]), { ...common, value: gas, from: random.among([PAYER, PAYER, STRANGER]) });
    default: {
      const wrong = random.among([{}, {}, {}, { key: OTHER_KEYS }, { amount: 1n }]);
      const [payee, payer] = random.among([[wrong, {}], [{}, wrong], [{}, random.among([{}, null])]]);
      const signed = { take: amount * 2n, max: random.among([amount * 2n, amount * 3n, amount]), payee, payer };
      return random.below(9) === 0 ? closes(of, signed, { ...common, value: gas }) : settles(of, signed, { ...common, value: gas });
    }
  }
}
