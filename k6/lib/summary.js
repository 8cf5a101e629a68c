// The end of a run: the metrics that matter, one a line, and each threshold. SUMMARY=FILE also writes all as JSON.

const SHOWN = [
  "http_reqs",
  "http_req_failed",
  "first_byte_ms",
  "http_req_duration",
  "stream_whole",
  "left_early",
  "dropped_iterations",
  "checks",
];

export function summaryOf(name) {
  return function handleSummary(data) {
    const lines = [`k6 ${name}: ${(data.state.testRunDurationMs / 1000).toFixed(1)} s`];
    for (const metric of SHOWN) {
      const found = data.metrics[metric];
      if (found) lines.push(`  ${metric.padEnd(20)} ${show(found)}`);
    }
    let failed = 0;
    for (const [metric, { thresholds }] of Object.entries(data.metrics)) {
      for (const [rule, { ok }] of Object.entries(thresholds || {})) {
        if (!ok) failed += 1;
        lines.push(`  ${ok ? "ok    " : "FAILED"} ${metric} ${rule}`);
      }
    }
    const checks = data.metrics.checks ? data.metrics.checks.values : { passes: 0, fails: 0 };
    lines.push(`k6 ${name}: ${checks.passes} checks passed, ${checks.fails} failed; ${failed} thresholds failed`, "");
    const out = { stdout: lines.join("\n") };
    if (__ENV.SUMMARY) out[__ENV.SUMMARY] = JSON.stringify(data, null, 2);
    return out;
  };
}

// k6 calls the true values of a rate its passes, even where true means that a request failed.
function show({ type, values }) {
  if (type === "rate") return `${(values.rate * 100).toFixed(2)} % of ${values.passes + values.fails}`;
  return ["count", "rate", "min", "med", "p(95)", "p(99)", "max"]
    .filter((name) => name in values)
    .map((name) => `${name}=${Number.isInteger(values[name]) ? values[name] : values[name].toFixed(2)}`)
    .join(" ");
}
