import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { apiKey, chat, embedding, tool, weather } from "./target.mjs";

const modelOf = (place, more = {}) =>
  new ChatOpenAI({
    model: place.model,
    apiKey,
    temperature: 0,
    maxTokens: 16,
    maxRetries: 0,
    configuration: { baseURL: place.baseURL },
    ...more,
  });

test("invoke and stream agree", async () => {
  const model = modelOf(chat);
  const whole = await model.invoke("Tell of the frost.");
  assert.ok(whole.content);
  assert.ok(whole.usage_metadata.total_tokens > 0);
  let text = "";
  for await (const chunk of await model.stream("Tell of the frost.")) text += chunk.content;
  assert.equal(text, whole.content);
});

test("tools are called", async () => {
  const model = modelOf(tool, { maxTokens: 400 }).bindTools([{ type: "function", function: weather }]);
  const answer = await model.invoke("What will it be like?");
  assert.deepEqual(answer.tool_calls.map((call) => call.name), ["get_weather", "get_weather"]);
  assert.equal(typeof answer.tool_calls[0].args.city, "string");
});

test("embeddings", async () => {
  const embeddings = new OpenAIEmbeddings({
    model: embedding.model,
    apiKey,
    maxRetries: 0,
    configuration: { baseURL: embedding.baseURL },
  });
  const [first, second] = await embeddings.embedDocuments(["a calm lake", "a loud mill"]);
  assert.equal(first.length, second.length);
  assert.notDeepEqual(first, second);
});
