// What most sections are: something asked from the admin API again and again, shown in a table.

import { get } from "./api.js";
import { h } from "./dom.js";
import { repeat } from "./live.js";

/**
 * Asks `path()` every so often and hands the answer to `update`; what fails goes to `fail` and to a line of its own.
 * @returns {{ problem: HTMLElement, now(): void, stop(): void }}
 */
export function following({ path, every, update, fail = () => {} }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const asking = repeat(every, async (signal) => {
    try {
      const answer = await get(path(), signal);
      if (signal.aborted) return;
      problem.textContent = "";
      update(answer);
    } catch (error) {
      // A 401 ends the session elsewhere; a gateway that is away is told above the page.
      if (signal.aborted || error.status === 401) return;
      if (error.status !== 0) problem.textContent = error.message;
      fail(error.message);
    }
  });
  return { problem, now: asking.now, stop: asking.stop };
}
