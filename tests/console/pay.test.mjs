// The page to pay from: a channel opened, fed, closed and its rest fetched with a wallet in the browser; what the person or
// the wallet refuses; a phone, a dark room and a keyboard.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { toNano } from "@ton/core";
import { NARROW, startBrowser, tabTo } from "./browser.mjs";
import { amount, born, connect, onChain, openPay, says } from "./payer.mjs";
import { CLOSE_DELAY, NETWORK, startShop, startWallet } from "./shop.mjs";

let browser;
let shop;
let wallet;

before(async () => {
  [browser, shop] = await Promise.all([startBrowser(), startShop()]);
  wallet = await startWallet(shop, 1);
});
after(async () => {
  await browser?.close();
  await shop?.stop();
});

const at = (link, { by = wallet, ...options } = {}) => openPay(browser, link, by, options);

test("a channel is opened, topped up, closed, and its rest fetched", async () => {
  const link = await shop.open("life", wallet);
  const { address } = born(link);
  const pay = await at(link);
  const { page } = pay;
  await says(page, address.toString({ testOnly: true }));
  await says(page, "not open yet");
  await says(page, "Connect a wallet first");
  await connect(page);
  assert.equal(await amount(page).inputValue(), "5.00");
  await pay.accessible("before it is open");
  await pay.screenshot("pay-new");
  await page.getByRole("button", { name: "Open the channel" }).click();
  await says(page, "It counts once the chain shows it.");
  await says(page, "Done: the chain shows 5.00 GRAM (TON) paid in.");
  assert.deepEqual(await onChain(shop, address), { closeAt: 0, deposited: toNano("5"), claimed: 0n });

  await amount(page).fill("1.5");
  await page.getByRole("button", { name: "Pay in" }).click();
  await says(page, "Done: the chain shows 6.50 GRAM (TON) paid in.");
  assert.equal((await onChain(shop, address)).deposited, toNano("6.5"));
  await pay.screenshot("pay-open");

  // The wallet is still the page's after a reload, and the command line has seen the channel, too.
  await page.reload();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  assert.match(await shop.channel("show", "life"), /6\.5/);

  await page.getByRole("button", { name: "Ask to close" }).click();
  await says(page, "Done: the clock runs.");
  assert.ok((await onChain(shop, address)).closeAt > 0);
  await says(page, "The channel is closing, and takes nothing any more.");
  assert.equal(await page.getByRole("button", { name: "Fetch the rest" }).count(), 0);
  await pay.screenshot("pay-closing");
  await shop.advance(CLOSE_DELAY + 1);
  const had = await wallet.balance();
  await page.getByRole("button", { name: "Fetch the rest" }).click();
  await says(page, "Done: the channel is closed");
  await says(page, "over: what was left went back");
  assert.equal(await onChain(shop, address), null);
  const back = (await wallet.balance()) - had;
  assert.ok(back > toNano("6.49") && back < toNano("6.53"), `${back}`);

  // All went to the address that @ton/core reckons too, with the least that was said.
  const expected = { address: address.toString({ testOnly: true }) };
  for (const [message] of wallet.asked) assert.equal(message.address, expected.address);
  assert.deepEqual(wallet.asked.map(([message]) => message.amount), [toNano("5.07"), toNano("1.55"), toNano("0.05"), toNano("0.05")].map(String));
  // Its address is never paid into again, whatever the chain shows there.
  await says(page, "Never pay into its address again");
  assert.equal(await page.getByRole("button", { name: "Pay in" }).isDisabled(), true);
  await pay.quiet();
  await pay.close();
});

test("what the wallet refuses, or never sends, changes nothing", async () => {
  const link = await shop.open("refused", wallet);
  const { address } = born(link);
  const pay = await at(link, { prepare: (page) => page.clock.install() });
  const { page } = pay;
  wallet.says = "no";
  await page.getByRole("button", { name: "Connect Test wallet" }).click();
  await says(page, "You said no in Test wallet.");
  wallet.says = "yes";
  await connect(page);
  const open = page.getByRole("button", { name: "Open the channel" });
  wallet.says = "no";
  await open.click();
  await says(page, "You said no in Test wallet. Nothing was sent.");
  assert.equal(await open.isEnabled(), true);

  wallet.says = "lose";
  await open.click();
  await says(page, "Wait until the chain shows what was sent.");
  assert.equal(await open.isDisabled(), true);
  await page.clock.fastForward(400_000);
  await says(page, "has run out, and the chain shows nothing of it");
  assert.equal(await open.isEnabled(), true);

  // It may have been sent: no second try before that is known.
  wallet.says = "break";
  await open.click();
  await says(page, "Test wallet gave no answer");
  assert.equal(await open.isDisabled(), true);
  wallet.says = "yes";
  assert.equal(await onChain(shop, address), null);
  await pay.quiet();
  await pay.close();
});

test("another network and another wallet are named", async () => {
  const link = await shop.open("others", wallet);
  for (const [other, sentence] of [
    [await startWallet(shop, 2, { network: -239 }), `Your wallet is on another network: the channel is on a chain of its own (${NETWORK})`],
    [await startWallet(shop, 3), `This channel belongs to the wallet ${wallet.shown}`],
  ]) {
    const pay = await at(link, { by: other });
    await connect(pay.page);
    await says(pay.page, sentence);
    assert.equal(await pay.page.getByRole("button", { name: "Open the channel" }).isDisabled(), true);
    assert.deepEqual(other.asked, []);
    await pay.quiet();
    await pay.close();
  }
});

test("the page fits a phone, a dark room and a keyboard, and asks nobody else", async () => {
  const link = await shop.open("phone", wallet);
  for (const options of [{ viewport: NARROW }, { viewport: NARROW, scheme: "dark" }, { scheme: "dark" }]) {
    const pay = await at(link, options);
    await connect(pay.page);
    await pay.page.getByText("With another wallet: open the channel by a link").click();
    await pay.page.getByRole("img", { name: "QR code to open the channel" }).waitFor();
    await pay.accessible("at a new channel");
    await pay.fits("the page");
    await pay.screenshot("pay");
    await pay.quiet();
    await pay.close();
  }
  const pay = await at(link);
  const { page } = pay;
  await tabTo(page, page.getByRole("button", { name: "Connect Test wallet" }));
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  await tabTo(page, amount(page));
  await page.keyboard.press("Control+A");
  await page.keyboard.type("0.0000000001");
  await says(page, "Write an amount such as 5 or 0.25");
  assert.equal(await page.getByRole("button", { name: "Open the channel" }).isDisabled(), true);
  await page.keyboard.press("Control+A");
  await page.keyboard.type("2");
  await page.keyboard.press("Enter");
  await says(page, "Done: the chain shows 2.00 GRAM (TON) paid in.");
  // Who leaves in the wallet has left here.
  await page.evaluate(() => globalThis.testWallet.tonconnect.tell({ event: "disconnect", id: 9, payload: {} }));
  await says(page, "Test wallet has disconnected.");
  await pay.quiet();
  await pay.close();
});
