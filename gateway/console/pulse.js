// The state of the gateway, asked for as long as someone is signed in: for the bar above, and for the charts.

import { get } from "./api.js";
import { repeat } from "./live.js";

export const EVERY_MS = 2000;
export const SPAN_MS = 5 * 60_000;

/** @type {{ at: number, status: object }[]} what was seen in the last five minutes, in order of time */
let points = [];
let failure = null;
let asking = null;
const listeners = new Set();

export const history = () => points;
export const latest = () => points.at(-1) ?? null;
/** How far back the charts go: a minute at first, five in the end. */
export function span() {
  const seen = points.length > 0 ? points.at(-1).at - points[0].at : 0;
  return Math.min(SPAN_MS, Math.max(60_000, Math.ceil(seen / 60_000) * 60_000));
}
/** Why the last question had no answer; null if it had one. */
export const problem = () => failure;

/** Calls the listener after each question. @returns a function that ends it */
export function follow(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function start() {
  stop();
  asking = repeat(EVERY_MS, async (signal) => {
    try {
      const status = await get("status", signal);
      const now = Date.now();
      points = points.filter((point) => now - point.at < SPAN_MS);
      points.push({ at: now, status });
      failure = null;
    } catch (error) {
      if (signal.aborted) return;
      failure = error;
    }
    for (const listener of listeners) listener();
  });
}

export function stop() {
  asking?.stop();
  asking = null;
  points = [];
  failure = null;
}

export const now = () => asking?.now();
