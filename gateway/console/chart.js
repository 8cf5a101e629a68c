// Charts, drawn here: lines over the last minutes, and stacked bars. Sizes are attributes, because the page allows no inline style.
// Each chart has its numbers beside it as text, so for a screen reader it is no more than a picture with a name.

import { s } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 56;

/**
 * @param series names of classes, the first drawn last
 * @param gapMs between points further apart than this no line is drawn: nobody looked in between
 */
export function lines({ label, series, gapMs }) {
  const paths = series.map((name) => s("path", { class: `line ${name}`, fill: "none" }));
  const floor = s("line", { class: "floor", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
  const element = s(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    floor,
    paths.toReversed(),
  );
  return {
    element,
    /**
     * @param points { at, values[] } in order of time; a value that is null is not drawn
     * @param spanMs how far back from `now` the left end is
     * @returns the highest value
     */
    update(points, now, spanMs) {
      const peak = Math.max(0, ...points.flatMap((point) => point.values.filter((value) => value !== null)));
      const top = peak > 0 ? peak * 1.08 : 1;
      paths.forEach((path, at) => path.setAttribute("d", pathOf(points, at, now, spanMs, top)));
      return peak;
    },
  };

  function pathOf(points, at, now, spanMs, top) {
    let d = "";
    let last = null;
    for (const point of points) {
      const value = point.values[at];
      if (value === null) {
        last = null;
        continue;
      }
      const x = WIDTH * (1 - (now - point.at) / spanMs);
      const y = HEIGHT - 1 - (HEIGHT - 2) * (value / top);
      const isOn = last !== null && point.at - last <= gapMs;
      // A point alone is drawn as a dot by the round ends of a line of no length.
      d += isOn ? `L${x.toFixed(1)} ${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}h0`;
      last = point.at;
    }
    return d;
  }
}

/** One stacked bar: `[class, value]` pairs against the largest total. */
export function bar(pieces, largest) {
  const svg = s("svg", { class: "bar-chart", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  let x = 0;
  for (const [name, value] of pieces) {
    const width = largest > 0 ? (100 * value) / largest : 0;
    if (width > 0) svg.append(s("rect", { class: name, x: x.toFixed(3), y: 0, width: width.toFixed(3), height: 10 }));
    x += width;
  }
  return svg;
}
