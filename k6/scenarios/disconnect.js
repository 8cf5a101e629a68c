// Clients that leave in the middle of a stream, beside a few that stay.
// Those that leave must not slow the others: a gateway that keeps their upstream requests alive fills every slot
// and the probe misses its thresholds.
import http from "k6/http";
import { Counter } from "k6/metrics";
import { checkAnswer } from "../lib/checks.js";
import { duration, optionsOf, vus } from "../lib/options.js";
import { chat, chatStream } from "../lib/requests.js";
import { summaryOf } from "../lib/summary.js";

export const options = optionsOf("disconnect", {
  leave: { executor: "constant-vus", exec: "leave", vus, duration, gracefulStop: "5s" },
  probe: {
    executor: "constant-arrival-rate",
    exec: "probe",
    rate: 4,
    timeUnit: "1s",
    duration,
    preAllocatedVUs: 8,
    maxVUs: 16,
  },
});

const leftEarly = new Counter("left_early");
const TIMED_OUT = 1050; // k6's code for a request that it gave up

export function leave() {
  // Leaving is what we want, so no answer is no failure here.
  http.setResponseCallback(http.expectedStatuses(0, 200));
  const patienceMs = 20 + Math.floor(Math.random() * 130);
  const response = chatStream(
    { max_tokens: 1900, ignore_eos: true },
    { timeout: `${patienceMs}ms`, tags: { part: "leave" } },
  );
  if (response.error_code === TIMED_OUT) leftEarly.add(1);
}

export function probe() {
  const tags = { part: "probe" };
  checkAnswer(chat({ max_tokens: 4 }, { timeout: "10s", tags }), tags);
}

export const handleSummary = summaryOf("disconnect");
