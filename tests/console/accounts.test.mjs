// Accounts, by keyboard alone: an organisation, its money, its team and its key; what they do is proved by what clients meet.

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
  test(`an organisation's life without a mouse, ${size}`, async () => {
    const name = `acme-${size}`;
    const console = await openConsole(browser, gateway, { viewport });
    const { page } = console;
    const press = (key) => page.keyboard.press(key);
    const type = (text) => page.keyboard.type(text);
    const dialog = page.getByRole("dialog");
    const button = (label) => page.getByRole("button", { name: label, exact: true });
    const row = (id) => page.getByRole("row").filter({ has: page.getByRole("cell", { name: id }) });
    const fill = async (label, text) => {
      await tabTo(page, dialog.getByLabel(label, { exact: true }));
      await press("ControlOrMeta+A");
      await type(text);
    };
    const send = async (label) => {
      await tabTo(page, dialog.getByRole("button", { name: label, exact: true }));
      await press("Enter");
      await dialog.waitFor({ state: "detached" });
    };
    await console.signIn();
    await console.visit("accounts");

    await tabTo(page, button("New organisation"));
    await press("Enter");
    await fill("Name", name);
    await fill("Currency", "USD");
    await fill("A day (UTC)", "5");
    await fill("Tags", "plan=pro");
    await console.accessible("a new organisation");
    await console.screenshot("new-organisation");
    await send("Create");
    await button(`Deposit org:${name}`).waitFor();

    // A key of it is refused while there is no money.
    const made = await gateway.change("keys", { name: `of-${name}`, account: `org:${name}`, models: ["mock"] });
    assert.equal(await gateway.ask(made.secret), 402);

    // What is no amount is told in the form, and nothing is sent.
    await tabTo(page, button(`Deposit org:${name}`));
    await press("Enter");
    await fill("Amount in USD", "1e9");
    await tabTo(page, dialog.getByRole("button", { name: "Deposit", exact: true }));
    await press("Enter");
    await dialog.getByText("write an amount such as 25").waitFor();
    await fill("Amount in USD", "12.5");
    await fill("Memo", "invoice 7");
    await console.accessible("a deposit");
    await console.screenshot("deposit");
    await send("Deposit");
    await row(`org:${name}`).first().getByText("12.50 USD").waitFor();
    assert.equal(await gateway.ask(made.secret), 200);
    await page.getByText(`key:of-${name}`).waitFor();

    // A team, and a budget that is cut to nothing in force at once.
    await tabTo(page, button(`Team org:${name}`));
    await press("Enter");
    await fill("Name", "research");
    await fill("In all", "3");
    await send("Create");
    await page.getByText(`team:${name}/research`).first().waitFor();
    await tabTo(page, button(`Edit org:${name}`), "Shift+Tab");
    await press("Enter");
    await fill("A day (UTC)", "0");
    await send("Save");
    await page.getByText(`Account org:${name} changed`).waitFor();
    assert.equal(await gateway.ask(made.secret), 402);

    // What came in and what it cost.
    await tabTo(page, button(`Movements org:${name}`));
    await press("Enter");
    await dialog.getByText("invoice 7").waitFor();
    await console.accessible("movements");
    await console.screenshot("movements");
    await press("Escape");
    await dialog.waitFor({ state: "detached" });
    await tabTo(page, button(`Charges org:${name}`));
    await press("Enter");
    await dialog.getByText(`of-${name}`).waitFor();
    await console.fits("charges");
    await press("Escape");
    await dialog.waitFor({ state: "detached" });
    await console.fits("accounts");
    await console.screenshot("accounts-of-one");
    await console.quiet();
    await console.close();
  });
}

test("the ledger is checked, and spend is handed over as a file", async () => {
  const console = await openConsole(browser, gateway);
  const { page } = console;
  await console.signIn();
  await gateway.change("accounts", { id: "org:spending", credit: null });
  const made = await gateway.change("keys", { name: "=spender", account: "org:spending" });
  assert.equal(await gateway.ask(made.secret), 200);
  await console.visit("ledger");
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("The ledger is right").waitFor();
  await page.getByRole("cell", { name: /this one/ }).waitFor();
  await console.screenshot("ledger-verified");
  await console.visit("spend");
  await page.getByLabel("By").selectOption("key");
  await page.getByRole("cell", { name: "=spender", exact: true }).waitFor();
  await console.screenshot("spend-by-key");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download CSV" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "mulberry-spend-by-key-30-days.csv");
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const lines = Buffer.concat(chunks).toString().split("\r\n");
  assert.equal(lines[0], "key,currency,amount,fee,requests,prompt,cached,completion,reasoning");
  assert.ok(lines.some((line) => line.startsWith("'=spender,USD,")), lines.join("\n"));
  await console.quiet();
  await console.close();
});
