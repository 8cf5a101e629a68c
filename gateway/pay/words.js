// Numbers and facts as the page says them.

const [MAINNET, TESTNET] = [-239, -3];

export function network(id) {
  if (id === MAINNET) return "TON";
  if (id === TESTNET) return "TON's test network, whose coins are worth nothing";
  return `a chain of its own (${id}), whose coins are worth nothing on TON`;
}

/** "2.5 %" */
export const percent = (bps) => `${bps / 100} %`;

const UNITS = [
  [86_400, "day"],
  [3600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** A time in its two largest units: "1 day", "2 hours 5 minutes". */
export function span(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [length, name] of UNITS) {
    const count = Math.floor(rest / length);
    rest %= length;
    if (count > 0) parts.push(`${count} ${name}${count === 1 ? "" : "s"}`);
    if (parts.length === 2) break;
  }
  return parts.join(" ") || "no time";
}

/** Unix seconds, in the browser's zone. */
export function moment(seconds) {
  const pad = (number) => String(number).padStart(2, "0");
  const date = new Date(seconds * 1000);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
}
