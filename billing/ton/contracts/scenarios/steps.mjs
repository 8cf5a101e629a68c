// Steps that many scenarios share. A step is a message and what should come of it: `refused` is the exit code, the reason
// why the code did not run, or "action N"; `kept` says that the coins do not come back.
import {
  comment,
  finishClose,
  NOTHING,
  PAYEE,
  PAYER,
  requestClose,
  settle,
  STRANGER,
  TON,
  topUp,
} from "../scheme.mjs";

// What one brings for gas; the rest comes back.
export const GAS = TON / 20n;

export const open = (deposit = 5n * TON, more = {}) => ({
  name: "open",
  from: PAYER,
  value: deposit + 2n * GAS,
  body: topUp(deposit),
  open: true,
  ...more,
});

export const topsUp = (amount, more = {}) => ({
  name: "top up",
  from: PAYER,
  value: amount + GAS,
  body: topUp(amount),
  ...more,
});

export const sends = (value, more = {}) => ({ name: "plain transfer", from: PAYER, value, body: NOTHING, ...more });

export const says = (text, value, more = {}) => ({ name: "transfer with a comment", from: PAYER, value, body: comment(text), ...more });

export const settles = (of, signed, more = {}) => ({
  name: "settle",
  from: PAYEE,
  value: GAS,
  body: settle(of, signed),
  ...more,
});

export const closes = (of, signed, more = {}) => settles(of, { close: true, ...signed }, { name: "close together", ...more });

export const asksToClose = (more = {}) => ({ name: "request close", from: PAYER, value: GAS, body: requestClose(), ...more });

export const finishes = (more = {}) => ({ name: "finish close", from: STRANGER, value: GAS, body: finishClose(), ...more });
