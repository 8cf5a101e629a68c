// The page to pay from: a channel opened, fed, closed and its rest fetched with a wallet in the browser, and what is refused.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Address, Cell, beginCell, contractAddress, toNano } from "@ton/core";
import jsqr from "jsqr";
import { NARROW, openPage, startBrowser, tabTo } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";
import { CLOSE_DELAY, NETWORK, PAYOUT, startShop, startWallet } from "./shop.mjs";

const CODE = Cell.fromBoc(readFileSync(new URL("../../billing/ton/contracts/channel.boc", import.meta.url)))[0];

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

/** The page at a link, with a wallet in the window. */
const openPay = (link, { by = wallet, prepare = async () => {}, ...options } = {}) =>
  openPage(browser, link, {
    ...options,
    async prepare(page) {
      await by?.install(page);
      await prepare(page);
    },
  });

/** What a link opens, by @ton/core: nothing of the page's. */
function born(link) {
  const { network, channelConfig: config } = JSON.parse(Buffer.from(new URL(link).hash.slice(1), "base64url").toString());
  const terms = beginCell()
    .storeInt(Number(network.slice("tvm:".length)), 32)
    .storeUint(config.withdrawDelay, 32)
    .storeUint(config.feeBps, 16)
    .storeBuffer(Buffer.from(config.salt, "hex"))
    .storeAddress(Address.parse(config.payer))
    .storeAddress(Address.parse(config.receiver))
    .storeAddress(Address.parse(config.feeDest))
    .endCell();
  const data = beginCell()
    .storeUint(0, 32)
    .storeCoins(0)
    .storeCoins(0)
    .storeBuffer(Buffer.from(config.payerAuthorizer, "hex"))
    .storeBuffer(Buffer.from(config.receiverAuthorizer, "hex"))
    .storeRef(terms)
    .endCell();
  const init = { code: CODE, data };
  return { init, config, address: contractAddress(0, init) };
}

/** What the contract says of itself, to TON's official client; null where there is none. */
async function onChain(address) {
  if (!(await shop.client.isContractDeployed(address))) return null;
  const { stack } = await shop.client.runMethod(address, "get_channel");
  return { closeAt: stack.readNumber(), deposited: stack.readBigNumber(), claimed: stack.readBigNumber() };
}

const connect = async (page) => {
  await page.getByRole("button", { name: "Connect Test wallet" }).click();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
};
const amount = (page) => page.getByLabel("Pay in, in GRAM (TON)");
const says = (page, text) => page.getByText(text).first().waitFor();

test("a channel is opened, topped up, closed, and its rest fetched", async () => {
  const link = await shop.open("life", wallet);
  const { address } = born(link);
  const pay = await openPay(link);
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
  assert.deepEqual(await onChain(address), { closeAt: 0, deposited: toNano("5"), claimed: 0n });

  await amount(page).fill("1.5");
  await page.getByRole("button", { name: "Pay in" }).click();
  await says(page, "Done: the chain shows 6.50 GRAM (TON) paid in.");
  assert.equal((await onChain(address)).deposited, toNano("6.5"));
  await pay.screenshot("pay-open");

  // The wallet is still the page's after a reload, and the command line has seen the channel, too.
  await page.reload();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  assert.match(await shop.channel("show", "life"), /6\.5/);

  await page.getByRole("button", { name: "Ask to close" }).click();
  await says(page, "Done: the clock runs.");
  assert.ok((await onChain(address)).closeAt > 0);
  await says(page, "The channel is closing, and takes nothing any more.");
  assert.equal(await page.getByRole("button", { name: "Fetch the rest" }).count(), 0);
  await pay.screenshot("pay-closing");
  await shop.advance(CLOSE_DELAY + 1);
  const had = await wallet.balance();
  await page.getByRole("button", { name: "Fetch the rest" }).click();
  await says(page, "Done: the channel is closed");
  await says(page, "over: what was left went back");
  assert.equal(await onChain(address), null);
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
  const pay = await openPay(link, { prepare: (page) => page.clock.install() });
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
  assert.equal(await onChain(address), null);
  await pay.quiet();
  await pay.close();
});

