// Years. Rent is taken from the balance, whoever's it is; the order is: the reserve, the payer's rest, the payee's claim.
import { channel, storage, TERMS, termsCell, TON } from "../scheme.mjs";
import { asksToClose, closes, finishes, GAS, open, sends, settles, topsUp } from "./steps.mjs";

const YEAR = 365 * 86_400;

export default function rent(code) {
  const of = channel(code);
  return [
    {
      name: "fifteen years",
      why: "the payee has all that was signed, the payer the rest less the rent",
      of,
      steps: [
        open(),
        settles(of, { take: TON, max: 4n * TON }),
        settles(of, { take: 4n * TON }, { name: "settle after fifteen years", after: 15 * YEAR }),
        closes(of, { take: 4n * TON, payer: null }),
      ],
    },
    {
      name: "fifteen years and a start of closing",
      why: "the clock works then, too",
      of,
      steps: [open(), asksToClose({ after: 15 * YEAR }), finishes({ after: 86_400 })],
    },
    {
      name: "rent beyond the reserve",
      why: "a top-up makes good what rent took, so that the deposit is whole again",
      of,
      steps: [
        open(TON),
        topsUp(TON, { name: "top up without what rent took", after: 10 * YEAR, value: TON + GAS / 10n, refused: 200 }),
        topsUp(TON, { name: "top up with it", value: TON + 3n * GAS }),
        settles(of, { take: 2n * TON }, { name: "settle all" }),
        closes(of, { take: 2n * TON, payer: null }),
      ],
    },
    {
      name: "a claim that rent has bitten",
      why: "all that is there is paid, and the rest after a top-up",
      of,
      steps: [
        open(TON / 100n),
        settles(of, { take: TON / 100n }, { name: "settle what rent left", after: 3 * YEAR }),
        settles(of, { take: TON / 100n }, { name: "settle the same", refused: 207 }),
        topsUp(1n, { name: "top up by one nanoton", value: 3n * GAS }),
        settles(of, { take: TON / 100n }, { name: "settle the rest" }),
      ],
    },
    {
      name: "rent that is owed",
      why: "the balance is nothing and the account owes: what comes pays that first, and nothing is locked",
      of,
      steps: [
        open(1n),
        sends(TON, { name: "plain transfer to an account that owes", after: 6 * YEAR }),
        settles(of, { take: TON / 2n }),
        closes(of, { take: TON / 2n, payer: null }),
      ],
    },
    {
      name: "rent that is owed, at the end",
      why: "a close of what owes rent: the message pays that, too",
      of,
      steps: [
        open(1n),
        settles(of, { take: 1n }, { name: "settle where nothing is left", after: 6 * YEAR, refused: 207 }),
        asksToClose(),
        finishes({ after: 86_400 }),
      ],
    },
    {
      name: "frozen",
      why: "more than 0.1 TON of rent owed: an empty channel ends as its state's hash, and nobody loses by it",
      of,
      steps: [
        open(1n),
        settles(of, { take: 1n }, { name: "the message that finds it", after: 40 * YEAR, refused: "no-state" }),
        settles(of, { take: 1n }, { name: "settle when frozen", refused: "no-state" }),
        topsUp(TON, { name: "top up when frozen, with the state init of the beginning", open: true, refused: "bad-state" }),
        topsUp(TON, {
          name: "top up when frozen, with the state that froze",
          init: { code, data: storage({ deposited: 1n, terms: termsCell(TERMS) }) },
          value: 2n * TON,
        }),
        settles(of, { take: TON }),
        closes(of, { take: TON, payer: null }),
      ],
    },
  ];
}
