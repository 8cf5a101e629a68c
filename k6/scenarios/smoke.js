// Does it work at all? Every shape of request a few times, in under 20 seconds.
import { check } from "k6";
import { checkAnswer, checkStream } from "../lib/checks.js";
import { model, optionsOf } from "../lib/options.js";
import { chat, chatStream, models, withoutKey } from "../lib/requests.js";
import { summaryOf } from "../lib/summary.js";

export const options = optionsOf("smoke", {
  smoke: { executor: "per-vu-iterations", vus: 2, iterations: 5, maxDuration: "15s", gracefulStop: "2s" },
});

export default function () {
  check(models(), {
    "models are listed": (r) => r.status === 200 && r.json("data").some((entry) => entry.id === model),
  });
  checkAnswer(chat());
  checkStream(chatStream());
  check(withoutKey(), { "no key is 401": (r) => r.status === 401 });
}

export const handleSummary = summaryOf("smoke");
