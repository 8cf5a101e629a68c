// Tables that are told their rows again and again, and change only what changed: focus, selection and scroll stay.
//
// A column is { title, cell(row), order(row)?, end?, minor? }, of which the minor ones are not shown on a narrow screen; a cell is a text, a part, or a list of parts:
// { text, tone?, mark?, mono?, small?, title?, deep?, bar? }, where a bar is drawn below its text. On a narrow screen a row becomes a block with the titles beside the values,
// which takes the roles of a table away in some browsers; so they are written out.

import { bar } from "./chart.js";
import { h } from "./dom.js";

/**
 * @param actions (row) => Node[]: made once for each row; `row` is a function that gives the row as it is now.
 * @returns {{ element: HTMLElement, update(rows: object[]): void, fail(text: string): void }}
 */
export function table({ label, columns, key, empty, actions = null, sorted = null }) {
  let order = sorted;
  let latest = [];
  const shown = new Map();
  const titles = columns.map((column) => heading(column));
  const head = h("tr", { role: "row" }, titles);
  if (actions) {
    head.append(h("th", { role: "columnheader", scope: "col" }, h("span", { class: "unseen" }, "Actions")));
  }
  const body = h("tbody", { role: "rowgroup" });
  const message = h("p", { class: "empty" }, "Loading…");
  const grid = h(
    "table",
    { role: "table", "aria-label": label, hidden: true },
    h("thead", { role: "rowgroup" }, head),
    body,
  );
  const element = h("div", { class: "table" }, grid, message);

  function heading(column) {
    const cell = h("th", { role: "columnheader", scope: "col", class: look(column) });
    if (!column.order) {
      cell.append(column.title);
      return cell;
    }
    const turn = () => {
      const isSame = order?.column === column;
      order = { column, isDown: isSame ? !order.isDown : Boolean(column.end) };
      draw();
    };
    cell.append(h("button", { type: "button", class: "sort", on: { click: turn } }, column.title));
    return cell;
  }

  function ordered(rows) {
    if (!order) return rows;
    const sign = order.isDown ? -1 : 1;
    return rows.toSorted((a, b) => sign * compare(order.column.order(a), order.column.order(b)));
  }

  function draw() {
    columns.forEach((column, at) => {
      if (!column.order) return;
      const state = order?.column === column ? (order.isDown ? "descending" : "ascending") : "none";
      titles[at].setAttribute("aria-sort", state);
    });
    const kept = new Set();
    let before = null;
    for (const row of ordered(latest)) {
      const id = String(key(row));
      kept.add(id);
      let line = shown.get(id);
      if (!line) {
        line = lineOf(row);
        shown.set(id, line);
      }
      line.update(row);
      const place = before ? before.nextSibling : body.firstChild;
      // Moving an element takes its focus away, so only what is out of place is moved.
      if (place !== line.element) body.insertBefore(line.element, place);
      before = line.element;
    }
    for (const [id, line] of shown) {
      if (kept.has(id)) continue;
      line.element.remove();
      shown.delete(id);
    }
    grid.hidden = latest.length === 0;
    message.hidden = latest.length > 0;
    if (latest.length === 0) message.textContent = empty;
  }

  function lineOf(first) {
    let row = first;
    const cells = columns.map((column) =>
      h("td", { role: "cell", class: look(column), "data-title": column.title }),
    );
    const line = h("tr", { role: "row" }, cells);
    if (actions) line.append(h("td", { role: "cell", class: "actions" }, actions(() => row)));
    const drawn = columns.map(() => undefined);
    return {
      element: line,
      update(next) {
        row = next;
        columns.forEach((column, at) => {
          const value = column.cell(row);
          const signature = typeof value === "string" ? value : JSON.stringify(value);
          if (drawn[at] === signature) return;
          drawn[at] = signature;
          cells[at].replaceChildren(...parts(value));
        });
      },
    };
  }

  return {
    element,
    update(rows) {
      latest = rows;
      draw();
    },
    fail(text) {
      if (latest.length > 0) return;
      grid.hidden = true;
      message.hidden = false;
      message.textContent = text;
    },
  };
}

const look = (column) => [column.end && "end", column.minor && "minor"].filter(Boolean).join(" ") || null;

function compare(a, b) {
  // What is absent comes first, going up.
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

/** The nodes of a cell; also used where the same words stand outside a table. */
export function parts(value) {
  const all = Array.isArray(value) ? value : [value];
  return all.filter(Boolean).map((part) => {
    if (typeof part === "string") return h("span", { class: "part" }, part);
    const deep = part.deep && `deep-${part.deep}`;
    const names = ["part", part.tone, part.mark && "mark", part.mono && "mono", part.small && "small", deep];
    const drawn = part.bar && bar(part.bar.pieces, part.bar.largest);
    return h("span", { class: names.filter(Boolean).join(" "), title: part.title }, part.text, drawn);
  });
}
