// Steps that many scenarios share: see histories.mjs for what `refused`, `unheard` and `then` mean.
import { JETTON, notification, opens, retry, sweep, transfer } from "./scheme.mjs";
import { finishClose, PAYEE, PAYER, requestClose, settle, STRANGER, TON } from "../scheme.mjs";

// What one brings for gas and transfers; the rest comes back.
export const GAS = TON / 4n;

export const open = (more = {}) => ({ name: "open", from: PAYER, value: TON / 2n, body: opens(), open: true, ...more });

// The payer orders its wallet to pay the channel.
export const deposits = (jetton, of, amount, { forward = TON / 10n, payload, ...more } = {}) => ({
  name: "deposit",
  from: PAYER,
  to: jetton.wallet(PAYER),
  value: forward + TON / 10n,
  body: transfer(amount, of.address, forward, PAYER, { payload }),
  ...more,
});

export const settles = (of, signed, more = {}) => ({ name: "settle", from: PAYEE, value: GAS, body: settle(of, signed), ...more });
export const closes = (of, signed, more = {}) => settles(of, { close: true, ...signed }, { name: "close together", ...more });
export const asksToClose = (more = {}) => ({ name: "request close", from: PAYER, value: GAS, body: requestClose(), ...more });
export const finishes = (more = {}) => ({ name: "finish close", from: STRANGER, value: GAS, body: finishClose(), ...more });
export const retries = (who, more = {}) => ({ name: "retry", from: STRANGER, value: GAS, body: retry(who), ...more });
export const sweeps = (amount, more = {}) => ({ name: "sweep", from: PAYER, value: GAS, body: sweep(amount), ...more });
export const announces = (from, amount, more = {}) => ({ name: "announce", from, value: GAS, body: notification(amount, from), ...more });
export const U = JETTON;
