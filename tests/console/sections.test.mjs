// Every section, at two sizes and in both themes: there, readable, and no wider than the window.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NARROW, SECTIONS, WIDE, openConsole, startBrowser } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let browser;
let gateway;

before(async () => {
  [browser, gateway] = await Promise.all([startBrowser(), startGateway()]);
  // Something to look at: answers, streams, failures, another model.
  const asks = [];
  for (let i = 0; i < 24; i++) asks.push(gateway.ask(gateway.apiKey, "mock", { stream: i % 2 === 0 }));
  for (const fault of ["string-error", "html-502", "cut", "reasoning"]) {
    asks.push(gateway.ask(gateway.apiKey, `fault/${fault}`, { stream: true }));
  }
  asks.push(gateway.ask(gateway.apiKey, "gone"));
  await Promise.all(asks);
  const budget = { day: "5", month: "100" };
  await gateway.change("accounts", { id: "org:acme", currency: "USD", budget, tags: { plan: "pro" } });
  await gateway.change("accounts/org:acme/deposits", { amount: "250.5", memo: "invoice 7" });
  await gateway.change("accounts", { id: "team:acme/research", budget: { day: "2.5" } });
  await gateway.change("accounts", { id: "org:later", credit: null, disabled: true });
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** What a section shows once it has its answer. */
const SHOWN = {
  overview: (page) => page.getByText("gone/127.0.0.1:9").first().or(page.getByText("is not in use").first()),
  requests: (page) => page.getByRole("button", { name: "Details" }).nth(20),
  upstreams: (page) => page.getByText("http://127.0.0.1:19"),
  models: (page) => page.getByText("also mock-latest"),
  keys: (page) => page.getByText("In the file: change it there, then reload."),
  usage: (page) => page.getByRole("table", { name: "Usage" }).getByText("mock", { exact: true }),
  accounts: (page) => page.getByRole("table", { name: "Accounts" }).getByText("team:acme/research"),
  spend: (page) => page.getByText("From the ledger: what accounts paid"),
  ledger: (page) => page.getByRole("cell", { name: /system:funding/ }),
  config: (page) => page.getByText("admin_listen:"),
  audit: (page) => page.getByText("At most the latest"),
  playground: (page) => page.getByText("curl --no-buffer http://127.0.0.1"),
};

for (const [size, viewport] of Object.entries({ wide: WIDE, narrow: NARROW })) {
  for (const scheme of ["light", "dark"]) {
    test(`all sections, ${size} and ${scheme}`, async () => {
      const console = await openConsole(browser, gateway, { viewport, scheme });
      await console.screenshot("sign-in");
      await console.accessible("sign in");
      await console.signIn();
      for (const id of Object.keys(SECTIONS)) {
        await console.visit(id);
        await SHOWN[id](console.page).waitFor();
        await console.fits(id);
        await console.accessible(id);
        await console.screenshot(id);
      }
      await console.quiet();
      await console.close();
    });
  }
}

test("the chosen theme outlasts a reload", async () => {
  const console = await openConsole(browser, gateway, { scheme: "light" });
  const ground = () => console.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  const theme = console.page.getByRole("button", { name: /^Theme/ });
  await theme.click();
  await theme.click();
  assert.equal(await theme.textContent(), "Theme: dark");
  const dark = await ground();
  assert.notEqual(dark, light);
  await console.page.reload();
  assert.equal(await ground(), dark);
  await console.quiet();
  await console.close();
});

test("requests are filtered, paused and told in detail", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await console.visit("requests");
  const rows = page.getByRole("row").filter({ has: page.getByRole("cell") });
  await rows.nth(20).waitFor();
  await page.getByLabel("Filter").fill("html-502");
  await rows.nth(1).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Details" }).click();
  await page.getByRole("dialog").getByText("chat_completions").waitFor();
  await page.keyboard.press("Escape");
  await page.getByLabel("Filter").fill("");
  await page.getByRole("button", { name: "Pause" }).click();
  const before = await page.getByText("of the latest").textContent();
  await gateway.ask(gateway.apiKey, "mock");
  // Two rounds of questions to the gateway, of which the table must show nothing.
  for (let i = 0; i < 2; i++) await page.waitForResponse((response) => response.url().includes("requests?limit"));
  assert.equal(await page.getByText("of the latest").textContent(), before);
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByText(before.replace(", paused", "")).waitFor({ state: "detached" });
  await console.quiet();
  await console.close();
});

test("usage is handed over as a file", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await console.visit("usage");
  await page.getByLabel("By").selectOption("key");
  await page.getByRole("cell", { name: "file-key", exact: true }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "mulberry-usage-by-key-30-days.csv");
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const [head, line] = Buffer.concat(chunks).toString().split("\r\n");
  assert.equal(head, "key,requests,failures,prompt,cached,completion,reasoning,estimated");
  assert.match(line, /^file-key,\d+,\d+,\d+,/);
  await console.quiet();
  await console.close();
});

test("a page that is not seen asks nothing", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await page.clock.install();
  let asked = 0;
  page.on("request", () => asked++);
  const hide = (isHidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, isHidden);
  await hide(true);
  await page.clock.runFor(60_000);
  // At most what was asked before it was hidden.
  asked = 0;
  await page.clock.runFor(60_000);
  assert.equal(asked, 0);
  const answer = page.waitForResponse((response) => response.url().endsWith("/admin/v1/status"));
  await hide(false);
  await answer;
  await console.quiet();
  await console.close();
});
