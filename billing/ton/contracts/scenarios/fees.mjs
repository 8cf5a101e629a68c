// The network fee is floor(claimed * bps / 10000), of the sum: however the settling is cut.
import { channel, PAYEE, PAYER, TON } from "../scheme.mjs";
import { asksToClose, closes, finishes, GAS, open, settles } from "./steps.mjs";

export default function fees(code) {
  const cut = channel(code, { feeBps: 3_333 });
  const whole = channel(code, { feeBps: 3_333, salt: 1n });
  const all = channel(code, { feeBps: 10_000 });
  const most = channel(code, { feeBps: 9_999 });
  const one = channel(code, { feeBps: 1 });
  const same = channel(code, { feeBps: 500, feeDest: PAYEE });
  const back = channel(code, { feeBps: 500, feeDest: PAYER });
  const beyond = channel(code, { feeBps: 10_001 });
  return [
    {
      name: "many small settles",
      why: "each of one nanoton would be free if parts were rounded",
      of: cut,
      steps: [open(), ...Array.from({ length: 12 }, (_, at) => settles(cut, { take: BigInt(at + 1) }, { name: `settle ${at + 1} nanoton` }))],
    },
    { name: "the same at once", why: "to compare with", of: whole, steps: [open(), settles(whole, { take: 12n }, { name: "settle 12 nanoton" })] },
    { name: "a fee of everything", why: "10,000 parts of 10,000", of: all, steps: [open(), settles(all, { take: 1n }), closes(all, { take: TON })] },
    { name: "a fee of nearly everything", why: "9,999 parts", of: most, steps: [open(), settles(most, { take: 1n }), settles(most, { take: 10_000n })] },
    { name: "a fee of nearly nothing", why: "1 part: the first nanoton of it at 10,000", of: one, steps: [open(), settles(one, { take: 9_999n }), settles(one, { take: 10_000n }), settles(one, { take: 19_999n })] },
    { name: "a fee to the payee", why: "two messages to one account", of: same, steps: [open(), settles(same, { take: TON }), closes(same, { take: 2n * TON })] },
    { name: "a fee to the payer", why: "allowed, if odd", of: back, steps: [open(), closes(back, { take: 2n * TON })] },
    {
      name: "a fee beyond everything",
      why: "terms that nobody should accept: it counts as everything",
      of: beyond,
      steps: [open(), settles(beyond, { take: TON }), asksToClose(), finishes({ after: 86_400, value: GAS })],
    },
  ];
}
