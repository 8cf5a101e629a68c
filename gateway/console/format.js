// Numbers and times as an operator reads them. What is absent is a dash, never a zero.

const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const two = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  return isNumber(value) ? whole.format(value) : NONE;
}

/** Per second: two digits below ten, one below a hundred. */
export function rate(value) {
  if (!isNumber(value)) return NONE;
  if (value < 10) return two.format(value);
  return (value < 100 ? one : whole).format(value);
}

/** Milliseconds below ten seconds, then seconds, then minutes. */
export function duration(ms) {
  if (!isNumber(ms)) return NONE;
  if (ms < 10) return `${one.format(ms)} ms`;
  if (ms < 10_000) return `${whole.format(ms)} ms`;
  if (ms < 120_000) return `${one.format(ms / 1000)} s`;
  return span(ms / 1000);
}

/** A long time in its two largest units: 3 d 4 h, 5 min 2 s. */
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** Numbers below are seconds since 1970, which is the year 5138; as milliseconds they would be 1973. */
const SECONDS = 1e11;

/** The moment that the API means: seconds or milliseconds since 1970, or RFC 3339. Null if it is none of these. */
export function moment(value) {
  if (value === null || value === undefined || value === "") return null;
  const date = new Date(typeof value === "number" && value < SECONDS ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? null : date;
}

const pad = (number) => String(number).padStart(2, "0");

/** Time of day in the browser's zone. */
export function clock(value) {
  const date = moment(value);
  return date ? `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}` : NONE;
}

export function day(value) {
  const date = moment(value);
  return date ? `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}` : NONE;
}

export function when(value) {
  const date = moment(value);
  return date ? `${day(date)} ${clock(date)}` : NONE;
}

/** The same moment for whoever compares it with a log. */
export function utc(value) {
  const date = moment(value);
  return date ? `${date.toISOString()} (UTC)` : "";
}

/** The beginning of a hash, enough to compare by eye. */
export function short(hash) {
  return typeof hash === "string" && hash !== "" ? hash.replace(/^sha256:/, "").slice(0, 12) : NONE;
}

export function text(value) {
  return value === null || value === undefined || value === "" ? NONE : String(value);
}

export function list(values) {
  return Array.isArray(values) && values.length > 0 ? values.join(", ") : NONE;
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
