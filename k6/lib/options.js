// Where the load goes and what must hold. Every setting is an environment variable; see ../README.md.

function required(name) {
  const value = __ENV[name];
  if (!value) throw new Error(`${name} is not set (see k6/README.md)`);
  return value;
}

export const baseUrl = required("BASE_URL").replace(/\/$/, "");
export const apiKey = required("API_KEY");
export const model = required("MODEL");

export const rate = Number(__ENV.RATE || 20); // requests a second
export const vus = Number(__ENV.VUS || 8); // clients at once
export const duration = __ENV.DURATION || "20s";

const thresholds = JSON.parse(open("../thresholds.json"));

/** k6's options for one scenario file: its load, and its thresholds out of the one file. */
export function optionsOf(name, scenarios) {
  if (!thresholds[name]) throw new Error(`thresholds.json has nothing for ${name}`);
  return {
    scenarios,
    thresholds: thresholds[name],
    // A bare llama.cpp server closes a connection right after a streamed answer, though it offers to keep it;
    // a client that uses it again at once gets no answer. A gateway hides that, so there connections are kept.
    noConnectionReuse: __ENV.TARGET === "upstream",
    summaryTrendStats: ["min", "med", "p(95)", "p(99)", "max"],
    userAgent: "mulberry-k6",
  };
}
