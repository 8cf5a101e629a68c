import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool as aiTool } from "ai";
import { z } from "zod";
import { apiKey, chat, embedding, gatewayOnly, tool, weather } from "./target.mjs";

// This SDK prints warnings (about our unusual names of models, for instance) to the console.
globalThis.AI_SDK_LOG_WARNINGS = false;

const providerOf = (place, key = apiKey) =>
  createOpenAICompatible({
    name: "mulberry",
    baseURL: place.baseURL,
    apiKey: key,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const model = providerOf(chat)(chat.model);
const base = { model, prompt: "Tell of the meadow.", maxOutputTokens: 16, temperature: 0, maxRetries: 0 };

test("generateText", async () => {
  const answer = await generateText(base);
  assert.ok(answer.text);
  assert.match(answer.finishReason, /^(stop|length)$/);
  assert.equal(answer.usage.totalTokens, answer.usage.inputTokens + answer.usage.outputTokens);
});

test("streamText says what generateText says, with usage", async () => {
  const whole = await generateText(base);
  const stream = streamText({ ...base, onError: ({ error }) => assert.fail(error) });
  let pieces = 0;
  let text = "";
  for await (const piece of stream.textStream) {
    pieces += 1;
    text += piece;
  }
  assert.ok(pieces > 3);
  assert.equal(text, whole.text);
  assert.equal(await stream.finishReason, whole.finishReason);
  assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
});

test("a stream that is aborted ends", async () => {
  const controller = new AbortController();
  const kinds = [];
  const stream = streamText({ ...base, maxOutputTokens: 1500, abortSignal: controller.signal, onError: () => {} });
  for await (const part of stream.fullStream) {
    kinds.push(part.type);
    if (part.type === "text-delta") controller.abort();
  }
  assert.equal(kinds.at(-1), "abort");
});

const tools = (ran) => ({
  get_weather: aiTool({
    description: weather.description,
    inputSchema: jsonSchema(weather.parameters),
    execute: async ({ city, days }) => {
      ran.push({ city, days });
      return { sky: "clear" };
    },
  }),
});
const toolModel = providerOf(tool)(tool.model);

test("tools run and lead to an answer", async () => {
  const ran = [];
  const answer = await generateText({
    ...base,
    model: toolModel,
    tools: tools(ran),
    maxOutputTokens: 400,
    stopWhen: stepCountIs(2),
  });
  assert.equal(ran.length, 2);
  assert.ok(ran.every(({ city, days }) => typeof city === "string" && Number.isInteger(days)));
  assert.equal(answer.steps[0].finishReason, "tool-calls");
  assert.ok(answer.text);
});

test("tool calls stream", async () => {
  const ran = [];
  const stream = streamText({ ...base, model: toolModel, tools: tools(ran), maxOutputTokens: 400 });
  const kinds = {};
  for await (const part of stream.fullStream) {
    assert.notEqual(part.type, "error", String(part.error));
    kinds[part.type] = (kinds[part.type] ?? 0) + 1;
  }
  assert.equal(kinds["tool-call"], 2);
  assert.equal(kinds["tool-result"], 2);
  assert.ok(kinds["tool-input-delta"] > 2);
  assert.equal(ran.length, 2);
});

test("generateObject keeps to the schema", async () => {
  const { object } = await generateObject({
    ...base,
    maxOutputTokens: 200,
    schema: z.object({ name: z.string(), height: z.number().int(), open: z.boolean() }),
  });
  assert.equal(typeof object.name, "string");
  assert.ok(Number.isInteger(object.height));
});

test("embedMany", async () => {
  const { embeddings, usage } = await embedMany({
    model: providerOf(embedding).textEmbeddingModel(embedding.model),
    values: ["a calm lake", "a loud mill"],
    maxRetries: 0,
  });
  assert.equal(embeddings.length, 2);
  assert.notDeepEqual(embeddings[0], embeddings[1]);
  assert.ok(usage.tokens > 0);
});

test("a wrong key is an APICallError that is not retried", async () => {
  await assert.rejects(generateText({ ...base, model: providerOf(chat, "wrong")(chat.model) }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 401);
    assert.equal(error.isRetryable, false);
    return true;
  });
});

test("a bad request in a stream is an error part", async () => {
  const errors = [];
  const stream = streamText({ ...base, prompt: "_x".repeat(3000), onError: ({ error }) => errors.push(error) });
  const kinds = [];
  for await (const part of stream.fullStream) kinds.push(part.type);
  assert.ok(kinds.includes("error"));
  assert.equal(errors[0].statusCode, 400);
});

test("an unknown model is not found", gatewayOnly, async () => {
  await assert.rejects(generateText({ ...base, model: providerOf(chat)("no-such-model") }), (error) => {
    assert.equal(error.statusCode, 404);
    // The SDK reads OpenAI's envelope; without it the message would be the status text.
    assert.match(error.message, /no-such-model/);
    return true;
  });
});
