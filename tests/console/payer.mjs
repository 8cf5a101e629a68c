// A payer at the page: what it is told, and what @ton/core and the chain say of the same channel.

import { readFileSync } from "node:fs";
import { Address, Cell, beginCell, contractAddress } from "@ton/core";
import { openPage } from "./browser.mjs";

const CODE = Cell.fromBoc(readFileSync(new URL("../../billing/ton/contracts/channel.boc", import.meta.url)))[0];

/** The page at a link, with a wallet in the window, or with none. */
export const openPay = (browser, link, by, { prepare = async () => {}, ...options } = {}) =>
  openPage(browser, link, {
    ...options,
    async prepare(page) {
      await by?.install(page);
      await prepare(page);
    },
  });

/** What a link opens, by @ton/core: nothing of the page's. */
export function born(link) {
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
export async function onChain(shop, address) {
  if (!(await shop.client.isContractDeployed(address))) return null;
  const { stack } = await shop.client.runMethod(address, "get_channel");
  return { closeAt: stack.readNumber(), deposited: stack.readBigNumber(), claimed: stack.readBigNumber() };
}

export const connect = async (page) => {
  await page.getByRole("button", { name: "Connect Test wallet" }).click();
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
};
export const amount = (page) => page.getByLabel("Pay in, in GRAM (TON)");
export const says = (page, text) => page.getByText(text).first().waitFor();
