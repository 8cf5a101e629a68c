// Overview: how much, how fast, and what needs a person.

import { get, post } from "../api.js";
import { lines } from "../chart.js";
import { confirm } from "../dialog.js";
import { h, say } from "../dom.js";
import { count, duration, plural, rate, short, span, text, when } from "../format.js";
import { repeat } from "../live.js";
import { notice } from "../notice.js";
import * as pulse from "../pulse.js";
import { parts } from "../table.js";

const GAP_MS = 3 * pulse.EVERY_MS;
const UPSTREAMS_EVERY_MS = 4000;

export const overview = { id: "overview", title: "Overview", open };

function open(root) {
  const figures = [
    figure("Requests per second", (status) => status.requests_per_second, rate),
    figure("Tokens per second", (status) => status.tokens_per_second, rate),
    figure("In flight", (status) => status.in_flight, count),
    percentiles("Time to first token", (status) => status.ttft_ms),
    percentiles("Duration", (status) => status.duration_ms),
  ];
  const attention = h("ul", { class: "attention" });
  const process = h("dl", { class: "facts" });
  const facts = new Map();
  const drain = h("button", { type: "button", class: "danger", on: { click: askToDrain } }, "Drain…");
  const problem = h("p", { class: "problem", role: "alert" });
  let upstreams = null;

  root.append(
    h("section", { class: "figures", "aria-label": "The last 60 seconds" }, figures.map((part) => part.element)),
    h("p", { class: "hint" }, "Numbers are of the last 60 seconds. The lines begin when this page is opened, and go back five minutes at most."),
    h(
      "div",
      { class: "columns" },
      h("section", { class: "block" }, h("h2", {}, "Needs attention"), attention),
      h("section", { class: "block" }, h("h2", {}, "This gateway"), process),
    ),
    h(
      "section",
      { class: "block" },
      h("h2", {}, "Drain"),
      h("p", {}, "Refuses new connections, lets what is open finish, and ends the process. It cannot be taken back."),
      problem,
      drain,
    ),
  );

  function draw() {
    const last = pulse.latest();
    if (!last) return;
    const { status } = last;
    for (const part of figures) part.update();
    tellFacts(status);
    tellAttention(status);
    drain.disabled = status.phase !== "serving";
    say(drain, status.phase === "serving" ? "Drain…" : "Draining");
  }

  function tellFacts(status) {
    const rows = {
      Phase: status.phase,
      Version: text(status.version),
      Started: `${when(status.started_at)}, ${span(status.uptime_s)} ago`,
      Connections: count(status.connections),
      Configuration: text(status.config?.file),
      Hash: short(status.config?.hash),
      Loaded: when(status.config?.loaded_at),
    };
    for (const [name, value] of Object.entries(rows)) {
      if (!facts.has(name)) {
        const cell = h("dd", {});
        facts.set(name, cell);
        process.append(h("dt", {}, name), cell);
      }
      say(facts.get(name), value);
    }
  }

  let told = "";
  function tellAttention(status) {
    const items = [];
    if (status.phase !== "serving") items.push(["warn", "The gateway is draining: it refuses new connections."]);
    if (status.config?.last_error) {
      items.push(["bad", `The last reload was refused, the old configuration serves: ${status.config.last_error}`]);
    }
    for (const one of upstreams ?? []) {
      if (!one.in_use) items.push(["bad", `${one.name} is not in use: ${text(one.why)}`]);
      else if (one.why) items.push(["warn", `${one.name}: ${one.why}`]);
    }
    if (items.length === 0 && upstreams) {
      items.push(["good", `Nothing. ${plural(upstreams.length, "upstream")} in use, the configuration is as loaded.`]);
    }
    const now = JSON.stringify(items);
    if (now === told) return;
    told = now;
    attention.replaceChildren(...items.map(([tone, line]) => h("li", {}, parts({ text: line, tone, mark: true }))));
  }

  async function askToDrain() {
    const isAgreed = await confirm({
      title: "Drain this gateway?",
      text: "It refuses new connections, lets what is open finish, and then the process ends. Something else must start it again.",
      action: "Drain",
    });
    if (!isAgreed) return;
    problem.textContent = "";
    try {
      await post("drain");
      notice("The gateway is draining.", "warn");
      pulse.now();
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  const unfollow = pulse.follow(draw);
  draw();
  const asking = repeat(UPSTREAMS_EVERY_MS, async (signal) => {
    try {
      upstreams = (await get("upstreams", signal)).data;
      draw();
    } catch {
      // The bar above tells of a gateway that does not answer; the section Upstreams tells of the rest.
    }
  });
  return () => {
    unfollow();
    asking.stop();
  };
}

/** One number with its line. */
function figure(title, value, shown) {
  const number = h("p", { class: "figure-value" }, "–");
  const peak = h("p", { class: "figure-note" }, "nothing measured yet");
  const chart = lines({ label: `${title}`, series: ["main"], gapMs: GAP_MS });
  return {
    element: h("div", { class: "figure" }, h("h2", {}, title), number, chart.element, peak),
    update() {
      say(number, shown(value(pulse.latest().status)));
      const points = pulse.history().map(({ at, status }) => ({ at, values: [value(status) ?? null] }));
      tellPeak(peak, shown(chart.update(points, pulse.latest().at, pulse.span())));
    },
  };
}

function tellPeak(element, value) {
  say(element, value === "–" ? "nothing measured yet" : `peak ${value} in ${pulse.span() / 60_000} min`);
}

/** Median and tails with their lines. */
function percentiles(title, value) {
  const names = ["p50", "p95", "p99"];
  const numbers = names.map(() => h("dd", {}, "–"));
  const peak = h("p", { class: "figure-note" }, "nothing measured yet");
  const chart = lines({ label: `${title}`, series: names, gapMs: GAP_MS });
  const pairs = names.map((name, at) => h("div", { class: name }, h("dt", {}, name), numbers[at]));
  return {
    element: h("div", { class: "figure" }, h("h2", {}, title), h("dl", { class: "percentiles" }, pairs), chart.element, peak),
    update() {
      const now = value(pulse.latest().status);
      names.forEach((name, at) => say(numbers[at], duration(now?.[name])));
      const points = pulse.history().map(({ at, status }) => ({ at, values: names.map((name) => value(status)?.[name] ?? null) }));
      const highest = chart.update(points, pulse.latest().at, pulse.span());
      tellPeak(peak, highest > 0 ? duration(highest) : "–");
    },
  };
}
