// A gateway of its own for a test: `mulberry mock`, and `mulberry serve` before it, on free ports of 127.0.0.1.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BINARY = required("MULBERRY_BIN");
const START_MS = 20_000;

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start the suite with tests/console/run`);
  return value;
}

/** Starts a process and waits for a line that matches; the groups of the match come with it. */
export async function started(args, stream, pattern) {
  const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
  const said = { stdout: "", stderr: "" };
  const found = new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`mulberry ${args[0]} ${why}:\n${said.stdout}${said.stderr}`));
    const clock = setTimeout(() => fail("did not start"), START_MS);
    for (const name of ["stdout", "stderr"]) {
      child[name].setEncoding("utf8").on("data", (text) => {
        said[name] += text;
        const match = said[stream].match(pattern);
        if (match) {
          clearTimeout(clock);
          resolve(match);
        }
      });
    }
    child.on("exit", (code) => fail(`ended with ${code}`));
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  return { match: await found, child, ended, log: () => said.stderr };
}

/**
 * @returns a gateway with the key `file-key` in its file, which `write` replaces and `stop` ends.
 */
export async function startGateway() {
  const folder = await mkdtemp(join(tmpdir(), "mulberry-console-"));
  const file = join(folder, "mulberry.yaml");
  const mock = await started(
    ["mock", "--listen", "127.0.0.1:0", "--chunk-delay", "30"],
    "stdout",
    /listening ([0-9.:]+)/,
  );
  const apiKey = `client-${Math.random().toString(36).slice(2)}`;
  const yaml = (more = "") => `
listen: 127.0.0.1:0
admin_listen: 127.0.0.1:0
data_dir: ${folder}/data
reload: {watch: null}
keys:
  - name: file-key
    owner: search-team
    secret: ${apiKey}
    models: ["*"]
    limits: {requests_per_minute: 5000, concurrency: 64}
backends:
  - {name: mock, kind: openai-compatible, url: "http://${mock.match[1]}"}
  # Nobody listens there.
  - {name: gone, kind: vllm, upstreams: [{url: "http://127.0.0.1:9"}, {url: "http://127.0.0.1:19"}]}
models:
  - name: mock
    aliases: [mock-latest]
    routes: [{backend: mock, priority: 0}, {backend: gone, priority: 1}]
    price: {currency: USD, prompt: 0.10, completion: 0.40}
  - {name: gone, routes: [{backend: gone}], fallbacks: [mock]}
  - {name: "fault/*", routes: [{backend: mock}]}
${more}`;
  await writeFile(file, yaml());
  const serve = await started(
    ["serve", "--config", file],
    "stderr",
    /listening.*?address=([0-9.:]+).*?admin=([0-9.:]+)/,
  );
  const url = `http://${serve.match[1]}`;
  const admin = `http://${serve.match[2]}`;
  const token = (await readFile(join(folder, "data", "admin.token"), "utf8")).trim();
  return {
    url,
    admin,
    apiKey,
    token,
    /** Asks the admin API for a change, which must be made. @returns its answer */
    async change(path, body) {
      const response = await fetch(`${admin}/admin/v1/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
      return JSON.parse(text);
    },
    ended: serve.ended,
    log: serve.log,
    /** Writes the file anew, with more at its end; nobody is told. */
    write: (more) => writeFile(file, yaml(more)),
    /** Asks as a client. @returns the status */
    async ask(key, model = "mock", more = {}) {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
        body: JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }], max_tokens: 8, ...more }),
      });
      await response.text();
      return response.status;
    },
    async stop() {
      for (const one of [serve, mock]) {
        one.child.kill("SIGKILL");
        await one.ended;
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}
