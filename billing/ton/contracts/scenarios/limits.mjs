// The smallest, the largest, and parties that nobody should have chosen.
import { beginCell, Dictionary } from "@ton/core";
import { account, channel, NOTHING, PAYEE, PAYER, storage, STRANGER, TERMS, termsCell, TON } from "../scheme.mjs";
import { asksToClose, closes, finishes, GAS, open, sends, settles, topsUp } from "./steps.mjs";

export default function limits(code) {
  const of = channel(code);
  const now = channel(code, { closeDelay: 0 });
  const never = channel(code, { closeDelay: 0xffff_ffff });
  const far = channel(code, { payee: account(0x22, -1), feeBps: 500, feeDest: account(0x33, -1) });
  const nowhere = channel(code, { payee: account(0x22, 5) });
  const feeless = channel(code, { feeDest: account(0x33, 5), feeBps: 500 });
  const lost = channel(code, { payer: account(0x11, 5) });
  const oneself = channel(code, { payee: PAYER });
  const master = channel(code, {}, { workchain: -1 });
  const longTerms = channel(code, {}, {
    data: storage({ terms: beginCell().storeSlice(termsCell(TERMS).asSlice()).storeBit(true).endCell() }),
  });
  const noParty = channel(code, {}, { data: storage({ terms: termsCell({ ...TERMS, payee: null }) }) });
  const longData = channel(code, {}, {
    data: beginCell().storeSlice(storage({ terms: termsCell(TERMS) }).asSlice()).storeBit(true).endCell(),
  });
  const forged = channel(code, {}, { data: storage({ deposited: 5n * TON, terms: termsCell(TERMS) }) });
  const HUGE = 1n << 119n;
  return [
    {
      name: "one nanoton",
      why: "the least that can be paid in and out",
      of,
      steps: [open(1n), settles(of, { take: 1n }), topsUp(1n), closes(of, { take: 2n })],
    },
    {
      name: "more than our own amounts hold",
      why: "2^119 nanoton, which the chain can say and we refuse by name",
      of,
      steps: [
        open(HUGE),
        settles(of, { take: HUGE / 2n, max: HUGE }),
        closes(of, { take: HUGE - 1n }),
      ],
    },
    { name: "a ceiling beyond the deposit", why: "the greatest amount there is", of, steps: [open(TON), settles(of, { take: TON, max: (1n << 120n) - 1n })] },
    { name: "no delay", why: "the payer may have the rest at once; nobody accepts such terms", of: now, steps: [open(), asksToClose(), finishes({ after: 0 })] },
    {
      name: "a delay beyond the clock",
      why: "it counts as ninety days; nobody should open such a channel",
      of: never,
      steps: [
        open(),
        settles(never, { take: TON }),
        asksToClose(),
        finishes({ name: "finish close, a second early", after: 7_775_999, refused: 203 }),
        finishes({ after: 1 }),
      ],
    },
    {
      name: "payee and fee in the masterchain",
      why: "messages there cost more, and who sends pays that",
      of: far,
      steps: [
        open(),
        sends(TON),
        settles(far, { take: TON }, { name: "settle with too little for the masterchain", value: GAS / 10n, refused: "action 37" }),
        settles(far, { take: TON }),
        asksToClose(),
        closes(far, { take: 2n * TON }),
      ],
    },
    {
      name: "a payee nowhere",
      why: "who cannot be told cannot be paid: the first top-up goes back",
      of: nowhere,
      steps: [
        open(TON, { refused: "action 36" }),
        sends(TON, { refused: "action 36" }),
        sends(TON, { name: "coins that cannot bounce", bounce: false, refused: "action 36", kept: true }),
        asksToClose(),
        finishes({ name: "the payer has them back", after: 86_400 }),
      ],
    },
    {
      name: "a fee to nowhere",
      why: "nothing can be taken, and the payer has all back",
      of: feeless,
      steps: [open(), settles(feeless, { take: TON }, { refused: "action 36" }), asksToClose(), finishes({ after: 86_400 })],
    },
    {
      name: "a payer nowhere",
      why: "it cannot ask to close; the payee can still take what was signed",
      of: lost,
      steps: [open(TON), settles(lost, { take: TON / 2n }), closes(lost, { take: TON / 2n, payer: null }, { refused: "action 36" }), settles(lost, { take: TON })],
    },
    { name: "paid by oneself", why: "payer and payee in one account", of: oneself, steps: [open(), settles(oneself, { take: TON }), closes(oneself, { take: TON, payer: null })] },
    {
      name: "in the masterchain",
      why: "signatures name no workchain, so nothing can be paid in there",
      of: master,
      steps: [
        open(TON, { refused: 209 }),
        sends(TON, { open: true, refused: 209 }),
        settles(master, { take: TON }, { value: TON, refused: 207 }),
        sends(TON, { name: "coins that cannot bounce", bounce: false, refused: 209, kept: true }),
        asksToClose({ value: TON }),
        finishes({ after: 86_400, value: TON }),
      ],
    },
    {
      name: "terms with a bit more",
      why: "what cannot be read cannot be paid into",
      of: longTerms,
      steps: [open(TON, { refused: 9 }), sends(TON, { open: true, refused: 9 })],
    },
    { name: "terms without a payee", why: "the same", of: noParty, steps: [open(TON, { refused: 9 })] },
    { name: "data with a bit more", why: "the same", of: longData, steps: [open(TON, { refused: 9 })] },
    {
      name: "a deposit that was never paid in",
      why: "born with numbers: another address, and the balance bounds what is paid",
      of: forged,
      steps: [
        settles(forged, { take: TON }, { name: "settle what is not there", open: true, refused: 207 }),
        topsUp(TON, { name: "top up: the lie is to be made good first", refused: 200 }),
        topsUp(TON, { name: "top up with all that", value: 7n * TON }),
        settles(forged, { take: 6n * TON }, { value: GAS }),
      ],
    },
    {
      name: "extra currencies",
      why: "they are not ours to keep: what happens to them at the end",
      of,
      steps: [
        open(),
        sends(TON, { name: "a transfer with another currency", from: STRANGER, extra: currency(7, 1_000n) }),
        settles(of, { take: TON }),
        closes(of, { take: 2n * TON }),
      ],
    },
    {
      name: "a settle with another currency",
      why: "a submitter that attaches one",
      of,
      steps: [open(), settles(of, { take: TON }, { from: PAYEE, extra: currency(7, 1_000n) }), closes(of, { take: TON, payer: null }), sends(TON, { body: NOTHING, refused: "no-state" })],
    },
  ];
}

function currency(id, amount) {
  const currencies = Dictionary.empty(Dictionary.Keys.Uint(32), Dictionary.Values.BigVarUint(5));
  return currencies.set(id, amount);
}
