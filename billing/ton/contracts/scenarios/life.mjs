// Channels as they should be.
import { channel, TON } from "../scheme.mjs";
import { asksToClose, closes, finishes, GAS, open, says, sends, settles, topsUp } from "./steps.mjs";

export default function life(code) {
  const of = channel(code);
  const fee = channel(code, { feeBps: 500 });
  return [
    {
      name: "a whole life",
      why: "opened, topped up in each way, settled in parts, closed by both",
      of,
      steps: [
        open(),
        topsUp(TON),
        sends(TON / 2n),
        says("for next month", TON / 2n),
        settles(of, { take: TON, max: 2n * TON }),
        settles(of, { take: 3n * TON, max: 3n * TON }, { name: "settle again" }),
        closes(of, { take: 4n * TON }),
      ],
    },
    {
      name: "a network fee",
      why: "5 % of all that is taken, in the transaction that pays it",
      of: fee,
      steps: [
        open(),
        settles(fee, { take: 3n * TON }, { name: "settle with a fee" }),
        closes(fee, { take: 4n * TON }, { name: "close together with a fee" }),
      ],
    },
    {
      name: "the payer leaves",
      why: "it starts the clock, the payee settles in time, and anybody finishes",
      of,
      steps: [
        open(),
        settles(of, { take: TON, max: 4n * TON }),
        asksToClose(),
        finishes({ refused: 203 }),
        settles(of, { take: 2n * TON, max: 4n * TON }, { name: "settle while closing" }),
        finishes({ name: "finish close, a second early", after: 86_379, refused: 203 }),
        settles(of, { take: 3n * TON, max: 4n * TON }, { name: "settle after the delay", after: 1 }),
        finishes({ after: 0 }),
      ],
    },
    {
      name: "closed together while closing",
      why: "the payee may free the rest at any time",
      of,
      steps: [open(), asksToClose(), closes(of, { take: TON })],
    },
    {
      name: "never used",
      why: "nothing taken, and nothing to show a voucher for",
      of,
      steps: [open(), closes(of, { take: 0n, payer: null }, { name: "close without a voucher" })],
    },
    {
      name: "closed at what was claimed",
      why: "take == claimed needs no voucher",
      of,
      steps: [open(), settles(of, { take: TON }), closes(of, { take: TON, payer: null }, { name: "close without a voucher" })],
    },
    {
      name: "opened by a plain transfer",
      why: "a wallet that sends coins and a state init, and nothing else",
      of,
      steps: [sends(TON, { name: "open by a plain transfer", open: true }), settles(of, { take: TON / 2n })],
    },
    {
      name: "opened by a comment",
      why: "the same with words",
      of,
      steps: [says("hello", TON, { name: "open by a comment", open: true }), settles(of, { take: TON / 2n })],
    },
    {
      name: "coins before the code",
      why: "they pay for the reserve and are otherwise the payer's at the end",
      of,
      steps: [
        sends(TON, { name: "coins to an address without code", bounce: false, refused: "no-state", kept: true }),
        open(),
        asksToClose(),
        finishes({ after: 86_400 }),
      ],
    },
    {
      name: "opened anew",
      why: "a closed channel's address can be opened again: then its vouchers are good again, which is why nobody may",
      of,
      steps: [
        open(),
        closes(of, { take: TON }),
        open(2n * TON, { name: "open again" }),
        settles(of, { take: TON }, { name: "settle with what was signed before" }),
      ],
    },
    {
      name: "more than the deposit",
      why: "what is there is paid; the rest can be had when it is there",
      of,
      steps: [
        open(TON),
        settles(of, { take: 3n * TON }),
        settles(of, { take: 3n * TON }, { name: "settle the same", refused: 207 }),
        topsUp(TON, { value: TON + GAS }),
        settles(of, { take: 3n * TON }, { name: "settle the same after a top-up" }),
        closes(of, { take: 3n * TON, payer: null }),
      ],
    },
  ];
}
