// What an answer must look like. k6 reads a stream to its end before it hands it over, so the events are
// checked as text afterwards, and the time to the first byte is taken from the response's timings.
import { check } from "k6";
import { Rate } from "k6/metrics";

export const streamWhole = new Rate("stream_whole");

const DONE = "data: [DONE]\n\n";

export function checkAnswer(response, tags = {}) {
  return check(
    response,
    {
      "status is 200": (r) => r.status === 200,
      "answer has text": (r) => r.status === 200 && typeof r.json("choices.0.message.content") === "string",
      "answer has usage": (r) => r.status === 200 && r.json("usage.completion_tokens") > 0,
    },
    tags,
  );
}

export function checkStream(response, tags = {}) {
  const whole = check(
    response,
    {
      "status is 200": (r) => r.status === 200,
      "is an event stream": (r) => (r.headers["Content-Type"] || "").startsWith("text/event-stream"),
      "ends with [DONE]": (r) => typeof r.body === "string" && r.body.endsWith(DONE),
      "has one finish reason": (r) => typeof r.body === "string" && finishReasons(r.body) === 1,
      "has usage, last": (r) => typeof r.body === "string" && usageIsLast(r.body),
    },
    tags,
  );
  streamWhole.add(whole, tags);
  return whole;
}

function events(body) {
  return body
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice("data: ".length)));
}

function finishReasons(body) {
  return events(body).filter((event) => event.choices.some((choice) => choice.finish_reason)).length;
}

function usageIsLast(body) {
  const all = events(body);
  return all.length > 1 && all[all.length - 1].usage && all.filter((event) => event.usage).length === 1;
}