test("another network and another wallet are named", async () => {
  const link = await shop.open("others", wallet);
  for (const [other, sentence] of [
    [await startWallet(shop, 2, { network: -239 }), `Your wallet is on another network: the channel is on a chain of its own (${NETWORK})`],
    [await startWallet(shop, 3), `This channel belongs to the wallet ${wallet.shown}`],
  ]) {
    const pay = await openPay(link, { by: other });
    await connect(pay.page);
    await says(pay.page, sentence);
    assert.equal(await pay.page.getByRole("button", { name: "Open the channel" }).isDisabled(), true);
    assert.deepEqual(other.asked, []);
    await pay.quiet();
    await pay.close();
  }
});

test("a gateway that lies moves no coins elsewhere", async () => {
  const link = await shop.open("lies", wallet);
  const { address } = born(link);
  const offer = await (await fetch(`${shop.url}/pay/terms`)).json();
  const stranger = `0:${"99".repeat(32)}`;
  const other = "ab".repeat(32);
  for (const [lie, sentence] of [
    [{ payTo: stranger }, "The channel pays another account than the gateway says is its own."],
    [{ network: "tvm:-239" }, `The channel is on a chain of its own (${NETWORK})`],
    [{ extra: { ...offer.extra, receiverAuthorizer: other } }, "The channel names another key"],
    [{ extra: { ...offer.extra, feeBps: 10 } }, "The channel's fee is 2.5 %, and the gateway's is 0.1 %."],
    [{ extra: { ...offer.extra, withdrawDelay: 86_400 } }, "the gateway needs 1 day"],
    [{ extra: { ...offer.extra, codeHash: other } }, "The gateway takes channels of another contract"],
    [{ payTo: "nobody" }, "The gateway's answer cannot be read."],
  ]) {
    const pay = await openPay(link, { prepare: (page) => page.route("**/pay/terms", (route) => route.fulfill({ json: { ...offer, ...lie } })) });
    await connect(pay.page);
    await says(pay.page, sentence);
    assert.equal(await pay.page.getByRole("button", { name: "Open the channel" }).isDisabled(), true, sentence);
    await pay.close();
  }

  // Of the channel: whatever state is told, coins go to the address of the link, and nothing is said to be paid in that is not.
  const told = { channel: address.toRawString(), state: "open", balance: "900000000000", totalClaimed: "0", closeAt: null, block: 1, time: 1 };
  const lying = (lie) => openPay(link, { prepare: (page) => page.route("**/pay/channel?*", (route) => route.fulfill({ json: { ...told, ...lie } })) });
  for (const lie of [{ channel: stranger }, { state: "rich" }, { balance: "-1" }, { balance: 5 }]) {
    const pay = await lying(lie);
    await says(pay.page, "The gateway's answer cannot be read.");
    assert.equal(await pay.page.getByRole("button", { name: "Pay in" }).isDisabled(), true);
    await pay.close();
  }
  const pay = await lying({});
  await connect(pay.page);
  const before = wallet.asked.length;
  const had = await wallet.balance();
  await pay.page.getByRole("button", { name: "Pay in" }).click();
  await says(pay.page, "It counts once the chain shows it.");
  const [[message]] = wallet.asked.slice(before);
  assert.equal(message.address, address.toString({ testOnly: true }));
  assert.equal(message.stateInit, undefined);
  // Nothing is there that would take them: all but the fees come back.
  assert.equal(await onChain(address), null);
  assert.ok(had - (await wallet.balance()) < toNano("0.01"));
  await pay.close();
});

