// Anthropic's official client on /v1/messages, and OpenAI's before scripted upstreams of other dialects.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { apiKey, chat, gatewayOnly, limit, tool, weather } from "./target.mjs";

const root = chat.baseURL.replace(/\/v1$/, "");
const clientOf = (key = apiKey, maxRetries = 0) => new Anthropic({ baseURL: root, apiKey: key, maxRetries, timeout: limit });
const client = clientOf();
const messages = [{ role: "user", content: "Tell of the harbor." }];
const ask = { model: chat.model, max_tokens: 16, temperature: 0, messages };
const tools = [{ name: weather.name, description: weather.description, input_schema: weather.parameters }];
const askTools = {
  model: tool.model,
  messages: [{ role: "user", content: "What will it be like?" }],
  tools,
  max_tokens: 400,
  temperature: 0,
};
const textOf = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

test("a message has text, a reason and usage", gatewayOnly, async () => {
  const message = await client.messages.create(ask);
  assert.equal(message.type, "message");
  assert.ok(textOf(message));
  assert.match(message.stop_reason, /^(end_turn|max_tokens)$/);
  assert.ok(message.usage.output_tokens > 0);
  assert.ok(message._request_id);
});

test("a stream says what a whole message says", gatewayOnly, async () => {
  const whole = await client.messages.create(ask);
  const pieces = [];
  const stream = client.messages.stream(ask).on("text", (piece) => pieces.push(piece));
  const final = await stream.finalMessage();
  assert.ok(pieces.length > 3);
  assert.equal(pieces.join(""), textOf(whole));
  assert.equal(textOf(final), textOf(whole));
  assert.deepEqual([final.stop_reason, final.usage.output_tokens], [whole.stop_reason, whole.usage.output_tokens]);
});

test("raw events are in order", gatewayOnly, async () => {
  const kinds = [];
  for await (const event of await client.messages.create({ ...ask, stream: true })) kinds.push(event.type);
  assert.equal(kinds[0], "message_start");
  assert.deepEqual(kinds.slice(-2), ["message_delta", "message_stop"]);
});

test("tools are called, whole and streamed, and answered", gatewayOnly, async () => {
  const message = await client.messages.create(askTools);
  assert.equal(message.stop_reason, "tool_use");
  const calls = message.content.filter((block) => block.type === "tool_use");
  assert.equal(calls.length, 2);
  for (const call of calls) {
    assert.equal(call.name, "get_weather");
    assert.equal(typeof call.input.city, "string");
    assert.ok(Number.isInteger(call.input.days));
  }
  const streamed = await client.messages.stream(askTools).finalMessage();
  const inputs = (answer) => answer.content.filter((block) => block.type === "tool_use").map((block) => block.input);
  assert.deepEqual(inputs(streamed), inputs(message));
  const results = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "sunny" }));
  const turns = [
    ...askTools.messages,
    { role: "assistant", content: message.content },
    { role: "user", content: results },
  ];
  assert.ok(textOf(await client.messages.create({ ...askTools, messages: turns })));
});

test("tokens are counted without an answer", gatewayOnly, async () => {
  const counted = await client.messages.countTokens({ model: chat.model, messages });
  const { usage } = await client.messages.create(ask);
  // What llama.cpp still had of an earlier prompt is counted apart.
  assert.equal(counted.input_tokens, usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
});

test("an aborted stream ends and frees its place", gatewayOnly, async () => {
  for (let i = 0; i < 5; i++) {
    const stream = client.messages.stream({ ...ask, max_tokens: 1000 });
    for await (const event of stream) {
      if (event.type === "content_block_delta") break;
    }
    stream.abort();
  }
  assert.ok(textOf(await client.messages.create(ask)));
});

test("errors are those that the client knows", gatewayOnly, async () => {
  await assert.rejects(clientOf("wrong").messages.create(ask), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError);
    assert.equal(error.error.error.type, "authentication_error");
    return true;
  });
  await assert.rejects(client.messages.create({ ...ask, model: "no-such-model" }), Anthropic.NotFoundError);
  await assert.rejects(client.messages.create({ ...ask, max_tokens: undefined }), Anthropic.BadRequestError);
});

const prefix = process.env.MOCK_MODEL_PREFIX;
const needsMock = { skip: prefix && gatewayOnly.skip === false ? false : "MOCK_MODEL_PREFIX is not set" };

for (const mode of ["clean-cut", "cut", "err-data-no-done"]) {
  test(`a broken stream rejects: ${mode}`, needsMock, async () => {
    let received = "";
    const stream = client.messages.stream({ ...ask, max_tokens: 100, model: `${prefix}${mode}` });
    stream.on("text", (piece) => (received += piece));
    await assert.rejects(stream.finalMessage(), Anthropic.APIError);
    assert.ok(received);
  });
}

test("a passing failure is survived", needsMock, async () => {
  // A name of its own: the mock counts the calls of a model for good.
  const model = `${prefix}503x1ra+tag-node`;
  assert.ok(textOf(await clientOf(apiKey, 2).messages.create({ ...ask, max_tokens: 100, model })));
});

const dialects = [process.env.CLAUDE_MODEL, process.env.GEMINI_MODEL];
const needsDialects = { skip: dialects.every(Boolean) ? gatewayOnly.skip : "CLAUDE_MODEL or GEMINI_MODEL is not set" };
const openai = new OpenAI({ baseURL: chat.baseURL, apiKey, maxRetries: 0, timeout: limit });

for (const model of dialects) {
  test(`Anthropic's client before ${model}`, needsDialects, async () => {
    const message = await client.messages.create({ ...ask, max_tokens: 100, model });
    assert.match(textOf(message), /Tell of the harbor\.$/);
    const final = await client.messages.stream({ ...ask, max_tokens: 100, model }).finalMessage();
    assert.equal(textOf(final), textOf(message));
  });

  test(`OpenAI's client before ${model}: chat and stream`, needsDialects, async () => {
    const whole = await openai.chat.completions.create({ model, messages });
    assert.match(whole.choices[0].message.content, /Tell of the harbor\.$/);
    assert.equal(whole.choices[0].finish_reason, "stop");
    let text = "";
    let usage;
    const stream = await openai.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.deepEqual(usage, whole.usage);
  });

  test(`OpenAI's client before ${model}: tools`, needsDialects, async () => {
    const asked = { model, messages, tools: [{ type: "function", function: weather }] };
    const [choice] = (await openai.chat.completions.create(asked)).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    const [call] = choice.message.tool_calls;
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
    const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
    const turns = [...messages, choice.message, result];
    const final = await openai.chat.completions.create({ ...asked, messages: turns });
    assert.match(final.choices[0].message.content, /sunny/);
    const streamed = await openai.chat.completions.stream(asked).finalChatCompletion();
    assert.deepEqual(
      streamed.choices[0].message.tool_calls.map((other) => other.function.arguments),
      choice.message.tool_calls.map((other) => other.function.arguments),
    );
  });

  test(`OpenAI's client before ${model}: a broken stream rejects`, needsDialects, async () => {
    const read = async () => {
      const stream = await openai.chat.completions.create({ model: `${model}-clean-cut`, messages, stream: true });
      for await (const _ of stream);
    };
    await assert.rejects(read(), OpenAI.APIError);
  });
}
