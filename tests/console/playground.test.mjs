// The playground: a question with an API key, streamed, stopped, refused; and the same for a shell.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
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

async function opened() {
  const console = await openConsole(browser, gateway);
  await console.signIn();
  await console.visit("playground");
  const { page } = console;
  await page.getByLabel("API key").fill(gateway.apiKey);
  await page.getByRole("button", { name: "List models" }).click();
  await page.getByText(/\d models? to choose from/).waitFor();
  await page.getByLabel("Model", { exact: true }).selectOption("mock");
  return console;
}

const fact = (page, name) => page.locator("dt", { hasText: name }).locator("+ dd");

test("an answer streams, with its tokens and times", async () => {
  const console = await opened();
  const { page } = console;
  await page.getByLabel("User").fill("What's a mulberry?");
  await page.getByLabel("At most, in tokens").fill("200");
  await page.getByRole("button", { name: "Send" }).click();
  const answer = page.getByRole("region", { name: "Answer" });
  // It grows while it is answered.
  await page.getByText("Answering…").waitFor();
  const early = (await answer.textContent()).length;
  await page.getByText("Done.").waitFor();
  assert.ok((await answer.textContent()).length > early);
  assert.match(await fact(page, "First token").textContent(), /ms$/);
  assert.match(await fact(page, "Completion tokens").textContent(), /^\d+$/);
  assert.equal(await fact(page, "Backend").textContent(), "mock");
  assert.notEqual(await fact(page, "Request").textContent(), "–");
  await console.accessible("an answer");
  await console.screenshot("answer");
  await console.quiet();
  await console.close();
});

test("an answer is stopped", async () => {
  const console = await opened();
  const { page } = console;
  await page.getByLabel("User").fill("Go on and on");
  await page.getByLabel("At most, in tokens").fill("4000");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Answering…").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("Stopped.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Send" }).isEnabled());
  // The gateway has seen the client leave.
  await console.visit("requests");
  await page.getByText("cancelled").first().waitFor();
  await console.quiet();
  await console.close();
});

test("a wrong API key is told, and does not sign out", async () => {
  const console = await opened();
  const { page } = console;
  console.expect(401);
  await page.getByLabel("API key").fill("not-a-key");
  await page.getByRole("button", { name: "List models" }).click();
  await page.getByRole("alert").getByText("API key").waitFor();
  assert.ok(await page.getByRole("navigation").isVisible());
  await console.quiet();
  await console.close();
});

test("the command for a shell asks the same", async () => {
  const console = await opened();
  const { page } = console;
  await page.getByLabel("User").fill("It's \"quoted\" $HOME `id`");
  await page.getByLabel("At most, in tokens").fill("4");
  const shown = await page.getByRole("region", { name: "The same with curl" }).textContent();
  assert.ok(!shown.includes(gateway.apiKey) && !shown.includes(gateway.token));
  // The gateway listens on a port that it chose, which the configuration does not know.
  const command = shown.replace("http://127.0.0.1:0", gateway.url);
  const { stdout } = await promisify(execFile)("bash", ["-c", command], {
    env: { ...process.env, MULBERRY_API_KEY: gateway.apiKey },
  });
  assert.match(stdout, /^data: \{/);
  assert.match(stdout, /data: \[DONE\]/);
  await console.quiet();
  await console.close();
});
