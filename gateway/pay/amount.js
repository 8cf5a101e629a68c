// Amounts in nanotons, exact, and as people write them.

const DIGITS = 9;
export const GRAM = 10n ** BigInt(DIGITS);
/** What a gateway counts to. */
const MOST = 2n ** 63n - 1n;

/** "5", "0.25": nanotons. Throws what is wrong, in words. */
export function parse(text) {
  const found = /^(\d{1,10})(?:[.,](\d{1,9}))?$/.exec(text.trim());
  if (!found) throw new Error("Write an amount such as 5 or 0.25, with up to nine digits after the point.");
  const nano = BigInt(found[1]) * GRAM + BigInt((found[2] ?? "").padEnd(DIGITS, "0"));
  if (nano === 0n) throw new Error("Write more than nothing.");
  if (nano > MOST) throw new Error("That is more than there is.");
  return nano;
}

/** A number of nanotons as JSON has it. Throws at anything else. */
export function nano(value) {
  if (typeof value !== "string" || !/^\d{1,19}$/.test(value) || BigInt(value) > MOST) throw new Error("An amount cannot be read.");
  return BigInt(value);
}

/** All digits that say something, and two at least. */
export function plain(amount) {
  const digits = (amount % GRAM).toString().padStart(DIGITS, "0").replace(/0+$/, "").padEnd(2, "0");
  return `${amount / GRAM}.${digits}`;
}

export const gram = (amount) => `${plain(amount)} GRAM (TON)`;
