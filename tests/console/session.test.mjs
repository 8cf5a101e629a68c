// Signing in and out, where the token is kept, and what happens when it is refused or the gateway ends.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openConsole, startBrowser } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let browser;
let gateway;

before(async () => {
  [browser, gateway] = await Promise.all([startBrowser(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** Everything that the browser keeps of the page. */
const kept = (page) =>
  page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));

test("the page is told by its own listener alone, under its policy", async () => {
  const answer = await fetch(`${gateway.admin}/`, { redirect: "manual" });
  assert.equal(answer.status, 307);
  const page = await fetch(`${gateway.admin}/console/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-security-policy"), /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.equal(page.headers.get("referrer-policy"), "no-referrer");
  // Clients have no console.
  assert.equal((await fetch(`${gateway.url}/console/`)).status, 404);
});

test("a token that is wrong is refused in words", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  console.expect(401);
  await page.getByLabel("Admin token").fill("not-a-token");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("This needs an admin token").waitFor();
  assert.equal(await page.getByRole("navigation").count(), 0);
  await console.quiet();
  await console.close();
});

test("the token stays in memory, unless it is to be kept", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  assert.ok(!(await kept(page)).includes(gateway.token));
  await page.reload();
  await page.getByLabel("Admin token").fill(gateway.token);
  await page.getByLabel("Keep it until this tab is closed").check();
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  const where = await page.evaluate(() => [{ ...localStorage }, document.cookie, location.href].map((of) => JSON.stringify(of)));
  assert.ok(where.every((text) => !text.includes(gateway.token)));
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.ok(!(await kept(page)).includes(gateway.token));
  await console.quiet();
  await console.close();
});

test("a token that is taken away ends the session", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await console.visit("upstreams");
  // The configuration names another token, so the one in the data directory is no longer in force.
  await gateway.write("admin: {tokens: [{name: ops, secret: another-token-of-the-configuration}]}");
  console.expect(401);
  console.expect(401);
  const reload = await fetch(`${gateway.admin}/admin/v1/reload`, {
    method: "POST",
    headers: { authorization: `Bearer ${gateway.token}` },
  });
  assert.equal(reload.status, 200);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.getByText("The gateway refused the admin token. Sign in again.").waitFor();
  assert.equal(await page.getByText("127.0.0.1:19").count(), 0);
  await console.quiet();
  await console.close();
});

test("draining is asked for twice, and then told until the end", async () => {
  const other = await startGateway();
  const console = await openConsole(browser, other);
  const { page } = console;
  await console.signIn();
  const drain = page.getByRole("button", { name: "Drain…" });
  await drain.click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // A stream that is open keeps the gateway there for a while.
  const stream = await fetch(`${other.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${other.apiKey}` },
    body: JSON.stringify({ model: "mock", stream: true, max_tokens: 4000, messages: [{ role: "user", content: "Hello" }] }),
  });
  await drain.click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
  await page.getByText("The gateway is draining: it refuses new connections.").waitFor();
  await page.getByRole("banner").getByText("draining").waitFor();
  await console.screenshot("draining");
  await stream.body.cancel();
  assert.equal(await other.ended, 0);
  await page.getByText("The gateway cannot be reached.").waitFor();
  await page.getByText("What you see is from").waitFor();
  await console.screenshot("unreachable");
  await console.close();
  await other.stop();
});
