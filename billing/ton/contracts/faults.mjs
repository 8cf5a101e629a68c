// The contracts with one thing wrong, each in a way that a tired author could have written. They are compiled beside the
// fixtures, and the storms of `billing/ton/tests/contract/` must notice every one.

// What stands once in the sources, and what is put in its place, in turns.
const fault = (name, ...texts) => {
  const edits = [];
  for (let at = 0; at < texts.length; at += 2) edits.push(texts.slice(at, at + 2));
  return { name, edits };
};

export const faults = [
  fault("pays-beyond-the-deposit", "min(min(self.take, deposited) - claimed, most)", "min(self.take - claimed, most)"),
  fault("pays-out-of-the-message", "min(min(self.take, deposited) - claimed, most)", "min(self.take, deposited) - claimed"),
  fault("adds-takes-up", "min(min(self.take, deposited) - claimed, most)", "min(self.take, min(deposited - claimed, most))"),
  fault("takes-without-the-payee", "assert (isSigned(self.close ? TAG_CLOSE : TAG_TAKE,", "assert (true | isSigned(self.close ? TAG_CLOSE : TAG_TAKE,"),
  fault("closes-with-a-take", "isSigned(self.close ? TAG_CLOSE : TAG_TAKE,", "isSigned(TAG_TAKE,"),
  fault("takes-without-the-payer", "assert (isSigned(TAG_VOUCHER,", "assert (true | isSigned(TAG_VOUCHER,"),
  fault("takes-more-than-allowed", "assert (self.take <= self.max) throw ERR_OVER_MAX;", ""),
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

const FINISH = "            assert (!jetton.ended) throw ERR_ENDED;\n            assert (st.closeAt != 0) throw ERR_NOT_CLOSING;\n";

export const jettonFaults = [
  fault("pays-beyond-the-deposit", "min(min(self.take, deposited) - claimed, most)", "self.take - claimed"),
  fault("takes-without-the-payee", "assert (isSigned(self.close ? TAG_CLOSE : TAG_TAKE,", "assert (true | isSigned(self.close ? TAG_CLOSE : TAG_TAKE,"),
  fault("closes-with-a-take", "isSigned(self.close ? TAG_CLOSE : TAG_TAKE,", "isSigned(TAG_TAKE,"),
  fault("takes-without-the-payer", "assert (isSigned(TAG_VOUCHER,", "assert (true | isSigned(TAG_VOUCHER,"),
  fault("takes-more-than-allowed", "assert (self.take <= self.max) throw ERR_OVER_MAX;", ""),
  fault("forgets-what-was-claimed", "st.claimed += delta;", ""),
  fault("rounds-each-part", "t.feeOn(st.claimed + delta) - t.feeOn(st.claimed)", "t.feeOn(delta)"),
  fault("takes-no-fee", "if (fee > 0) {", "if (fee > (1 << 119)) {"),
  fault("pays-the-fee-on-top", "delta - fee, t.payee,", "delta, t.payee,"),
  fault("pays-the-payer", "delta - fee, t.payee,", "delta - fee, t.payer,"),
  fault("believes-anybody", "jetton.isWallet(in.senderAddress) & (st.closeAt == 0)", "st.closeAt == 0"),
  fault("credits-while-closing", "jetton.isWallet(in.senderAddress) & (st.closeAt == 0)", "jetton.isWallet(in.senderAddress)"),
  fault("keeps-what-it-does-not-credit", "transfer(in.senderAddress, tag(msg.queryId, FOR_NOBODY), msg.amount,", "transfer(in.senderAddress, tag(msg.queryId, FOR_NOBODY), 0,"),
  fault("lets-anybody-name-the-wallet", "assert (in.senderAddress == jetton.master) throw ERR_NOT_MASTER;", ""),
  fault("lives-on-after-the-end", "                jetton.ended = true;\n                st.closeAt", "                st.closeAt"),
  fault("refunds-nothing", "                if (rest > 0) {", "                if (rest > (1 << 119)) {"),
  fault("settles-after-the-end", "            assert (!jetton.ended) throw ERR_ENDED;\n            val t = st.terms.load();\n            val delta", "            val t = st.terms.load();\n            val delta"),
  fault("refunds-twice", FINISH, "            assert (st.closeAt != 0) throw ERR_NOT_CLOSING;\n"),
  fault("finishes-unasked", FINISH, "            assert (!jetton.ended) throw ERR_ENDED;\n"),
  fault("finishes-early", "assert (blockchain.now() >= st.closeAt) throw ERR_TOO_EARLY;", ""),
  fault("lets-anybody-start-the-clock", "assert (in.senderAddress == t.payer) throw ERR_NOT_PAYER;", ""),
  fault("starts-the-clock-again", "            assert (st.closeAt == 0) throw ERR_CLOSING;\n            st.closeAt", "            st.closeAt"),
  fault("starts-the-clock-in-silence", "            st.notify(t.payee, msg.queryId);\n            reserveRent", "            reserveRent"),
  fault("forgets-what-bounced", "jetton.payeeDue += amount;", ""),
  fault("owes-another", "jetton.feeDue += amount;", "jetton.payeeDue += amount;"),
  fault("does-not-hear-of-failures", "bounce: BounceMode.Only256BitsOfBody,\n        dest: wallet", "bounce: BounceMode.NoBounce,\n        dest: wallet"),
  fault("pays-what-is-due-twice", "jetton.payeeDue = 0;", ""),
  fault("retries-with-too-little", "assert (value >= TRANSFER) throw ERR_LOW_VALUE;", ""),
  fault("sweeps-before-the-end", "assert (jetton.ended) throw ERR_NOT_ENDED;", ""),
  fault("lets-anybody-sweep", "assert (in.senderAddress == st.terms.load().payer) throw ERR_NOT_PAYER;", ""),
  fault("sweeps-what-is-due", "(jetton.payeeDue == 0) & (jetton.feeDue == 0) & ", ""),
  fault("sweeps-at-once", " & (blockchain.now() >= jetton.orderedAt + SWEEP_DELAY)", ""),
  fault("pays-gas-out-of-the-reserve", "reserve(before + contract.getStorageDuePayment());", "reserve(0);"),
];

export const registryFaults = [
  fault("takes-fewer", ">= charter.threshold)", ">= 1)"),
  fault("vetoes-by-none", ">= charter.vetoThreshold)", ">= 0)"),
  fault("takes-a-strangers-signature", "assert (self.owners.exists(key)) throw ERR_NOT_OWNER;", ""),
  fault("does-not-look-at-signatures", "assert (isSliceSignatureValid(bytes, at.loadValue().load() as slice, key)) throw ERR_SIGNATURE;", ""),
  fault("does-not-count", "    st.seqno += 1;\n", ""),
  fault("takes-any-number", "assert (msg.seqno == st.seqno) throw ERR_SEQNO;\n            assert (st.pending == null)", "assert (st.pending == null)"),
  fault("forgets-the-number-in-what-is-signed", ".storeUint(seqno, 64)", ".storeUint(0, 64)"),
  fault("forgets-the-network-in-what-is-signed", ".storeInt(networkId, 32)", ".storeInt(-239, 32)"),
  fault("replaces-what-is-pending", "            assert (st.pending == null) throw ERR_PENDING;\n", ""),
  fault("applies-early", "assert (blockchain.now() >= pending.applyAt) throw ERR_TOO_EARLY;", ""),
  fault("does-not-wait-as-long", "blockchain.now() + charter.delay", "blockchain.now() + min(charter.delay, 600)"),
  fault("keeps-what-was-taken-back", "            st.pending = null;\n            queryId = msg.queryId;\n        }\n        Apply", "            queryId = msg.queryId;\n        }\n        Apply"),
  fault("does-not-apply", "st.charter = pending.charter;", ""),
  fault("vetoes-with-proposals", "TAG_VETO, st.networkId", "TAG_PROPOSAL, st.networkId"),
  fault("locks-itself", "msg.charter.load().check();", "msg.charter.load();"),
  fault("pays-out-of-the-reserve", "max(before, RENT_RESERVE)", "0"),
];
