// What of an account's state the two executors are compared by.
import { beginCell, loadShardAccount, storeAccount } from "@ton/core";

// Of an account of more than 26 cells the official executor keeps a hash beside what it counts for rent, and ours does not
// know of that (TON's version 12). Everything else is compared.
export function accountHash(state) {
  const { account } = loadShardAccount(state.asSlice());
  if (!account?.storageStats.storageExtra) return state.refs[0].hash().toString("hex");
  account.storageStats.storageExtra = null;
  return beginCell().storeBit(true).store(storeAccount(account)).endCell().hash().toString("hex");
}
