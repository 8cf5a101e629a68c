// The configuration: shown without secrets, reloaded, and refused word for word.

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

test("a file is reloaded; one that is wrong is refused and told", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await console.visit("config");
  const yaml = page.getByRole("region", { name: "The configuration in use" });
  await yaml.getByText("file-key").waitFor();
  assert.ok(!(await yaml.textContent()).includes(gateway.apiKey));

  await gateway.write("retry: {attempts: 5}");
  await page.getByRole("button", { name: "Reload the file" }).click();
  await page.getByText(/^Loaded .* Changed: .*retry/).waitFor();
  await yaml.getByText("attempts: 5").waitFor();

  await gateway.write("retyr: {attempts: 6}");
  console.expect(422);
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith("/reload")),
    page.getByRole("button", { name: "Reload the file" }).click(),
  ]);
  const { error } = await answer.json();
  const why = page.getByRole("region", { name: "Why the file was refused" });
  await why.waitFor();
  assert.match(error.message, /retyr/);
  assert.equal(await why.textContent(), error.message);
  assert.ok(!(await yaml.textContent()).includes("attempts: 6"));
  await console.accessible("a refused file");
  await console.screenshot("refused");

  // Every other page says so too, until it is mended.
  await console.visit("overview");
  await page.getByText("The last reload was refused").waitFor();
  await gateway.write("retry: {attempts: 6}");
  await console.visit("config");
  await why.waitFor();
  await page.getByRole("button", { name: "Reload the file" }).click();
  await yaml.getByText("attempts: 6").waitFor();
  await why.waitFor({ state: "hidden" });
  await console.quiet();
  await console.close();
});
