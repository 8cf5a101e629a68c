"""Asks a lite-server as pytoniq does, with its proofs checked, and prints what it said as JSON.

lite.py HOST:PORT KEY ACCOUNT [MESSAGE]: with a message (Base64) it is sent first.
"""

import asyncio
import base64
import json
import logging
import sys

from pytoniq import LiteClient
from pytoniq_core import Address


async def main(at, key, account, message=None):
    host, port = at.split(":")
    # 1: every proof but those of validators, of which the simulated chain has none.
    client = LiteClient(host, int(port), key, trust_level=1)
    await client.connect()
    # It would wait for each next block, and the front answers one question of a connection after the other.
    client.updater.cancel()
    try:
        if message is not None:
            await client.raw_send_message(base64.b64decode(message))
            await client.update_last_blocks()
        address = Address(account)
        block = client.last_mc_block
        state, shard = await client.raw_get_account_state(address)
        nobody = await client.raw_get_account_state(Address((0, bytes(32))))
        looked_up, header = await client.lookup_block(-1, -(2**63), seqno=block.seqno)
        parameters = await client.get_config_params([19, 20, 21])
        everything = await client.get_config_all()
        said = {
            "seqno": block.seqno,
            "same_block": looked_up == block,
            "time": header.info.gen_utime,
            "shards": [(await client.get_all_shards_info(block))[0].seqno],
            "nobody": nobody[0] is None,
            "parameters": sorted(parameters),
            "all_parameters": len(everything),
            "version": (await client.get_version())["version"],
        }
        if state is not None:
            transactions = await client.get_transactions(address, 20)
            said |= {
                "balance": str(state.storage.balance.grams),
                "status": state.storage.state.type_,
                "last": [str(shard.last_trans_lt), shard.last_trans_hash.hex()],
                "transactions": [[str(one.lt), one.cell.hash.hex()] for one in transactions],
            }
            if state.storage.state.type_ == "account_active":
                said["wallet_seqno"] = (await client.run_get_method(address, "seqno", []))[0]
        print(json.dumps(said))
    finally:
        await client.close()


logging.disable(logging.CRITICAL)
asyncio.run(main(*sys.argv[1:]))
