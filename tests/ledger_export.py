#!/usr/bin/env python3
"""Computes every sum of `mulberry ledger export` anew, from its transfers and charges alone.

Usage: mulberry ledger export | tests/ledger_export.py
Ends with 0 where everything fits, else with 1 and a line for each thing that does not.
It shares no code with Mulberry; docs/money.md has the format.
"""
import hashlib
import json
import sys
from collections import defaultdict

wrong, transfers, moved = [], defaultdict(list), defaultdict(lambda: [0, 0])
used, balances, pots, last, digest, count = defaultdict(int), {}, {}, {}, hashlib.sha256(), 0
captures, refunds, end, charges = {}, defaultdict(int), None, 0
came, channels = defaultdict(int), {}

for text in sys.stdin.buffer:
    line = json.loads(text)
    if line["type"] == "end":
        end = line
        break
    digest.update(text)
    count += 1
    kind = line["type"]
    if kind == "transfer":
        amount = int(line["amount"])
        moved[line["debit"], line["currency"]][0] += amount
        moved[line["credit"], line["currency"]][1] += amount
        sides = {"deposit": line["debit"], "withdrawal": line["credit"]}
        if sides.get(line["kind"], "system:funding") != "system:funding":
            wrong.append(f"transfer {line['id']}: a {line['kind']} from {line['debit']} to {line['credit']}")
        if line["kind"] == "deposit" and (line["reference"] or "").startswith("channel:channel-"):
            came[line["credit"]] += amount
        if line["node"] is not None:
            transfers[line["node"], line["seq"]].append((line["debit"], line["credit"], amount))
    elif kind == "charge":
        charges += 1
        name, amount, fee = f"{line['node']}/{line['seq']}", int(line["amount"]), int(line["fee"])
        if line["seq"] != last.get(line["node"], 0) + 1:
            wrong.append(f"{name}: comes after {last.get(line['node'], 0)}")
        last[line["node"]] = line["seq"]
        payer = "system:loss" if line["late"] else line["organisation"]
        is_refund = line["kind"] != "capture"
        parts = [(payer, "system:earnings", amount - fee), (payer, "system:fees", fee)]
        parts = [(to, of, sum_) if is_refund else (of, to, sum_) for of, to, sum_ in parts if sum_]
        if transfers.pop((line["node"], line["seq"]), []) != parts:
            wrong.append(f"{name}: its transfers are not those of the charge")
        if not 0 <= fee <= amount <= int(line["held"]):
            wrong.append(f"{name}: fee, amount and hold do not fit")
        if is_refund:
            refunds[line["node"], line["kind"]["refund"]["of"]] += amount
        else:
            captures[line["node"], line["seq"]] = amount
        for account in (line["organisation"], line["team"], line["key"]):
            if account is not None and not line["late"]:
                for window in ("total", line["window"]["day"], line["window"]["month"]):
                    used[account, window] += -amount if is_refund else amount
    elif kind == "pot":
        pots[line["account"], line["window"]] = int(line["used"])
    elif kind == "balance":
        balances[line["account"], line["currency"]] = [int(line["debited"]), int(line["credited"])]
    elif kind == "channel":
        credited, most = int(line["credited"]), min(int(line["voucher_max"]), int(line["deposited"]))
        if line["account"] is not None:
            channels[line["account"]] = credited
        if credited > most or int(line["take"]) > int(line["voucher_max"]):
            wrong.append(f"channel {line['id']}: more than its voucher or its deposit")

wrong += [f"{of}: {came.get(of, 0)} came of its channel, which says {channels.get(of)}"
          for of in sorted(set(came) | set(channels)) if came.get(of, 0) != channels.get(of)]
wrong += [f"{node}/{seq}: a transfer without its charge" for node, seq in transfers]
for key in sorted(set(moved) | set(balances)):
    if moved.get(key, [0, 0]) != balances.get(key, [0, 0]):
        wrong.append(f"{key[0]} in {key[1]}: kept as {balances.get(key)}, computed as {moved.get(key)}")
for key in sorted(set(used) | set(pots)):
    if used.get(key, 0) != pots.get(key, 0):
        wrong.append(f"{key[0]} in {key[1]}: used is kept as {pots.get(key)}, computed as {used.get(key)}")
wrong += [f"{node}/{seq}: more was given back than taken" for (node, seq), back in refunds.items()
          if back > captures.get((node, seq), 0)]
if sum(one[0] for one in moved.values()) != sum(one[1] for one in moved.values()):
    wrong.append("debits are not credits")
if end is None:
    wrong.append("the end is missing: the export was cut")
elif (end["lines"], end["sha256"]) != (count, digest.hexdigest()):
    wrong.append("the digest of the lines is another: a line was altered, added or taken away")
for one in wrong:
    print(one)
print(f"{count} lines, {charges} charges, {len(balances)} balances, {len(wrong)} discrepancies")
sys.exit(1 if wrong else 0)
