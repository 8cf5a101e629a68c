// Debian's Chromium, without a screen. A page that complains in its console, breaks its policy or asks another origin fails its test.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const SCREENSHOTS = process.env.SCREENSHOTS ?? new URL("../.cache/screenshots", import.meta.url).pathname;
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** How long anything that a person would wait for may take. */
const SOON_MS = 15_000;

export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** The sections, by their id and what they are called. */
export const SECTIONS = {
  overview: "Overview",
  requests: "Requests",
  upstreams: "Upstreams",
  models: "Models",
  keys: "Keys",
  usage: "Usage",
  accounts: "Accounts",
  spend: "Spend",
  ledger: "Ledger",
  config: "Configuration",
  audit: "Audit",
  playground: "Playground",
};

export async function startBrowser() {
  // Its sandbox needs what containers do not give; what is opened in it is our own page.
  return chromium.launch({ executablePath: EXECUTABLE, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/**
 * A page of the gateway's, in a profile of its own; `prepare(page)` comes before it is opened.
 * `quiet()` asserts that nothing was amiss; `expect(status)` names an answer of which the browser will complain.
 */
export async function openPage(browser, url, { viewport = WIDE, scheme = "light", prepare = async () => {} } = {}) {
  const context = await browser.newContext({ viewport, colorScheme: scheme, reducedMotion: "reduce" });
  context.setDefaultTimeout(SOON_MS);
  const page = await context.newPage();
  const complaints = [];
  // Told at once too: a page that does not work ends in a wait that says nothing.
  const complain = (text) => {
    complaints.push(text);
    process.stderr.write(`${text}\n`);
  };
  const expected = [];
  const { origin } = new URL(url);
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const at = expected.findIndex((status) => message.text().includes(`status of ${status}`));
    if (at >= 0) expected.splice(at, 1);
    else complain(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => complain(`script: ${error.stack}`));
  await page.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.origin === origin) return route.continue();
    complain(`another origin: ${url.href}`);
    return route.abort();
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await prepare(page);
  await page.goto(url);

  return {
    page,
    expect: (status) => expected.push(status),
    async screenshot(name) {
      await mkdir(SCREENSHOTS, { recursive: true });
      const size = page.viewportSize().width;
      await page.screenshot({ path: `${SCREENSHOTS}/${name}-${size}-${scheme}.png`, fullPage: true });
    },
    /** What axe-core finds that is serious or worse. */
    async accessible(where) {
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      const told = grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
      assert.deepEqual(told, [], where);
    },
    async fits(where) {
      const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(content <= window, `${where} is ${content} px wide in a window of ${window}`);
    },
    async quiet() {
      assert.deepEqual(complaints, []);
      assert.deepEqual(await page.evaluate(() => globalThis.violations), []);
    },
    close: () => context.close(),
  };
}

/** A page at the gateway's console. */
export async function openConsole(browser, gateway, options = {}) {
  const console = await openPage(browser, gateway.admin, options);
  const { page } = console;
  return {
    ...console,
    async signIn() {
      await page.getByLabel("Admin token").fill(gateway.token);
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    },
    async visit(id) {
      await page.evaluate((hash) => (location.hash = hash), `#/${id}`);
      await page.getByRole("heading", { name: SECTIONS[id], level: 1 }).waitFor();
    },
  };
}

/** Presses Tab until the wanted element has the focus, as a person without a mouse does, and sees that the focus can be seen. */
export async function tabTo(page, locator, key = "Tab") {
  const MOST = 120;
  for (let pressed = 0; pressed < MOST; pressed++) {
    if (await locator.evaluate((element) => element === document.activeElement)) {
      const outline = await locator.evaluate((element) => getComputedStyle(element).outlineStyle);
      assert.notEqual(outline, "none", `the focus on ${locator} cannot be seen`);
      return;
    }
    await page.keyboard.press(key);
  }
  assert.fail(`${MOST} times ${key} do not lead to ${locator}`);
}
