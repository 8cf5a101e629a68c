// Every way we know to get what is not yours. After each step the channel is as it was, but for rent.
import { beginCell } from "@ton/core";
import {
  account,
  channel,
  comment,
  finishClose,
  NOTHING,
  OTHER_KEYS,
  PAYEE,
  PAYEE_KEYS,
  PAYER_KEYS,
  requestClose,
  settle,
  STRANGER,
  TESTNET,
  TON,
  topUp,
} from "../scheme.mjs";
import { asksToClose, closes, finishes, GAS, open, sends, settles, topsUp } from "./steps.mjs";

export default function attacks(code, cut) {
  const of = channel(code);
  const sibling = channel(code, { salt: 2n });
  const begun = () => [open(), settles(of, { take: TON, max: 3n * TON })];
  const take = 2n * TON;
  const max = 3n * TON;
  const attack = (name, refused, signed) => settles(of, { take, max, ...signed }, { name, refused });
  const strange = (name, refused, body, more = {}) => ({ name, from: STRANGER, value: GAS, body, refused, ...more });
  const withTail = (body, tail) => beginCell().storeSlice(body.asSlice()).storeBuilder(tail).endCell();
  const bit = beginCell().storeBit(true);
  const reference = beginCell().storeRef(NOTHING);
  // What a message brings, at the old prices: in proportion at others.
  const brings = (what, step, table) =>
    table.map(([value, refused, kept = false]) => ({
      ...step,
      name: `${what} with ${value} nanoton at old prices`,
      value: value / cut,
      refused,
      kept,
    }));

  return [
    {
      name: "the payee's signature",
      why: "of another key, another tag, another network, another channel, another amount",
      of,
      steps: [
        ...begun(),
        attack("signed by nobody we know", 205, { payee: { key: OTHER_KEYS } }),
        attack("signed by the payer", 205, { payee: { key: PAYER_KEYS } }),
        attack("a close passed off as a take", 205, { payee: { tag: "CLS1" } }),
        attack("a take passed off as a close", 205, { close: true, payee: { tag: "STL1" } }),
        attack("a voucher passed off as a take", 205, { payee: { tag: "VCH1" } }),
        attack("for the test network", 205, { payee: { network: TESTNET } }),
        attack("for another channel", 205, { payee: { address: sibling.address } }),
        attack("for a smaller amount", 205, { payee: { amount: take - 1n } }),
        attack("over an amount of 64 bits", 205, { payee: { width: 64 } }),
      ],
    },
    {
      name: "the payer's voucher",
      why: "the same of the other side, and none",
      of,
      steps: [
        ...begun(),
        attack("signed by nobody we know", 204, { payer: { key: OTHER_KEYS } }),
        attack("signed by the payee", 204, { payer: { key: PAYEE_KEYS } }),
        attack("a take passed off as a voucher", 204, { payer: { tag: "STL1" } }),
        attack("for the test network", 204, { payer: { network: TESTNET } }),
        attack("for another channel", 204, { payer: { address: sibling.address } }),
        attack("for a smaller amount", 204, { payer: { amount: max - 1n } }),
        attack("over an amount of 64 bits", 204, { payer: { width: 64 } }),
        attack("none", 204, { payer: null }),
        attack("with a bit more", 9, { voucherTail: [true] }),
        attack("less than what is taken", 208, { max: take - 1n }),
        attack("none, to close", 204, { close: true, payer: null }),
        attack("less than what is taken, to close", 208, { close: true, max: take - 1n }),
      ],
    },
    {
      name: "a second time",
      why: "amounts are sums: what was paid is not paid again, and what was less is nothing",
      of,
      steps: [
        ...begun(),
        settles(of, { take: TON, max: 3n * TON }, { name: "the same again", refused: 207 }),
        settles(of, { take: TON - 1n, max: 3n * TON }, { name: "less", refused: 207 }),
        settles(of, { take: 0n, max: 3n * TON }, { name: "nothing", refused: 207 }),
        closes(of, { take: TON - 1n }, { name: "close at less than was claimed", refused: 207 }),
      ],
    },
    {
      name: "closing out of turn",
      why: "only the payer starts the clock, once; nobody ends it before its time",
      of,
      steps: [
        ...begun(),
        finishes({ name: "finish what was not asked for", refused: 202 }),
        asksToClose({ name: "request close as a stranger", from: STRANGER, refused: 206 }),
        asksToClose({ name: "request close as the payee", from: PAYEE, refused: 206 }),
        asksToClose({ name: "request close from the payer's number in the masterchain", from: account(0x11, -1), refused: 206 }),
        asksToClose(),
        asksToClose({ name: "start the clock again", refused: 201 }),
        finishes({ refused: 203 }),
        topsUp(TON, { name: "top up while closing", refused: 201 }),
        sends(TON, { name: "plain transfer while closing", refused: 201 }),
        sends(TON, { name: "comment while closing", body: comment("too late"), refused: 201 }),
        sends(TON, { name: "plain transfer while closing that cannot bounce", bounce: false, refused: 201, kept: true }),
        finishes({ name: "the payer has that too", after: 86_400 }),
      ],
    },
    {
      name: "too little for a top-up",
      why: "what is credited is there",
      of,
      steps: [
        open(TON, { name: "open without the reserve", value: TON + GAS / 10n, refused: 200 }),
        sends(GAS / 5n, { name: "open by too small a transfer", open: true, refused: 200 }),
        ...begun(),
        topsUp(TON, { name: "with no gas at all", value: TON, refused: 200 }),
        topsUp(TON, { name: "a nanoton short of everything", value: TON - 1n, refused: 200 }),
        topsUp(0n, { name: "of nothing", refused: 200 }),
        topsUp(1n << 119n, { name: "of more than there is", value: GAS, refused: 200 }),
        topsUp(TON, { name: "that cannot bounce", value: TON, bounce: false, refused: 200, kept: true }),
        closes(of, { take: TON, payer: null }, { name: "the payer has that too" }),
      ],
    },
    {
      name: "not of the scheme",
      why: "a message has its effect only if it is one to the last bit",
      of,
      steps: [
        ...begun(),
        strange("an unknown operation", 65_535, beginCell().storeUint(0x12345678, 32).storeUint(1, 64).endCell()),
        strange("an encrypted comment", 65_535, beginCell().storeUint(0x2167da4b, 32).storeUint(1, 64).endCell()),
        strange("eight bits", 9, beginCell().storeUint(0, 8).endCell()),
        strange("31 bits", 9, beginCell().storeUint(0, 31).endCell()),
        strange("no bits and a reference", 9, reference.endCell()),
        strange("an operation and nothing else", 9, beginCell().storeUint(0x7063736c, 32).endCell()),
        strange("a top-up with a bit more", 9, withTail(topUp(1n), bit), { value: TON }),
        strange("a top-up with a reference more", 9, withTail(topUp(1n), reference), { value: TON }),
        strange("a settle with a bit more", 9, withTail(settle(of, { take, max }), bit)),
        strange("a settle with a reference more", 9, withTail(settle(of, { take, max }), reference)),
        asksToClose({ name: "a request with a bit more", body: withTail(requestClose(), bit), refused: 9 }),
        strange("a finish with a bit more", 9, withTail(finishClose(), bit)),
        strange("what says that it bounced", null, topUp(TON), { value: TON, bounce: false, bounced: true }),
        strange("from outside", "not accepted", finishClose(), { external: true }),
        strange("from outside, a good settle", "not accepted", settle(of, { take, max }), { external: true }),
      ],
    },
    {
      name: "gas out of the message",
      why: "who does not bring what it costs changes nothing, and the deposit pays nothing",
      of,
      steps: [
        ...begun(),
        settles(of, { take, max }, { name: "settle with no value", value: 0n, refused: "no-gas", kept: true }),
        settles(of, { take, max }, { name: "settle with a nanoton", value: 1n, refused: "no-gas", kept: true }),
        ...brings("settle", settles(of, { take, max }), [
          [100_000n, -14, true],
          [2_000_000n, -14, true],
          [3_300_000n, -14, true],
          [3_600_000n, "action 37", true],
          [3_700_000n, "action 37", true],
          [3_980_000n, null],
        ]),
        ...brings("close", closes(of, { take: max, max }), [
          [3_300_000n, -14, true],
          [4_200_000n, "action 37"],
          [4_600_000n, "action 37"],
          [4_900_000n, null],
        ]),
      ],
    },
    {
      name: "gas of the clock",
      why: "the same of the payer's two messages",
      of,
      steps: [
        ...begun(),
        ...brings("request close", asksToClose(), [
          [2_000_000n, -14, true],
          [2_700_000n, "action 37", true],
          [3_200_000n, null],
        ]),
        ...brings("finish", finishes({ after: 86_400 }), [
          [1_900_000n, -14, true],
          [2_500_000n, "action 37"],
          [2_900_000n, null],
        ]),
      ],
    },
  ];
}
