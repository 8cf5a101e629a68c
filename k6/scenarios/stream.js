// A fixed number of clients, each reading one stream after the other to its end.
import { checkStream } from "../lib/checks.js";
import { duration, optionsOf, vus } from "../lib/options.js";
import { chatStream } from "../lib/requests.js";
import { summaryOf } from "../lib/summary.js";

export const options = optionsOf("stream", {
  stream: { executor: "constant-vus", vus, duration, gracefulStop: "30s" },
});

export default function () {
  checkStream(chatStream({ max_tokens: 64 }));
}

export const handleSummary = summaryOf("stream");
