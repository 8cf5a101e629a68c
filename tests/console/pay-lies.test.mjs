// The page to pay from and a gateway that lies: no coins go elsewhere, and what is over stays over. What the page makes itself
// is what @ton/core makes, and what the gateway tells it is bounded.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Address, Cell, beginCell, toNano } from "@ton/core";
import jsqr from "jsqr";
import { startBrowser } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";
import { amount, born, connect, onChain, openPay, says } from "./payer.mjs";
import { NETWORK, PAYOUT, startShop, startWallet } from "./shop.mjs";

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
    const pay = await at(link, { prepare: (page) => page.route("**/pay/terms", (route) => route.fulfill({ json: { ...offer, ...lie } })) });
    await connect(pay.page);
    await says(pay.page, sentence);
    assert.equal(await pay.page.getByRole("button", { name: "Open the channel" }).isDisabled(), true, sentence);
    await pay.close();
  }

  // Of the channel: whatever state is told, coins go to the address of the link, and nothing is said to be paid in that is not.
  const told = { channel: address.toRawString(), state: "open", balance: "900000000000", totalClaimed: "0", closeAt: null, block: 1, time: 1 };
  const lying = (lie) => at(link, { prepare: (page) => page.route("**/pay/channel?*", (route) => route.fulfill({ json: { ...told, ...lie } })) });
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
  assert.equal(await onChain(shop, address), null);
  assert.ok(had - (await wallet.balance()) < toNano("0.01"));
  await pay.close();
});

test("a channel that is over is offered by no lie", async () => {
  const link = await shop.open("over", wallet, "1");
  const pay = await at(link);
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
  const fresh = await at(later, { prepare: (page) => page.route("**/pay/channel?*", (route) => route.fulfill({ json: told })) });
  await says(fresh.page, "Never pay into its address again");
  await fresh.close();
});

test("without a wallet or a link the page says what to do", async () => {
  const pay = await at(`${shop.url}/pay`, { by: null });
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
  const pay = await at(link, { by: null });
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
