// Tags as a form has them: one a line.

/** Names and values; throws which line is none. */
export function pairs(value) {
  const found = {};
  for (const line of value.split("\n").map((line) => line.trim()).filter(Boolean)) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`The tag "${line}" is not written as name=value.`);
    found[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return found;
}
