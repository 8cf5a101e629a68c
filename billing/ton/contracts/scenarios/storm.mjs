// Random messages, most of them wrong, each decided by a seed: for whatever nobody thought of, the two executors must agree.
import { account, channel, NOTHING, OTHER_KEYS, PAYEE, PAYER, requestClose, STRANGER, TESTNET, TON, topUp } from "../scheme.mjs";
import { asksToClose, finishes, GAS, sends, settles, topsUp } from "./steps.mjs";

const HISTORIES = 8;
const MESSAGES = 30;

export default function storm(code) {
  return Array.from({ length: HISTORIES }, (_, seed) => {
    const random = splitMix(BigInt(seed));
    const of = channel(code, {
      feeBps: random.among([0, 1, 333, 5_000, 10_000, 65_535]),
      closeDelay: random.among([0, 3_600, 86_400]),
      feeDest: random.among([account(0x33), PAYEE, PAYER]),
      salt: BigInt(seed),
    });
    const steps = Array.from({ length: MESSAGES }, (_, at) => ({ ...message(of, random, at === 0), name: `message ${at}`, any: true }));
    return { name: `storm ${seed}`, why: "random", of, steps };
  });
}

function message(of, random, isFirst) {
  const common = {
    after: random.among([0, 1, 60, 4_000, 90_000, 30_000_000]),
    bounce: random.below(8) > 0,
    open: isFirst || random.below(12) === 0,
    from: random.among([PAYER, PAYER, PAYEE, STRANGER]),
  };
  const amount = BigInt(random.below(Number(2n * TON)));
  const gas = random.among([GAS, GAS, GAS, GAS / 10n, GAS / 100n, 0n]);
  switch (isFirst ? 0 : random.below(10)) {
    case 0:
    case 1:
      return topsUp(amount, { ...common, value: amount + random.among([2n * GAS, GAS, 0n]) });
    case 2:
      return sends(amount, { ...common, body: random.among([NOTHING, requestClose(), topUp(amount)]) });
    case 3:
      return asksToClose({ ...common, value: gas });
    case 4:
      return finishes({ ...common, value: gas });
    default: {
      const wrong = random.among([{}, {}, {}, {}, { key: OTHER_KEYS }, { network: TESTNET }, { amount: 1n }, { width: 64 }]);
      const [payee, payer] = random.among([[wrong, {}], [{}, wrong], [{}, random.among([{}, null])]]);
      const max = random.among([amount, amount, amount * 2n, amount / 2n]);
      const close = random.below(8) === 0;
      return settles(of, { take: amount, max, close, payee, payer }, { ...common, value: gas });
    }
  }
}

export function splitMix(seed) {
  const mask = (1n << 64n) - 1n;
  let state = seed;
  const next = () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let mixed = state;
    mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & mask;
    return mixed ^ (mixed >> 31n);
  };
  const below = (end) => Number(next() % BigInt(end));
  return { below, among: (list) => list[below(list.length)] };
}
