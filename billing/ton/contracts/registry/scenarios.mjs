// Registries as they should be, and attacked.
import { beginCell } from "@ton/core";
import { sha256_sync } from "@ton/crypto";
import { apply, charter, OWNERS, propose, registry, veto } from "./scheme.mjs";
import { splitMix } from "../scenarios/storm.mjs";
import { keys, NOTHING, STRANGER, TESTNET, TON } from "../scheme.mjs";

const GAS = TON / 5n;
const DAY = 86_400;
const [ONE, TWO, THREE] = OWNERS;
const NOBODY = keys("nobody");

const sends = (name, body, more = {}) => ({ name, from: STRANGER, value: GAS, body, ...more });
const opens = () => sends("open", NOTHING, { value: TON, open: true });

export default function scenarios(code, cut) {
  const of = registry(code);
  const other = registry(code, charter({ images: null }));
  const next = charter({ images: [[7n, 2], [9n, 3]], gateways: [1n, 2n], models: [5n] });
  const proposes = (seqno, cell = next, by = [ONE, TWO], more = {}, signed = {}) => sends("propose", propose(of, seqno, cell, by, signed), more);
  const refusedCharter = (name, change) => proposes(0, charter(change), [ONE, TWO], { name, refused: 307 });
  const attack = (name, refused, signed) => proposes(0, next, [ONE, TWO], { name, refused }, signed);
  const many = Array.from({ length: 17 }, (_, at) => keys(`many ${at}`));
  const models = (count) => Array.from({ length: count }, (_, at) => BigInt(`0x${sha256_sync(`model ${at}`).toString("hex")}`));
  const large = charter({ models: models(2_100) });
  const heirs = [keys("heir one"), keys("heir two")];
  const tail = (body) => beginCell().storeSlice(body.asSlice()).storeBit(true).endCell();

  return [
    {
      name: "a whole life",
      why: "proposed by two of three, waited for, applied by anybody; then everything anew, and the old owners are none",
      of,
      steps: [
        opens(),
        proposes(0),
        sends("apply at once", apply(), { refused: 306 }),
        sends("apply, a second early", apply(), { after: DAY - 11, refused: 306 }),
        sends("apply", apply(), { after: 1 }),
        sends("apply again", apply(), { refused: 305 }),
        proposes(2, charter({ owners: heirs, threshold: 2, delay: 3_600 }), OWNERS, { name: "propose by three" }),
        sends("apply other owners", apply(), { after: DAY }),
        proposes(4, next, [ONE, TWO], { name: "propose as who was an owner", refused: 301 }),
        proposes(4, next, heirs, { name: "propose as an heir" }),
        sends("apply after the new delay", apply(), { after: 3_600 }),
      ],
    },
    {
      name: "taken back",
      why: "one of three may, while it waits; what was signed then is worth nothing later",
      of,
      steps: [
        opens(),
        sends("veto of nothing", veto(of, 0, next, [THREE]), { refused: 305 }),
        proposes(0),
        proposes(1, next, [ONE, TWO], { name: "propose while one is pending", refused: 304 }),
        sends("veto by nobody", veto(of, 1, next, [NOBODY]), { refused: 301 }),
        sends("veto without a signature", veto(of, 1, next, []), { refused: 302 }),
        sends("veto of something else", veto(of, 1, charter(), [THREE]), { refused: 300 }),
        sends("veto with a proposal's signature", veto(of, 1, next, [THREE], { tag: "RGP1" }), { refused: 300 }),
        sends("veto", veto(of, 1, next, [THREE])),
        sends("apply what was taken back", apply(), { after: DAY, refused: 305 }),
        proposes(0, next, [ONE, TWO], { name: "the same proposal again", refused: 303 }),
        proposes(2, next, [ONE, TWO], { name: "signed anew" }),
        sends("the same veto again", veto(of, 1, next, [THREE]), { refused: 303 }),
        sends("apply", apply(), { after: DAY }),
      ],
    },
    {
      name: "who signs what",
      why: "each wrong in one thing; nothing is kept of any",
      of,
      steps: [
        opens(),
        proposes(0, next, [ONE], { name: "signed by one", refused: 302 }),
        proposes(0, next, [], { name: "signed by none", refused: 302 }),
        proposes(0, next, [ONE, NOBODY], { name: "signed by one and a stranger", refused: 301 }),
        attack("for the test network", 300, { network: TESTNET }),
        attack("for another registry", 300, { address: other.address }),
        attack("with another number", 300, { seqno: 1 }),
        attack("of another charter", 300, { hash: charter().hash() }),
        attack("a veto passed off as a proposal", 300, { tag: "RGV1" }),
        proposes(1, next, [ONE, TWO], { name: "too early by one", refused: 303 }),
        sends("a proposal with a bit more", tail(propose(of, 0, next, [ONE, TWO])), { refused: 9 }),
        sends("an unknown operation", beginCell().storeUint(1, 32).storeUint(1, 64).endCell(), { refused: 65_535 }),
        sends("from outside", propose(of, 0, next, [ONE, TWO]), { external: true, refused: "not accepted" }),
        proposes(0, next, [ONE, TWO], { name: "with too little gas", value: TON / 1_000n / cut, refused: -14, kept: true }),
      ],
    },
    {
      name: "charters that cannot be meant",
      why: "nobody locks a registry by mistake",
      of,
      steps: [
        opens(),
        refusedCharter("no owners", { owners: [] }),
        refusedCharter("too many owners", { owners: many }),
        refusedCharter("a threshold of none", { threshold: 0 }),
        refusedCharter("a threshold beyond the owners", { threshold: 4 }),
        refusedCharter("a veto by none", { veto: 0 }),
        refusedCharter("a veto beyond the owners", { veto: 4 }),
        refusedCharter("no delay", { delay: 3_599 }),
        refusedCharter("a delay without end", { delay: 7_776_001 }),
        refusedCharter("a fee beyond the whole", { mostFeeBps: 10_001 }),
        proposes(0, beginCell().endCell(), [ONE, TWO], { name: "no charter", refused: 9 }),
        proposes(0, tail(next), [ONE, TWO], { name: "a charter with a bit more", refused: 9 }),
        proposes(0, charter({ owners: many.slice(0, 16), threshold: 16, veto: 16 }), [ONE, TWO], { name: "sixteen owners", value: TON }),
      ],
    },
    {
      name: "size",
      why: "what would cost more than it is worth is refused",
      of,
      steps: [opens(), proposes(0, large, [ONE, TWO], { name: "2,100 models", value: 3n * TON, refused: 307 }), proposes(0, charter({ models: models(200) }), [ONE, TWO], { name: "two hundred models", value: TON })],
    },
    {
      name: "sixteen of sixteen",
      why: "the most that a proposal can cost",
      of: registry(code, charter({ owners: many.slice(0, 16), threshold: 16, veto: 16 })),
      steps: (() => {
        const of = registry(code, charter({ owners: many.slice(0, 16), threshold: 16, veto: 16 }));
        return [opens(), sends("propose by sixteen", propose(of, 0, next, many.slice(0, 16)), { value: TON }), sends("veto by sixteen", veto(of, 1, next, many.slice(0, 16)), { value: TON })];
      })(),
    },
    {
      name: "fifteen years",
      why: "rent, and a change after it",
      of,
      steps: [opens(), proposes(0, next, [ONE, TWO], { after: 15 * 365 * DAY, value: TON }), sends("apply", apply(), { after: DAY })],
    },
    ...Array.from({ length: 4 }, (_, seed) => storm(code, seed)),
  ];
}

function storm(code, seed) {
  const random = splitMix(BigInt(7_000 + seed));
  const first = charter({ threshold: random.among([1, 2, 3]), veto: random.among([1, 2]) });
  const of = registry(code, first);
  const some = () => OWNERS.filter(() => random.below(3) > 0).concat(random.below(8) === 0 ? [NOBODY] : []);
  const steps = Array.from({ length: 24 }, (_, at) => {
    const cell = random.among([first, charter({ delay: 3_600 }), charter({ threshold: 1 }), charter({ threshold: 9 })]);
    const seqno = random.below(Math.min(at, 6) + 1);
    const wrong = random.among([{}, {}, {}, {}, { network: TESTNET }, { tag: "RGP1" }]);
    const body = random.among([propose(of, seqno, cell, some(), wrong), veto(of, seqno, cell, some(), wrong), apply(), apply(), NOTHING]);
    return { name: `message ${at}`, from: STRANGER, value: random.among([GAS, GAS, GAS, GAS / 100n]), body, open: at === 0, after: random.among([1, 4_000, DAY]), any: true };
  });
  return { name: `registry storm ${seed}`, why: "random", of, steps };
}
