// A fixed number of single answers a second, whether or not earlier ones have come: what users do.
import { checkAnswer } from "../lib/checks.js";
import { duration, optionsOf, rate } from "../lib/options.js";
import { chat } from "../lib/requests.js";
import { summaryOf } from "../lib/summary.js";

export const options = optionsOf("steady", {
  steady: {
    executor: "constant-arrival-rate",
    rate,
    timeUnit: "1s",
    duration,
    // Enough that a second's delay of every answer drops nothing.
    preAllocatedVUs: rate * 2,
    maxVUs: rate * 4,
  },
});

export default function () {
  checkAnswer(chat());
}

export const handleSummary = summaryOf("steady");
