import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { apiKey, chat, embedding, gatewayOnly, limit, tool, weather } from "./target.mjs";

const clientOf = (place, key = apiKey) =>
  new OpenAI({ baseURL: place.baseURL, apiKey: key, maxRetries: 0, timeout: limit });
const client = clientOf(chat);
const messages = [{ role: "user", content: "Tell of the harbor." }];
const ask = { model: chat.model, messages, max_tokens: 16, temperature: 0 };
const askTools = {
  model: tool.model,
  messages: [{ role: "user", content: "What will it be like?" }],
  tools: [{ type: "function", function: weather }],
  max_tokens: 400,
  temperature: 0,
};

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const textOf = (chunks) => chunks.flatMap((c) => c.choices.map((choice) => choice.delta.content ?? "")).join("");

test("an answer has text, a reason and usage", async () => {
  const answer = await client.chat.completions.create(ask);
  assert.equal(answer.object, "chat.completion");
  assert.ok(answer.choices[0].message.content);
  assert.match(answer.choices[0].finish_reason, /^(stop|length)$/);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("n and logprobs", async () => {
  const answer = await client.chat.completions.create({ ...ask, n: 2, logprobs: true, top_logprobs: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index).sort(), [0, 1]);
  for (const choice of answer.choices) {
    assert.equal(choice.logprobs.content.map((entry) => entry.token).join(""), choice.message.content);
    assert.ok(choice.logprobs.content.every((entry) => entry.top_logprobs.length === 2));
  }
});

test("a stream says what a single answer says", async () => {
  const whole = await client.chat.completions.create(ask);
  const chunks = await collect(await client.chat.completions.create({ ...ask, stream: true }));
  assert.ok(chunks.length > 3);
  assert.equal(textOf(chunks), whole.choices[0].message.content);
  assert.equal(chunks.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason);
});

test("usage comes last when asked", async () => {
  const chunks = await collect(
    await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }),
  );
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && !chunk.usage));
});

test("usage does not leak when not asked", async () => {
  const chunks = await collect(await client.chat.completions.create({ ...ask, stream: true }));
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && !chunk.usage));
});

test("a client that leaves does not spoil the next", async () => {
  for (let i = 0; i < 5; i++) {
    const stream = await client.chat.completions.create({ ...ask, max_tokens: 1000, ignore_eos: true, stream: true });
    for await (const _ of stream) break;
  }
  assert.ok((await client.chat.completions.create(ask)).choices[0].message.content);
});

test("an aborted request rejects", async () => {
  const controller = new AbortController();
  const pending = client.chat.completions.create(
    { ...ask, max_tokens: 1500, ignore_eos: true },
    { signal: controller.signal },
  );
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(pending, OpenAI.APIUserAbortError);
});

test("tools are called, two at once", async () => {
  const answer = await clientOf(tool).chat.completions.create({ ...askTools, parallel_tool_calls: true });
  const calls = answer.choices[0].message.tool_calls;
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.equal(calls.length, 2);
  assert.notEqual(calls[0].id, calls[1].id);
  for (const call of calls) {
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)), ["city", "days"]);
  }
});

test("parallel calls stream by index", async () => {
  const chunks = await collect(await clientOf(tool).chat.completions.create({ ...askTools, stream: true }));
  const calls = [];
  for (const delta of chunks.flatMap((chunk) => chunk.choices[0]?.delta.tool_calls ?? [])) {
    const call = (calls[delta.index] ??= { id: "", name: "", arguments: "" });
    call.id += delta.id ?? "";
    call.name += delta.function?.name ?? "";
    call.arguments += delta.function?.arguments ?? "";
  }
  assert.equal(calls.length, 2);
  assert.equal(new Set(calls.map((call) => call.id)).size, 2);
  for (const call of calls) {
    assert.equal(call.name, "get_weather");
    assert.equal(typeof JSON.parse(call.arguments).city, "string");
  }
});

test("the tool runner goes round to an answer", async () => {
  let ran = 0;
  const runner = clientOf(tool).chat.completions.runTools({
    model: tool.model,
    messages: askTools.messages,
    max_tokens: 400,
    temperature: 0,
    tools: [
      {
        type: "function",
        function: { ...weather, parse: JSON.parse, function: ({ city }) => (ran++, `${city}: clear`) },
      },
    ],
  });
  assert.ok(await runner.finalContent());
  assert.equal(ran, 2);
});

test("the parse helper returns the type", async () => {
  const Place = z.object({ name: z.string(), height: z.number().int(), tags: z.array(z.string()) });
  const answer = await client.chat.completions.parse({
    ...ask,
    max_tokens: 200,
    response_format: zodResponseFormat(Place, "place"),
  });
  Place.parse(answer.choices[0].message.parsed);
});

test("embeddings: the default equals floats", async () => {
  const embeddings = clientOf(embedding).embeddings;
  const input = ["a calm lake", "漢 and 🙂"];
  const decoded = await embeddings.create({ model: embedding.model, input });
  const plain = await embeddings.create({ model: embedding.model, input, encoding_format: "float" });
  assert.equal(decoded.data.length, 2);
  for (const [i, item] of decoded.data.entries()) {
    assert.equal(item.index, i);
    assert.equal(item.embedding.length, plain.data[i].embedding.length);
    assert.ok(item.embedding.every((value, at) => Math.abs(value - plain.data[i].embedding[at]) < 1e-5));
  }
  assert.notDeepEqual(decoded.data[0].embedding, decoded.data[1].embedding);
});

test("the list of models names ours", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes(chat.model));
});

test("one model can be fetched", gatewayOnly, async () => {
  assert.equal((await client.models.retrieve(chat.model)).id, chat.model);
  await assert.rejects(client.models.retrieve("no/such model"), OpenAI.NotFoundError);
});

test("completions, single and streamed", async () => {
  const body = { model: chat.model, prompt: "The old mill", max_tokens: 6, temperature: 0 };
  const whole = await client.completions.create(body);
  const chunks = await collect(await client.completions.create({ ...body, stream: true }));
  assert.ok(whole.choices[0].text);
  assert.equal(chunks.flatMap((c) => c.choices.map((choice) => choice.text)).join(""), whole.choices[0].text);
});

test("responses, single and streamed", async () => {
  const body = { model: chat.model, input: "Tell of the moss.", max_output_tokens: 12, temperature: 0 };
  const whole = await client.responses.create(body);
  assert.ok(whole.output_text);
  const events = await collect(await client.responses.create({ ...body, stream: true }));
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.completed");
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), whole.output_text);
});

test("a wrong key is refused", async () => {
  await assert.rejects(clientOf(chat, "wrong").chat.completions.create(ask), OpenAI.AuthenticationError);
});

test("a bad request is a bad request, single and streamed", async () => {
  const long = [{ role: "user", content: "_x".repeat(3000) }];
  for (const stream of [false, true]) {
    await assert.rejects(client.chat.completions.create({ ...ask, messages: long, stream }), OpenAI.BadRequestError);
  }
  await assert.rejects(client.chat.completions.create({ ...ask, messages: "none" }), OpenAI.BadRequestError);
});

test("an unknown model is not found", gatewayOnly, async () => {
  await assert.rejects(client.chat.completions.create({ ...ask, model: "no-such-model" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.ok(error.requestID);
    return true;
  });
});

test("an answer has a request id", gatewayOnly, async () => {
  const { data, response, request_id } = await client.chat.completions.create(ask).withResponse();
  assert.ok(request_id);
  assert.equal(response.headers.get("x-request-id"), request_id);
  assert.equal(data._request_id, request_id);
});
