// The contract with one thing wrong, each in a way that a tired author could have written. They are compiled beside the
// fixtures, and the storm of `billing/ton/tests/contract/storm.rs` must notice every one.

const fault = (name, ...edits) => ({
  name,
  change(source) {
    for (let at = 0; at < edits.length; at += 2) {
      const [from, to] = edits.slice(at);
      const times = source.split(from).length - 1;
      if (times !== 1) throw new Error(`the fault ${name} applies ${times} times`);
      source = source.replace(from, () => to);
    }
    return source;
  },
});

export const faults = [
  fault("pays-beyond-the-deposit", "min(min(msg.take, st.deposited) - st.claimed, funds.before)", "min(msg.take - st.claimed, funds.before)"),
  fault("pays-out-of-the-message", "min(min(msg.take, st.deposited) - st.claimed, funds.before)", "min(msg.take, st.deposited) - st.claimed"),
  fault("adds-takes-up", "min(min(msg.take, st.deposited) - st.claimed, funds.before)", "min(msg.take, min(st.deposited - st.claimed, funds.before))"),
  fault("takes-without-the-payee", "assert (isSigned(msg.close ? TAG_CLOSE : TAG_TAKE,", "assert (true | isSigned(msg.close ? TAG_CLOSE : TAG_TAKE,"),
  fault("closes-with-a-take", "isSigned(msg.close ? TAG_CLOSE : TAG_TAKE,", "isSigned(TAG_TAKE,"),
  fault("takes-without-the-payer", "assert (isSigned(TAG_VOUCHER,", "assert (true | isSigned(TAG_VOUCHER,"),
  fault("takes-more-than-allowed", "assert (msg.take <= msg.max) throw ERR_OVER_MAX;", ""),
  fault("forgets-what-was-claimed", "st.claimed += delta;", ""),
  fault("does-not-save-a-settle", "                st.save();\n                returnExcess(in.senderAddress, msg.queryId, SEND_MODE_IGNORE_ERRORS);\n            }", "                returnExcess(in.senderAddress, msg.queryId, SEND_MODE_IGNORE_ERRORS);\n            }"),
  fault("rounds-each-part", "t.feeOn(st.claimed + delta) - t.feeOn(st.claimed)", "t.feeOn(delta)"),
  fault("takes-no-fee", "if (fee > 0) {", "if (fee > (1 << 119)) {"),
  fault("pays-the-fee-on-top", "pay(t.payee, delta - fee,", "pay(t.payee, delta,"),
  fault("reserves-nothing", "            if (!msg.close) {\n                reserve(rest);\n            }\n", ""),
  fault("credits-what-is-not-there", "(credit > 0) & (credit <= most)", "credit > 0", "reserve(floor + credit);", "reserve(floor);"),
  fault("keeps-no-reserve", "return self.deposited - self.claimed + RENT_RESERVE + contract.getStorageDuePayment();", "return self.deposited - self.claimed;"),
  fault("credits-what-was-there", "val floor = max(funds.before, self.owed());", "val floor = RENT_RESERVE;"),
  fault("takes-top-ups-while-closing", "    assert (self.closeAt == 0) throw ERR_CLOSING;\n    // What", "    // What"),
  fault("tells-nobody", "    self.notify(payee, queryId, SEND_MODE_BOUNCE_ON_ACTION_FAIL);\n", ""),
  fault("lets-anybody-start-the-clock", "assert (in.senderAddress == t.payer) throw ERR_NOT_PAYER;", ""),
  fault("starts-the-clock-again", "            assert (st.closeAt == 0) throw ERR_CLOSING;\n            st.closeAt", "            st.closeAt"),
  fault("finishes-unasked", "assert (st.closeAt != 0) throw ERR_NOT_CLOSING;", ""),
  fault("finishes-early", "assert (blockchain.now() >= st.closeAt) throw ERR_TOO_EARLY;", ""),
  fault("gives-the-rest-to-the-submitter", "    pay(payer, rest, Refund { queryId });\n", ""),
  fault("gives-all-to-the-payer", "    returnExcess(sender, queryId, SEND_MODE_DESTROY", "    returnExcess(payer, queryId, SEND_MODE_DESTROY"),
  fault("lives-on-after-the-end", "SEND_MODE_DESTROY | SEND_MODE_BOUNCE_ON_ACTION_FAIL", "SEND_MODE_BOUNCE_ON_ACTION_FAIL"),
];
