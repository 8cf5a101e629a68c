// The admin API. Every answer is JSON, every error OpenAI's envelope; a 401 ends the session.

import * as session from "./session.js";

/** Where the listener is; the page stands at console/ below it, whatever a proxy puts in front. */
export const ROOT = new URL("../", document.baseURI);
const TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  /** @param {number} status 0 if there was no answer at all. */
  constructor(status, message, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let onRefused = () => {};
/** What happens when the token is refused. */
export function whenRefused(listener) {
  onRefused = listener;
}

export const refused = () => onRefused();

export const get = (path, signal) => ask("GET", path, undefined, signal);
export const post = (path, body = {}) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

/** Whether this token is accepted; throws what `get` throws, and ends no session. */
export async function tryToken(token) {
  return answer(await send("GET", "status", undefined, undefined, token));
}

async function ask(method, path, body, signal) {
  const token = session.current();
  const response = await send(method, path, body, signal, token);
  // Of a session that has ended meanwhile nothing is said.
  if (response.status === 401 && token === session.current()) refused();
  return answer(response);
}

async function send(method, path, body, signal, token) {
  const headers = { accept: "application/json", authorization: `Bearer ${token}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  const clock = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(new URL(`admin/v1/${path}`, ROOT), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, clock]) : clock,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    throw new ApiError(0, isLate ? "The gateway did not answer in 15 s." : "The gateway cannot be reached.");
  }
}

async function answer(response) {
  const text = await response.text();
  if (!response.ok) throw refusal(response.status, text);
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(response.status, "The gateway's answer is not JSON.");
  }
}

/** What an error answer says, exactly as it says it. */
export function refusal(status, text) {
  let error;
  try {
    ({ error } = JSON.parse(text));
  } catch {
    error = undefined;
  }
  const message = typeof error?.message === "string" ? error.message : text.trim();
  return new ApiError(status, message || `The gateway answered ${status}.`, error?.code ?? undefined);
}
