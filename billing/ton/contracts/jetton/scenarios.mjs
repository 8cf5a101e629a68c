// Channels that hold a jetton: as they should be, attacked, and after years.
import { channel, demand, fussy, jetton, receive, takeWallet } from "./scheme.mjs";
import { announces, asksToClose, closes, deposits, finishes, GAS, open, retries, settles, sweeps, U } from "./steps.mjs";
import { account, comment, finishClose, NOTHING, OTHER_KEYS, PAYEE, PAYER, requestClose, settle, STRANGER, TESTNET, TON } from "../scheme.mjs";
import { beginCell } from "@ton/core";

const DAY = 86_400;
const WEEK = 7 * DAY;
const YEAR = 365 * DAY;

export default function scenarios(code, cut) {
  const usd = jetton("USD");
  const other = jetton("another");
  const of = channel(code, usd.master);
  const fee = channel(code, usd.master, { feeBps: 500 });
  const sibling = channel(code, usd.master, { salt: 2n });
  const master = channel(code, usd.master, {}, { workchain: -1 });
  const dear = { ...fussy(TON / 10n), isFussy: true };
  const feeOfDear = channel(code, dear.master, { feeBps: 500 });
  const ofDear = channel(code, dear.master);
  const begun = (more = 5n * U) => [open(), deposits(usd, of, more)];
  const gets = (amount, more = {}) => ({ name: "the wallet gets some", from: STRANGER, to: dear.master, value: GAS, body: receive(amount), ...more });
  const asks = (least) => ({ name: "the wallet asks for more", from: STRANGER, to: dear.master, value: GAS, body: demand(least), unheard: true });
  const attack = (name, refused, signed) => settles(of, { take: 2n * U, max: 3n * U, ...signed }, { name, refused });
  const bit = beginCell().storeBit(true);
  const withTail = (body) => beginCell().storeSlice(body.asSlice()).storeBuilder(bit).endCell();
  const brings = (what, step, table) =>
    table.map(([value, refused]) => ({ ...step, name: `${what} with ${value} nanoton at old prices`, value, refused }));

  const rents = (to) => ({ name: "TON for rent", from: STRANGER, to, value: TON, body: NOTHING, bounce: false, unheard: to !== of.address });

  return [
    {
      name: "a whole life",
      why: "opened, paid in in each form, settled with a fee, closed by both, swept",
      of: fee,
      jettons: [usd],
      steps: [
        open({ then: { is_open: true, deposited: 0n } }),
        deposits(usd, fee, 5n * U, { then: { deposited: 5n * U, wallet: 5n * U, payer: 995n * U } }),
        deposits(usd, fee, U, { payload: "here", then: { deposited: 6n * U } }),
        deposits(usd, fee, U, { payload: "apart", then: { deposited: 7n * U } }),
        { name: "TON for rent", from: STRANGER, value: TON, body: NOTHING },
        { name: "TON with a comment", from: STRANGER, value: TON, body: comment("rent") },
        settles(fee, { take: 3n * U, max: 4n * U }, { name: "settle with a fee", then: { claimed: 3n * U, payee: 2_850_000n, fee: 150_000n, wallet: 4n * U } }),
        closes(fee, { take: 4n * U }, { name: "close together with a fee", then: { claimed: 4n * U, payee: 3_800_000n, fee: 200_000n, payer: 996n * U, wallet: 0n, ended: true } }),
        sweeps(0n, { name: "sweep too early", refused: 216 }),
        sweeps(0n, { name: "sweep the rest of the TON", after: WEEK }),
      ],
    },
    {
      name: "without a fee",
      why: "to measure",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        settles(of, { take: U, max: 4n * U }, { then: { payee: U } }),
        settles(of, { take: 2n * U, max: 4n * U }, { name: "settle again", then: { payee: 2n * U } }),
        closes(of, { take: 2n * U, payer: null }, { name: "close without a voucher", then: { payer: 998n * U, wallet: 0n } }),
        settles(of, { take: 3n * U }, { name: "settle after the end", refused: 213 }),
        closes(of, { take: 3n * U }, { name: "close a second time", refused: 213 }),
        asksToClose({ name: "request close after the end", refused: 201 }),
        finishes({ name: "finish after the end", refused: 213 }),
      ],
    },
    {
      name: "the payer leaves",
      why: "it starts the clock, the payee settles in time, what comes meanwhile goes back, and anybody finishes",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        finishes({ name: "finish what was not asked for", refused: 202 }),
        asksToClose({ name: "request close as a stranger", from: STRANGER, refused: 206 }),
        asksToClose(),
        asksToClose({ name: "start the clock again", refused: 201 }),
        deposits(usd, of, U, { name: "deposit while closing", then: { deposited: 5n * U, wallet: 5n * U, payer: 995n * U } }),
        finishes({ refused: 203 }),
        settles(of, { take: 2n * U }, { name: "settle while closing", then: { payee: 2n * U } }),
        finishes({ name: "finish close", after: DAY, then: { payer: 998n * U, wallet: 0n, ended: true } }),
        finishes({ name: "finish a second time", refused: 213 }),
        settles(of, { take: 3n * U }, { name: "settle after the end", refused: 213 }),
        deposits(usd, of, U, { name: "deposit after the end", then: { deposited: 5n * U, wallet: 0n, payer: 998n * U } }),
        open({ name: "open a second time", refused: 211 }),
      ],
    },
    {
      name: "forged deposits",
      why: "only our own wallet is believed; what another says comes back to it, with its own coins",
      of,
      jettons: [usd, other],
      steps: [
        announces(STRANGER, U, { name: "before anything is known", open: true, then: { deposited: 0n } }),
        open(),
        announces(STRANGER, U, { name: "by a stranger", then: { deposited: 0n } }),
        announces(PAYER, 1n << 119n, { name: "by the payer, of very much", then: { deposited: 0n } }),
        announces(usd.master, U, { name: "by the master", then: { deposited: 0n } }),
        announces(usd.wallet(PAYER), U, { name: "by the payer's wallet", then: { deposited: 0n, payer: 1_000n * U } }),
        announces(other.wallet(of.address), U, { name: "by our wallet of another jetton", then: { deposited: 0n } }),
        deposits(other, of, U, { name: "another jetton, truly", then: { deposited: 0n } }),
        announces(STRANGER, U, { name: "that cannot be sent back", value: 3_100_000n / cut, bounce: false, refused: "action 37", then: { deposited: 0n } }),
        deposits(usd, of, 5n * U, { then: { deposited: 5n * U, wallet: 5n * U } }),
        settles(of, { take: 5n * U }, { then: { payee: 5n * U, wallet: 0n } }),
      ],
    },
    {
      name: "who says which wallet",
      why: "the master alone, once",
      of,
      jettons: [usd],
      steps: [
        { name: "a stranger says, first", from: STRANGER, value: GAS, body: takeWallet(STRANGER), open: true, refused: 210 },
        { name: "the payer says", from: PAYER, value: GAS, body: takeWallet(PAYER), open: true, refused: 210 },
        { name: "the master knows none", from: usd.master, value: GAS, body: takeWallet(null), open: true, refused: 212 },
        open({ then: { is_open: true } }),
        { name: "the master says another", from: usd.master, value: GAS, body: takeWallet(STRANGER), refused: 211 },
        deposits(usd, of, U, { then: { deposited: U } }),
      ],
    },
    {
      name: "too early",
      why: "jettons that come before the wallet is known go back",
      of,
      jettons: [usd],
      steps: [
        deposits(usd, of, U, { name: "to an address without code", refused: "no-state", then: { wallet: U } }),
        open({ name: "open with too little", value: TON / 20n, refused: 200 }),
        announces(STRANGER, 0n, { name: "code without a wallet", open: true }),
        deposits(usd, of, U, { name: "deposit before the wallet is known", then: { wallet: U, payer: 999n * U, deposited: 0n } }),
        open({ then: { is_open: true } }),
        deposits(usd, of, U, { name: "deposit with nothing forwarded", forward: 0n, unheard: true, then: { wallet: 2n * U, deposited: 0n } }),
        deposits(usd, of, U, { name: "deposit with too little forwarded", forward: 1_000n, refused: "no-gas", then: { wallet: 3n * U, deposited: 0n } }),
        deposits(usd, of, U, { then: { deposited: U } }),
        settles(of, { take: 4n * U }, { name: "settle no more than was credited", then: { claimed: U, payee: U, wallet: 3n * U } }),
        asksToClose(),
        finishes({ after: DAY, then: { ended: true, wallet: 3n * U } }),
        sweeps(3n * U, { name: "sweep as a stranger", from: STRANGER, after: WEEK, refused: 206 }),
        sweeps(3n * U, { name: "sweep what was not credited", then: { wallet: 0n, payer: 999n * U } }),
        sweeps(U, { name: "sweep what is not there", then: { payer: 999n * U } }),
      ],
    },
    {
      name: "signatures",
      why: "the same core as a channel of TON: each wrong in one thing",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        settles(of, { take: U, max: 3n * U }),
        attack("signed by nobody we know", 205, { payee: { key: OTHER_KEYS } }),
        attack("a close passed off as a take", 205, { payee: { tag: "CLS1" } }),
        attack("a take passed off as a close", 205, { close: true, payee: { tag: "STL1" } }),
        attack("a take for the test network", 205, { payee: { network: TESTNET } }),
        attack("a take for another channel", 205, { payee: { address: sibling.address } }),
        attack("a take of another amount", 205, { payee: { amount: U } }),
        attack("a voucher of nobody we know", 204, { payer: { key: OTHER_KEYS } }),
        attack("a voucher for another channel", 204, { payer: { address: sibling.address } }),
        attack("a voucher over another amount", 204, { payer: { amount: 2n * U } }),
        attack("no voucher", 204, { payer: null }),
        attack("a voucher with a bit more", 9, { voucherTail: [true] }),
        attack("less than what is taken", 208, { max: 2n * U - 1n }),
        settles(of, { take: U, max: 3n * U }, { name: "the same again", refused: 207 }),
        settles(of, { take: U - 1n, max: 3n * U }, { name: "less", refused: 207 }),
        closes(of, { take: U - 1n }, { name: "close at less than was claimed", refused: 207 }),
        settles(of, { take: 9n * U }, { name: "more than the deposit", then: { claimed: 5n * U, payee: 5n * U } }),
        { name: "an unknown operation", from: STRANGER, value: GAS, body: beginCell().storeUint(0x70637470, 32).storeUint(1, 64).endCell(), refused: 65_535 },
        { name: "a settle with a bit more", from: STRANGER, value: GAS, body: withTail(settle(of, { take: 9n * U })), refused: 9 },
        { name: "a request with a bit more", from: PAYER, value: GAS, body: withTail(requestClose()), refused: 9 },
        { name: "a finish with a bit more", from: PAYER, value: GAS, body: withTail(finishClose()), refused: 9 },
        { name: "from outside", from: null, body: settle(of, { take: 9n * U }), external: true, refused: "not accepted" },
        { name: "what says that it bounced", from: STRANGER, value: GAS, body: takeWallet(STRANGER), bounce: false, bounced: true },
      ],
    },
    {
      name: "gas out of the message",
      why: "who does not bring what it costs changes nothing",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        ...brings("settle", settles(of, { take: U }), [
          [0n, "no-gas"],
          [1_000_000n / cut, -14],
          [40_000_000n, "action 37"],
          [50_000_000n, "action 37"],
        ]),
        settles(of, { take: U }, { name: "settle with just enough", value: 58_000_000n, then: { payee: U } }),
        ...brings("close", closes(of, { take: 2n * U }), [[60_000_000n, "action 37"], [100_000_000n, "action 37"]]),
        asksToClose({ name: "request close with too little", value: 3_500_000n / cut, refused: "action 37" }),
        asksToClose(),
        finishes({ name: "finish with too little", after: DAY, value: 50_000_000n, refused: "action 37" }),
        closes(of, { take: 2n * U }, { name: "close with just enough", value: 112_000_000n, then: { payee: 2n * U, payer: 998n * U } }),
      ],
    },
    {
      name: "a transfer that cannot be made",
      why: "what bounces is due, and anybody has it paid again; it is not lost, and not paid twice",
      of: feeOfDear,
      jettons: [dear],
      steps: [
        open({ then: { is_open: true } }),
        gets(10n * U, { then: { deposited: 10n * U, wallet: 10n * U } }),
        settles(feeOfDear, { take: 4n * U }, { then: { claimed: 4n * U, payee_due: 3_800_000n, fee_due: 200_000n, wallet: 10n * U } }),
        settles(feeOfDear, { take: 4n * U }, { name: "settle the same", refused: 207 }),
        retries(0, { name: "retry for nobody", refused: 215 }),
        retries(3, { name: "retry what is not due", refused: 215 }),
        retries(1, { name: "retry with too little", value: TON / 20n, refused: 200 }),
        retries(1, { name: "retry with less than the jetton asks for", value: TON / 10n, then: { payee_due: 3_800_000n, wallet: 10n * U } }),
        closes(feeOfDear, { take: 5n * U }, { then: { claimed: 5n * U, payee_due: 4_750_000n, fee_due: 250_000n, payer_due: 5n * U, ended: true } }),
        sweeps(10n * U, { name: "sweep while others are owed", after: WEEK, refused: 216 }),
        retries(1, { name: "the payer retries with too little", from: PAYER, value: TON / 10n, then: { payee_due: 4_750_000n } }),
        retries(1, { name: "retry with enough", value: TON / 2n, then: { payee_due: 0n, wallet: 5_250_000n } }),
        retries(2, { name: "retry the fee", value: TON / 2n, then: { fee_due: 0n, wallet: 5n * U } }),
        sweeps(5n * U, { name: "sweep at once", refused: 216 }),
        retries(3, { name: "retry the refund", value: TON / 2n, then: { payer_due: 0n, wallet: 0n } }),
        retries(1, { name: "retry what was paid", refused: 215 }),
      ],
    },
    {
      name: "a bounce that is none",
      why: "only what our wallet returns counts",
      of: ofDear,
      jettons: [dear],
      steps: [
        open(),
        gets(U),
        { name: "a bounce of a stranger", from: STRANGER, value: GAS, bounce: false, bounced: true, body: bounceOf(1n << 62n, U), then: { payee_due: 0n } },
        { name: "a bounce of something else", from: dear.master, value: GAS, bounce: false, bounced: true, body: beginCell().storeUint(0xffffffff, 32).storeUint(1, 32).endCell(), then: { payee_due: 0n } },
        { name: "a bounce of what was sent back", from: dear.master, value: GAS, bounce: false, bounced: true, body: bounceOf(1n, U), then: { payee_due: 0n, payer_due: 0n } },
        asks(0n),
        settles(ofDear, { take: U }, { then: { payee_due: 0n, wallet: 0n } }),
      ],
    },
    {
      name: "fifteen years",
      why: "rent has eaten the reserve; who sends brings more, and everybody has all that is theirs",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        settles(of, { take: U, max: 4n * U }),
        settles(of, { take: 4n * U }, { name: "settle after fifteen years", after: 15 * YEAR, value: TON, then: { payee: 4n * U, payee_due: 0n } }),
        ...[of.address, PAYEE, PAYER].map(usd.wallet).map(rents),
        deposits(usd, of, U, { name: "deposit after fifteen years", forward: TON / 2n, then: { deposited: 6n * U } }),
        closes(of, { take: 5n * U }, { name: "close after twenty years", after: 5 * YEAR, value: TON, then: { payee: 5n * U, payer: 995n * U, payee_due: 0n } }),
      ],
    },
    {
      name: "a payee whose wallet froze",
      why: "a limit: what its wallet does not take comes back to ours, and nobody is told",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        settles(of, { take: U, max: 4n * U }, { then: { payee: U } }),
        ...[of.address, usd.wallet(of.address)].map(rents),
        settles(of, { take: 4n * U }, { name: "settle after thirty years", after: 30 * YEAR, value: TON, then: { claimed: 4n * U, payee_due: 0n, wallet: 4n * U } }),
      ],
    },
    {
      name: "fifteen years, and TON before",
      why: "anybody may pay the rent",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        { name: "TON for rent", from: STRANGER, value: TON / 2n, body: NOTHING, after: 7 * YEAR },
        settles(of, { take: 4n * U }, { name: "settle after fifteen years", after: 8 * YEAR, value: TON, then: { payee: 4n * U } }),
      ],
    },
    {
      name: "an address that comes twice",
      why: "the account stays when the channel has ended, so that it does not: neither state init nor coins begin it anew",
      of,
      jettons: [usd],
      steps: [
        ...begun(),
        closes(of, { take: U }, { then: { ended: true } }),
        sweeps(0n, { after: WEEK }),
        open({ name: "open with the state init of the beginning", refused: 211, then: { ended: true, claimed: U } }),
        deposits(usd, of, 5n * U, { name: "deposit again", then: { deposited: 5n * U, wallet: 0n } }),
        settles(of, { take: U }, { name: "settle with what was signed before", refused: 213 }),
      ],
    },
    {
      name: "in the masterchain",
      why: "signatures name no workchain, so nothing is ever credited there",
      of: master,
      jettons: [usd],
      steps: [open({ value: 20n * TON, refused: 209 })],
    },
  ];
}

function bounceOf(queryId, amount) {
  return beginCell().storeUint(0xffffffff, 32).storeUint(0x0f8a7ea5, 32).storeUint(queryId, 64).storeCoins(amount).endCell();
}
