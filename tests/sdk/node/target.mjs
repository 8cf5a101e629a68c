// Where the suite looks; all of it comes from the environment (../README.md).
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set (see tests/sdk/README.md)`);
  return value;
}

const base = required("BASE_URL").replace(/\/$/, "");

export const apiKey = required("API_KEY");
export const isGateway = (process.env.TARGET ?? "gateway") === "gateway";
export const chat = { baseURL: base, model: required("CHAT_MODEL") };
// Apart only when the suite talks to bare servers, each of which has one model.
export const tool = { baseURL: process.env.TOOL_BASE_URL ?? base, model: required("TOOL_MODEL") };
export const embedding = { baseURL: process.env.EMBEDDING_BASE_URL ?? base, model: required("EMBEDDING_MODEL") };

/** The options of a test of what only a gateway does. */
export const gatewayOnly = { skip: isGateway ? false : "TARGET=upstream: only a gateway does this" };

export const limit = 30_000;

export const weather = {
  name: "get_weather",
  description: "The weather of a place.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" } },
    required: ["city", "days"],
    additionalProperties: false,
  },
};
