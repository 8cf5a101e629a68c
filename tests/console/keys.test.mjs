// Keys, by keyboard alone: made, changed, rotated, revoked. Each step is proved by what the gateway answers to clients.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NARROW, WIDE, openConsole, startBrowser, tabTo } from "./browser.mjs";
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

for (const [size, viewport] of Object.entries({ wide: WIDE, narrow: NARROW })) {
  test(`a key's life without a mouse, ${size}`, async () => {
    const name = `by-keyboard-${size}`;
    const console = await openConsole(browser, gateway, { viewport });
    const { page } = console;
    const press = (key) => page.keyboard.press(key);
    const type = (text) => page.keyboard.type(text);
    const dialog = page.getByRole("dialog");
    const button = (label) => page.getByRole("button", { name: label, exact: true });

    await tabTo(page, page.getByLabel("Admin token"));
    await type(gateway.token);
    await press("Enter");
    await page.getByRole("heading", { name: "Overview", level: 1 }).waitFor();
    if (size === "narrow") {
      await tabTo(page, button("Menu"), "Shift+Tab");
      await press("Enter");
      await tabTo(page, page.getByRole("link", { name: "Keys" }));
    } else {
      await tabTo(page, page.getByRole("link", { name: "Keys" }), "Shift+Tab");
    }
    await press("Enter");
    await page.getByRole("heading", { name: "Keys", level: 1 }).waitFor();

    // Made: the name has the focus, and the secret is shown once.
    await tabTo(page, button("New key"));
    await press("Enter");
    await tabTo(page, dialog.getByLabel("Name"));
    await type(name);
    await tabTo(page, dialog.getByLabel("Models"));
    await press("ControlOrMeta+A");
    await type("mock");
    await tabTo(page, dialog.getByLabel("Tags"));
    await type("cost-centre=4711");
    await console.accessible("a new key");
    await console.screenshot("new-key");
    await tabTo(page, dialog.getByRole("button", { name: "Create" }));
    await press("Enter");
    await dialog.getByText("it is not shown again").waitFor();
    const secret = await dialog.locator("code").textContent();
    // Not so easily lost.
    await press("Escape");
    await press("Escape");
    assert.ok(await dialog.isVisible());
    await console.screenshot("secret");
    await tabTo(page, dialog.getByRole("button", { name: "I have kept it" }));
    await press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(secret));
    assert.equal(await gateway.ask(secret), 200);
    assert.equal(await gateway.ask(secret, "gone"), 403);

    // Changed: another model, and a limit of one request.
    await button(`Edit ${name}`).waitFor();
    await tabTo(page, button(`Edit ${name}`));
    await press("Enter");
    await tabTo(page, dialog.getByLabel("Models"));
    await press("ControlOrMeta+A");
    await type("mock, fault/*");
    await tabTo(page, dialog.getByLabel("Requests / min"));
    await type("2");
    await tabTo(page, dialog.getByRole("button", { name: "Save" }));
    await press("Enter");
    await page.getByText(`Key ${name} changed`).waitFor();
    await page.getByText("mock, fault/*").waitFor();
    await page.getByText(/of 2$/).waitFor();
    const statuses = [await gateway.ask(secret), await gateway.ask(secret), await gateway.ask(secret)];
    assert.ok(statuses.includes(429), `${statuses}`);

    // Rotated: the old secret goes at once.
    await tabTo(page, button(`Rotate ${name}`));
    await press("Enter");
    const grace = dialog.getByLabel("The old secret still works");
    await tabTo(page, grace);
    await type("Not");
    assert.equal(await grace.inputValue(), "0s");
    await tabTo(page, dialog.getByRole("button", { name: "Rotate" }));
    await press("Enter");
    await dialog.getByText("it is not shown again").waitFor();
    const renewed = await dialog.locator("code").textContent();
    assert.notEqual(renewed, secret);
    await tabTo(page, dialog.getByRole("button", { name: "I have kept it" }));
    await press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await gateway.ask(secret), 401);
    assert.notEqual(await gateway.ask(renewed), 401);

    // Revoked: Enter alone, on what has the focus first, would have cancelled.
    await tabTo(page, button(`Revoke ${name}`));
    await press("Enter");
    await dialog.waitFor();
    await press("Enter");
    await dialog.waitFor({ state: "detached" });
    assert.notEqual(await gateway.ask(renewed), 401);
    await tabTo(page, button(`Revoke ${name}`));
    await press("Enter");
    await tabTo(page, dialog.getByRole("button", { name: "Revoke" }));
    await press("Enter");
    await page.getByText(`Key ${name} revoked.`).waitFor();
    await button(`Edit ${name}`).waitFor({ state: "detached" });
    assert.equal(await gateway.ask(renewed), 401);

    // All of it is in the audit log.
    await console.visit("audit");
    await page.getByText("models: mock → mock, fault/*").first().waitFor();
    for (let i = 0; i < 4; i++) await page.getByRole("cell", { name }).nth(i).waitFor();
    await console.screenshot("audit-of-a-key");
    assert.ok(!(await page.content()).includes(secret));
    await console.quiet();
    await console.close();
  });
}

test("what the gateway refuses is told in the form", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await console.visit("keys");
  await page.getByText("In the file: change it there, then reload.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Edit file-key" }).count(), 0);
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("file-key");
  console.expect(409);
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByRole("alert").filter({ hasText: /\w/ }).waitFor();
  await dialog.getByLabel("Models").fill(" , ");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByText("Name at least one model, or * for every model.").waitFor();
  await console.screenshot("refused-key");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await console.quiet();
  await console.close();
});

test("a name that is markup stays text, a long one makes no wide page", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  const owner = '<img src="x" onerror="document.title=1"><b>bold</b>';
  await console.signIn();
  await console.visit("keys");
  await page.getByRole("button", { name: "New key" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("x".repeat(120));
  await dialog.getByLabel("Owner").fill(owner);
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.getByRole("button", { name: "I have kept it" }).click();
  await page.getByText(owner).waitFor();
  assert.equal(await page.locator("main img, main b").count(), 0);
  await console.fits("a long name");
  await console.screenshot("long-name");
  await console.visit("audit");
  await page.getByText(owner).waitFor();
  await console.fits("a long name in the audit log");
  await page.setViewportSize(NARROW);
  await console.fits("a long name in the audit log, narrow");
  await console.visit("keys");
  await page.getByText(owner).waitFor();
  await console.fits("a long name, narrow");
  await console.quiet();
  await console.close();
});