test("a channel that is over is offered by no lie", async () => {
  const link = await shop.open("over", wallet, "1");
  const pay = await openPay(link);
  const { page } = pay;
  await connect(page);
  await page.getByRole("button", { name: "Open the channel" }).click();
  await says(page, "Done: the chain shows 1.00");
  // The gateway says that there never was one.
  const told = { channel: born(link).address.toRawString(), state: "absent", balance: "0", totalClaimed: "0", closeAt: null, block: 9, time: 9 };
  await page.route("**/pay/channel?*", (route) => route.fulfill({ json: told }));
  await says(page, "Never pay into its address again");
  await pay.close();
  // A new browser has not seen it; mulberry has, and says so in its links.
  assert.match(await shop.channel("show", "over"), /1/);
  const later = (await shop.channel("topup", "over", "1", "--page")).trim();
  const fresh = await openPay(later, { prepare: (page) => page.route("**/pay/channel?*", (route) => route.fulfill({ json: told })) });
  await says(fresh.page, "Never pay into its address again");
  await fresh.close();
});

test("the page fits a phone, a dark room and a keyboard, and asks nobody else", async () => {
  const link = await shop.open("phone", wallet);
  for (const options of [{ viewport: NARROW }, { viewport: NARROW, scheme: "dark" }, { scheme: "dark" }]) {
    const pay = await openPay(link, options);
    await connect(pay.page);
    await pay.page.getByText("With another wallet: open the channel by a link").click();
    await pay.page.getByRole("img", { name: "QR code to open the channel" }).waitFor();
    await pay.accessible("at a new channel");
    await pay.fits("the page");
    await pay.screenshot("pay");
    await pay.quiet();
    await pay.close();
  }
  const pay = await openPay(link);
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

test("without a wallet or a link the page says what to do", async () => {
  const pay = await openPay(`${shop.url}/pay`, { by: null });
  const { page } = pay;
  await says(page, "This browser has no wallet that speaks TON Connect.");
  await says(page, `mulberry channel open 5 --to ${shop.url} --payer YOUR-WALLET --page`);
  await says(page, PAYOUT.toString({ testOnly: true, bounceable: false }));
  await says(page, "2.5 % of what the gateway takes");
  await says(page, "1 hour: so long you wait");
  await pay.accessible("without a link");
  const field = page.getByLabel("The link that it prints");
  for (const [text, sentence] of [
    ["https://gateway.example/pay/#a.b", "it has other letters"],
    ["e30", "it is of another version"],
    ["!!!", "it has other letters"],
    [Buffer.from(JSON.stringify({ version: 1, network: "tvm:-217", channelConfig: { salt: "00" } })).toString("base64url"), "a number in it cannot be"],
  ]) {
    await field.fill(text);
    await page.getByRole("button", { name: "Use this link" }).click();
    await says(page, sentence);
  }
  const link = await shop.open("pasted", wallet);
  await field.fill(link);
  await page.getByRole("button", { name: "Use this link" }).click();
  await says(page, born(link).address.toString({ testOnly: true }));
  await pay.quiet();
  await pay.close();
});

test("the page's cells, addresses and links are those of @ton/core", async () => {
  const link = await shop.open("cells", wallet);
  const { init, address } = born(link);
  const pay = await openPay(link, { by: null });
  const { page } = pay;
  await says(page, "not open yet");
  await amount(page).fill("0.000000001");
  await page.getByText("With another wallet: open the channel by a link").click();
  const shown = page.getByLabel("Link to open the channel");
  const url = new URL(await shown.textContent());
  assert.equal(`${url.protocol}//${url.host}${url.pathname}`, `ton://transfer/${address.toString({ testOnly: true })}`);
  assert.equal(url.searchParams.get("amount"), toNano("0.070000001").toString());
  const cell = (name) => Cell.fromBoc(Buffer.from(url.searchParams.get(name), "base64url"))[0];
  assert.ok(cell("bin").equals(beginCell().storeUint(0x70637470, 32).storeUint(0, 64).storeCoins(1n).endCell()));
  const expected = beginCell().storeUint(0b00110, 5).storeRef(init.code).storeRef(init.data).endCell();
  assert.ok(cell("init").equals(expected));
  const modules = await page.evaluate(async (text) => {
    const { encode } = await import("/pay/qr.js");
    return encode(new TextEncoder().encode(text));
  }, url.href);
  assert.equal(scanned(modules), url.href);

  // Bags and hashes of cells of every shape, and addresses of every form.
  const numbers = [0n, 1n, 255n, 256n, 2n ** 63n - 1n];
  const made = await page.evaluate(async (texts) => {
    const { Builder, toBag, toBase64 } = await import("/pay/cell.js");
    const addresses = await import("/pay/address.js");
    const cells = texts.map((text) => {
      const leaf = new Builder().coins(text).done();
      const cell = new Builder().int(-3, 7).ref(leaf).ref(new Builder().ref(leaf).uint(5, 3).done()).coins(text).done();
      return [toBase64(toBag(cell)), cell.name];
    });
    const forms = [0, -1].flatMap((workchain) => [-239, -217].flatMap((network) => {
      const address = { workchain, hash: new Uint8Array(32).fill(0xc5) };
      const texts = [addresses.ofContract(address, network), addresses.ofWallet(address, network), addresses.raw(address)];
      return texts.map((text) => [text, addresses.raw(addresses.parse(text))]);
    }));
    return { cells, forms };
  }, numbers.map(String));
  numbers.forEach((number, i) => {
    const leaf = beginCell().storeCoins(number).endCell();
    const cell = beginCell().storeInt(-3, 7).storeRef(leaf).storeRef(beginCell().storeUint(5, 3).storeRef(leaf).endCell()).storeCoins(number).endCell();
    const [bag, hash] = made.cells[i];
    assert.equal(hash, cell.hash().toString("hex"), `${number}`);
    assert.ok(Cell.fromBase64(bag).equals(cell), `${number}`);
  });
  const forms = [0, -1].flatMap((workchain) => [false, true].flatMap((testOnly) => {
    const one = new Address(workchain, Buffer.alloc(32, 0xc5));
    return [one.toString({ testOnly }), one.toString({ testOnly, bounceable: false }), one.toRawString()].map((text) => [text, one.toRawString()]);
  }));
  assert.deepEqual(made.forms, forms);
  await pay.quiet();
  await pay.close();
});

/** What a camera reads. */
function scanned(modules) {
  const SCALE = 5;
  const QUIET = 4;
  const size = (modules.length + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (modules[Math.floor(y / SCALE) - QUIET]?.[Math.floor(x / SCALE) - QUIET]) pixels.fill(0, 4 * (y * size + x), 4 * (y * size + x) + 3);
    }
  }
  return jsqr(pixels, size, size)?.data;
}

test("what the gateway serves is bounded, and there only where it is paid by channel", async () => {
  const answer = await fetch(`${shop.url}/pay/`);
  assert.match(answer.headers.get("content-security-policy"), /^default-src 'none'; script-src 'self';/);
  for (const [path, status, param] of [
    ["/pay/gone.js", 404, null],
    ["/pay/channel", 400, "address"],
    ["/pay/channel?address=EQ", 400, "address"],
  ]) {
    const response = await fetch(`${shop.url}${path}`);
    assert.equal(response.status, status, path);
    assert.equal((await response.json()).error.param, param, path);
  }
  assert.equal((await fetch(`${shop.url}/pay/terms`, { method: "POST" })).status, 405);
  const manifest = await fetch(`${shop.url}/tonconnect-manifest.json`);
  assert.equal(manifest.headers.get("access-control-allow-origin"), "*");
  const { url, name, iconUrl } = await manifest.json();
  assert.deepEqual([url, name], [shop.url, `Mulberry at ${new URL(shop.url).host}`]);
  const icon = await fetch(iconUrl);
  assert.deepEqual([icon.status, icon.headers.get("content-type")], [200, "image/png"]);
  // Strangers together make it ask the chain once a second.
  const all = await Promise.all(Array.from({ length: 40 }, (_, i) => fetch(`${shop.url}/pay/channel?address=0:${i.toString(16).padStart(64, "0")}`)));
  const refused = all.filter(({ status }) => status === 503).length;
  assert.ok(refused >= 20 && all.every(({ status }) => [200, 503].includes(status)), `${refused}`);

  const plain = await startGateway();
  for (const path of ["/pay/", "/pay/terms", "/tonconnect-manifest.json"]) assert.equal((await fetch(`${plain.url}${path}`)).status, 404, path);
  await plain.stop();
});
