// That the official client comes back when it was told to, and not before.
//
// Needs LIMITED_KEY, a key with two requests a minute; skipped without it. A file of its own: it waits for most of a
// minute, and files run side by side.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { chat } from "./target.mjs";

const limited = process.env.LIMITED_KEY;
const prefix = process.env.MOCK_MODEL_PREFIX;
const skip = limited && prefix ? false : "LIMITED_KEY or MOCK_MODEL_PREFIX is not set";
const body = { model: `${prefix}ok`, messages: [{ role: "user", content: "Hello" }] };

test("the third of two a minute waits as long as it is told", { skip, timeout: 90_000 }, async () => {
  const hasty = new OpenAI({ baseURL: chat.baseURL, apiKey: limited, maxRetries: 0 });
  const patient = new OpenAI({ baseURL: chat.baseURL, apiKey: limited });
  for (const left of ["1", "0"]) {
    const { response } = await hasty.chat.completions.create(body).withResponse();
    assert.equal(response.headers.get("x-ratelimit-limit-requests"), "2");
    assert.equal(response.headers.get("x-ratelimit-remaining-requests"), left);
  }
  const refused = await hasty.chat.completions.create(body).then(
    () => assert.fail("two a minute were allowed"),
    (error) => error,
  );
  assert.ok(refused instanceof OpenAI.RateLimitError);
  assert.deepEqual([refused.type, refused.code], ["requests", "rate_limit_exceeded"]);
  const told = Number(refused.headers.get("retry-after-ms"));
  assert.ok(told > 50_000 && told <= 60_000, `${told}`);

  const started = Date.now();
  const answer = await patient.chat.completions.create(body);
  const waited = Date.now() - started;
  assert.ok(answer.choices[0].message.content);
  assert.ok(waited > told - 1000 && waited < told + 5000, `waited ${waited} ms, told ${told}`);
});
