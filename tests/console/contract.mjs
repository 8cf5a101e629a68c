// A stand-in for the admin API while it is built: same paths, plausible data that changes. For development only.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createHash, randomBytes } from "node:crypto";

const TOKEN = "dev-token";
const ROOT = new URL("../../gateway/console/", import.meta.url);
const TYPES = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const started = Date.now() - 4_000_000;
let lastError = null, phase = "serving", badFile = false;
const audit = [];
const note = (action, object, detail = null) => audit.unshift({ at_ms: Date.now(), actor: "ops", action, object, detail });
const keys = new Map();
const key = (name, more) => keys.set(name, { name, owner: null, source: "database", models: ["*"], min_tier: "open", limits: { requests_per_minute: null, tokens_per_minute: null, concurrency: null }, expires: null, disabled: false, revoked_at: null, tags: {}, created_at: "2026-10-01T10:00:00Z", now: { requests: 0, tokens: 0, in_flight: 0 }, ...more });
key("search", { owner: "search-team", source: "file", created_at: null, limits: { requests_per_minute: 600, tokens_per_minute: 200000, concurrency: 32 } });
key("support-bot", { owner: "Support", models: ["small", "gpt-*"], limits: { requests_per_minute: 60, tokens_per_minute: 20000, concurrency: 4 }, expires: "2027-06-30T00:00:00Z", tags: { "cost-centre": "4711" } });
key("research", { owner: "Ada", min_tier: "tee" });
key("old", { revoked_at: "2026-11-01T08:00:00Z" });
const w = (a, b) => a + (b - a) * (0.5 + 0.5 * Math.sin(Date.now() / 9000 + a)) * (0.7 + 0.3 * Math.random());
const models = ["small", "gpt-5-mini", "embedding", "large-reasoner"];
const requests = [];
setInterval(() => {
  for (let i = 0; i < 1 + Math.random() * 3; i++) {
    const bad = Math.random() < 0.08, left = Math.random() < 0.05;
    requests.unshift({ request_id: `req_${randomBytes(9).toString("hex")}`, started_at_ms: Date.now(), key: ["search", "support-bot", "research"][(Math.random() * 3) | 0], endpoint: "chat_completions", model: models[(Math.random() * 4) | 0], upstream: bad ? null : ["pool-1", "pool-2", "openai"][(Math.random() * 3) | 0], status: bad ? 504 : left ? 499 : 200, end: bad ? "failed" : left ? "cancelled" : "complete", stream: Math.random() < 0.7, attempts: Math.random() < 0.1 ? 2 : 1, usage: { prompt: (Math.random() * 4000) | 0, cached: (Math.random() * 1000) | 0, completion: (Math.random() * 900) | 0, reasoning: 0 }, ttft_ms: bad ? null : w(80, 500), duration_ms: w(300, 9000), error_code: bad ? "upstream_timeout" : null });
  }
  requests.length = Math.min(requests.length, 100);
}, 700);
const yaml = "listen: 127.0.0.1:8080\nadmin_listen: 127.0.0.1:9090\ndata_dir: mulberry-data\nkeys:\n  - name: search\n    sha256: \"***\"\n    models: [\"*\"]\nbackends:\n  - name: local\n    kind: vllm\n    url: http://127.0.0.1:8000\n";
const config = () => ({ file: "/etc/mulberry/mulberry.yaml", hash: createHash("sha256").update(yaml).digest("hex"), loaded_at: new Date(started).toISOString(), last_error: lastError });
const up = (name, more) => ({ name, backend: "pool", kind: "openai-compatible", url: "http://10.0.3.7:8001", tier: "open", in_use: true, why: null, health: "up", breaker: "closed", outstanding: Math.round(w(0, 12)), waiting: 0, attempts: 18233 + ((Date.now() - started) / 400) | 0, failures: 3, latency_ms: w(80, 300), models: ["qwen3-4b"], ...more });
const routes = {
  "GET status": () => { const p = (a) => ({ p50: w(a, 2 * a), p95: w(3 * a, 4 * a), p99: w(5 * a, 8 * a) }); return { version: "0.1.0", started_at: new Date(started).toISOString(), uptime_s: (Date.now() - started) / 1000, phase, in_flight: Math.round(w(3, 40)), connections: 57, requests_per_second: w(2, 14), tokens_per_second: w(300, 2400), ttft_ms: p(120), duration_ms: p(900), config: config() }; },
  "GET keys": () => ({ data: [...keys.values()].map((k) => ({ ...k, now: { requests: Math.round(w(0, 64)), tokens: Math.round(w(100, 16000)), in_flight: Math.round(w(0, 4)) } })) }),
  "GET models": () => ({ data: [{ name: "small", aliases: ["small-latest"], routes: [{ backend: "local", model: "Qwen/Qwen3-4B", weight: 1, priority: 0 }, { backend: "pool", model: "qwen3-4b", weight: 1, priority: 1 }], fallbacks: ["gpt-5-mini"], price: { currency: "USD", prompt: "0.10", cached: "0.02", completion: "0.40", reasoning: "0.40", request: "0" } }, { name: "gpt-*", aliases: [], routes: [{ backend: "openai", model: null, weight: 1, priority: 0 }], fallbacks: [], price: null }] }),
  "GET upstreams": () => ({ data: [up("pool-1", {}), up("pool-2", { in_use: false, why: "The last health check failed: connection refused (os error 111).", health: "down", breaker: "open", url: "http://10.0.3.8:8001", failures: 41, latency_ms: null, models: [], outstanding: 0 }), up("openai", { backend: "openai", kind: "openai", url: "https://api.openai.com/v1", failures: 0, models: Array.from({ length: 60 }, (_, i) => `gpt-${i}`) }), up("local", { backend: "local", kind: "vllm", breaker: "probation", why: "On probation: one request at a time until one succeeds." })] }),
  "GET requests": () => ({ data: requests }),
  "GET config": () => ({ ...config(), yaml: yaml.repeat(4), needs_restart: ["listen"] }),
  "GET audit": () => ({ data: audit }),
  "POST drain": () => { phase = "draining"; note("drain", "gateway"); return [202, null]; },
  "POST reload": () => { badFile = !badFile; if (badFile) { lastError = "/etc/mulberry/mulberry.yaml:12:5: unknown key `modles`; did you mean `models`?\n/etc/mulberry/mulberry.yaml:31: `backends[0].url` is not a URL"; return [422, { error: { message: lastError, type: "invalid_request_error", param: null, code: "invalid_configuration" } }]; } lastError = null; note("reload", "configuration"); return { hash: config().hash, changed: ["models", "keys"], needs_restart: ["listen"] }; },
};
const secret = () => `sk-${randomBytes(24).toString("base64url")}`;
async function admin(method, path, query, body) {
  const plain = routes[`${method} ${path}`];
  if (plain) return plain();
  if (path === "usage" && method === "GET") {
    const by = query.get("by"), n = Number(query.get("days"));
    const groups = by === "day" ? Array.from({ length: n }, (_, i) => new Date(Date.now() - i * 864e5).toISOString().slice(0, 10)) : by === "key" ? ["search", "support-bot", "=cmd"] : by === "upstream" ? ["pool-1", "openai"] : models;
    return { data: groups.map((group, i) => ({ group, requests: 1000 - i, failures: i % 3, prompt: 900000 / (i + 1) | 0, cached: 200000 / (i + 1) | 0, completion: 400000 / (i + 1) | 0, reasoning: i === 3 ? 700000 : 0, estimated: i })) };
  }
  if (path === "keys" && method === "POST") {
    if (keys.has(body.name)) return [409, { error: { message: `There is a key ${body.name} already.`, code: "key_exists" } }];
    key(body.name, body); note("create key", body.name); return [201, { key: keys.get(body.name), secret: secret() }];
  }
  const [, name, verb] = path.match(/^keys\/([^/]+)(\/rotate)?$/) ?? [];
  const found = name && keys.get(decodeURIComponent(name));
  if (found && verb && method === "POST") { note("rotate key", name); return { key: found, secret: secret(), old_valid_until: new Date(Date.now() + 864e5).toISOString() }; }
  if (found && method === "PATCH") { Object.assign(found, body); note("change key", name, "limits"); return found; }
  if (found && method === "DELETE") { found.revoked_at = new Date().toISOString(); note("revoke key", name); return [204, null]; }
  return [404, { error: { message: "There is no such thing.", code: "not_found" } }];
}
createServer(async (request, response) => {
  const url = new URL(request.url, "http://x");
  const chunks = []; for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
  const json = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(value === null ? "" : JSON.stringify(value));
  const bearer = request.headers.authorization;
  if (url.pathname.startsWith("/admin/v1/")) {
    if (bearer !== `Bearer ${TOKEN}`) return json(401, { error: { message: "The admin token is not one of this gateway.", code: "invalid_admin_token" } });
    const answer = await admin(request.method, url.pathname.slice(10), url.searchParams, body);
    return Array.isArray(answer) ? json(...answer) : json(200, answer);
  }
  if (url.pathname.startsWith("/v1/") && request.headers["x-mulberry-admin-token"] !== TOKEN) return json(401, { error: { message: "This needs an admin token.", code: "invalid_admin_token" } });
  if (url.pathname === "/v1/models") return bearer ? json(200, { data: [{ id: "small" }, { id: "gpt-5-mini" }] }) : json(401, { error: { message: "No API key." } });
  if (url.pathname === "/v1/chat/completions") {
    response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": "req_dev", "x-mulberry-backend": "pool", "x-mulberry-attempts": "1" });
    const words = "Mulberries ripen in early summer and are best eaten where they fall. ".repeat(8).split(" ");
    for (const word of words) { if (response.destroyed) return; response.write(`data: ${JSON.stringify({ choices: [{ delta: { content: `${word} ` } }] })}\n\n`); await new Promise((done) => setTimeout(done, 25)); }
    response.write(`data: ${JSON.stringify({ choices: [{ delta: {}, finish_reason: "stop" }] })}\n\n`);
    response.write(`data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 12, completion_tokens: words.length } })}\n\n`);
    return response.end("data: [DONE]\n\n");
  }
  if (url.pathname === "/" || url.pathname === "/console") return response.writeHead(307, { location: "console/" }).end();
  const name = url.pathname === "/console/" ? "index.html" : url.pathname.replace("/console/", "");
  try { response.writeHead(200, { "content-type": TYPES[name.split(".").pop()], "content-security-policy": CSP }).end(await readFile(new URL(name, ROOT))); } catch { response.writeHead(404).end(); }
}).listen(Number(process.argv[2] ?? 0), "127.0.0.1", function () { console.log(`listening ${this.address().port}`); });
