// Asking again and again: while the page is seen, one question at a time, until stopped.

/**
 * Calls `task(signal)` now and every `every` ms. Pauses while the page is hidden, and asks at once when it is seen again.
 * `task` handles its own errors.
 * @returns {{ stop(): void, now(): void }}
 */
export function repeat(every, task) {
  const controller = new AbortController();
  let timer;
  let isAsking = false;
  let isWanted = false;

  async function ask() {
    clearTimeout(timer);
    if (isAsking) {
      isWanted = true;
      return;
    }
    isAsking = true;
    do {
      isWanted = false;
      await task(controller.signal);
    } while (isWanted && !controller.signal.aborted);
    isAsking = false;
    if (!controller.signal.aborted && !document.hidden) timer = setTimeout(ask, every);
  }

  function seen() {
    if (document.hidden) clearTimeout(timer);
    else ask();
  }

  document.addEventListener("visibilitychange", seen);
  ask();
  return {
    now: ask,
    stop() {
      controller.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}
