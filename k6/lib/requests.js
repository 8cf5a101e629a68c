// The requests that scenarios send. A prompt differs each time, so that no cache answers in the model's stead.
import http from "k6/http";
import { Trend } from "k6/metrics";
import { apiKey, baseUrl, model } from "./options.js";

export const firstByteMs = new Trend("first_byte_ms");

const headers = { "content-type": "application/json", authorization: `Bearer ${apiKey}` };

function prompt() {
  return `Tell of the river, part ${__VU} of ${__ITER}.`;
}

function post(path, body, { timeout = "60s", tags = {} } = {}) {
  const response = http.post(`${baseUrl}${path}`, JSON.stringify(body), { headers, timeout, tags });
  // Status 0 is no answer at all; its time would be that of our own patience.
  if (response.status !== 0) firstByteMs.add(response.timings.waiting, tags);
  return response;
}

export function models() {
  return http.get(`${baseUrl}/models`, { headers });
}

export function chat(fields = {}, how = {}) {
  const messages = [{ role: "user", content: prompt() }];
  return post("/chat/completions", { model, messages, max_tokens: 16, ...fields }, how);
}

export function chatStream(fields = {}, how = {}) {
  return chat({ stream: true, stream_options: { include_usage: true }, ...fields }, how);
}

export function withoutKey() {
  return http.post(`${baseUrl}/chat/completions`, JSON.stringify({ model, messages: [] }), {
    headers: { "content-type": "application/json" },
    responseCallback: http.expectedStatuses(401),
  });
}
