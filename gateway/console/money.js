// Amounts: exact decimal text from the gateway, shortened for the eye and never calculated with.

const NONE = "–";

/** "12.500000000" as "12.50": all digits that say something, and two at least. */
export function amount(text) {
  if (typeof text !== "string") return NONE;
  const [whole, part = ""] = text.split(".");
  const isOwed = whole.startsWith("-");
  const digits = part.replace(/0+$/, "").padEnd(2, "0");
  const grouped = whole.replace("-", "").replace(/\B(?=(\d{3})+$)/g, ",");
  return `${isOwed ? "−" : ""}${grouped}.${digits}`;
}

export function money(text, currency) {
  return typeof text === "string" ? `${amount(text)} ${currency}` : NONE;
}

/** For the length of a bar or the order of rows, where a rounded number does. */
export const size = (text) => (typeof text === "string" ? Number(text) : 0);

const AMOUNT = /^\d+(\.\d{1,9})?$/;

/** What a field of a form says: an amount, or null where it is empty. Throws what is wrong, in words. */
export function read(input, name) {
  const text = input.value.trim();
  if (text === "") return null;
  if (!AMOUNT.test(text)) throw new Error(`${name}: write an amount such as 25 or 0.50, with up to nine digits after the point.`);
  return text;
}

/** An amount as a form shows it before it is changed. */
export function written(text) {
  if (typeof text !== "string") return "";
  return text.replace(/0+$/, "").replace(/\.$/, "");
}
