// What the playground asks of /v1: as a client would, with an API key.
// On this listener /v1 asks for the admin token too, in a header that the gateway takes away.

import { ROOT, refusal, refused } from "./api.js";
import * as session from "./session.js";
import { events } from "./sse.js";

function headers(key) {
  return {
    "content-type": "application/json",
    "x-mulberry-admin-token": session.current(),
    ...(key ? { authorization: `Bearer ${key}` } : {}),
  };
}

async function sent(path, options) {
  const response = await fetch(new URL(path, ROOT), {
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    ...options,
  });
  if (response.ok) return response;
  const error = refusal(response.status, await response.text());
  // An API key that is refused is no reason to sign out.
  if (error.code === "invalid_admin_token") refused();
  throw error;
}

/** The names of the models that the key may use. */
export async function modelsOf(key) {
  const { data } = await (await sent("v1/models", { headers: headers(key) })).json();
  return data.map((model) => model.id);
}

export function question({ model, system, user, most }) {
  const messages = [{ role: "user", content: user }];
  if (system.trim() !== "") messages.unshift({ role: "system", content: system });
  return {
    model,
    messages,
    ...(most ? { max_tokens: most } : {}),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/**
 * Asks, and tells of each piece as it arrives: `{ start }` with the headers, `{ content }`, `{ reasoning }`, `{ usage }`, `{ finish }`.
 * Throws if the answer is an error, breaks off, or is stopped through `signal`.
 */
export async function* ask(key, body, signal) {
  const response = await sent("v1/chat/completions", {
    method: "POST",
    headers: headers(key),
    body: JSON.stringify(body),
    signal,
  });
  yield { start: response.headers };
  let isWhole = false;
  for await (const data of events(response.body)) {
    if (data === "[DONE]") {
      isWhole = true;
      break;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message ?? "The stream ended in an error.");
    const [choice] = chunk.choices ?? [];
    const delta = choice?.delta ?? {};
    const reasoning = delta.reasoning_content ?? delta.reasoning;
    if (reasoning) yield { reasoning };
    if (delta.content) yield { content: delta.content };
    if (delta.tool_calls) yield { content: JSON.stringify(delta.tool_calls) };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
    if (chunk.usage) yield { usage: chunk.usage };
  }
  if (!isWhole) throw new Error("The stream ended without [DONE]: the answer is not whole.");
}

/**
 * Where clients ask, from the configuration in force: `listen`, and `tls` if it is set.
 * An address that means every address of the machine is the one that this page came from.
 */
export function clientsAddress(yaml) {
  const listen = yaml.match(/^listen: "?([^"\n]+?)"?$/m)?.[1];
  if (!listen) return null;
  const isTls = /^tls:\s*$|^tls: \{/m.test(yaml);
  const [, host, port] = listen.match(/^(.*):(\d+)$/) ?? [];
  if (!port) return null;
  const isAny = host === "0.0.0.0" || host === "[::]";
  return `${isTls ? "https" : "http"}://${isAny ? location.hostname : host}:${port}`;
}

/** The same question for a shell. The key is a variable there, so that it stays out of its history. */
export function curl(address, body, hasKey) {
  const quoted = `'${JSON.stringify(body, null, 2).replaceAll("'", "'\\''")}'`;
  const lines = [
    `curl --no-buffer ${address}/v1/chat/completions`,
    ...(hasKey ? ['--header "authorization: Bearer $MULBERRY_API_KEY"'] : []),
    "--header 'content-type: application/json'",
    `--data ${quoted}`,
  ];
  return lines.join(" \\\n  ");
}
