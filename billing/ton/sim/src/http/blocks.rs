//! Blocks. Ours stand for one block of the masterchain and one of the basechain each.

use serde_json::{Value as Json, json};

use super::failure::Failure;
use super::form;
use super::methods::last_block;
use super::parameters::Parameters;
use crate::simulated::{Simulated, Which};
use crate::world::BlockInfo;

pub(super) fn masterchain_info(chain: &Simulated) -> Result<Json, Failure> {
    let last = last_block(chain)?;
    let first = chain.block(Which::Number(1))?.unwrap_or_else(|| last.clone());
    let mut init = form::block(&first, -1);
    if let Json::Object(init) = &mut init {
        init.insert("seqno".to_owned(), json!(0));
    }
    Ok(json!({
        "@type": "blocks.masterchainInfo",
        "last": form::block(&last, -1),
        "state_root_hash": form::base64(last.hash),
        "init": init,
    }))
}

pub(super) fn consensus_block(chain: &Simulated) -> Result<Json, Failure> {
    let last = last_block(chain)?;
    Ok(json!({ "consensus_block": last.head.seqno, "timestamp": last.head.time }))
}

pub(super) fn lookup(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let workchain = workchain(parameters)?;
    let which = match (
        parameters.number("seqno")?,
        parameters.number("lt")?,
        parameters.number("unixtime")?,
    ) {
        (Some(seqno), _, _) => Which::Number(seqno),
        (None, Some(lt), _) => Which::Lt(lt),
        (None, None, Some(time)) => Which::Time(time),
        (None, None, None) => {
            return Err(Failure::Parameter("seqno, lt or unixtime is missing".to_owned()));
        }
    };
    Ok(form::block(&found(chain, which)?, workchain))
}

pub(super) fn shards(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let block = found(chain, Which::Number(parameters.required("seqno")?))?;
    Ok(json!({ "@type": "blocks.shards", "shards": [form::block(&block, 0)] }))
}

pub(super) fn header(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let workchain = workchain(parameters)?;
    let block = found(chain, Which::Number(parameters.required("seqno")?))?;
    Ok(json!({
        "@type": "blocks.header",
        "id": form::block(&block, workchain),
        "global_id": billing_ton::Chain::network(chain).0,
        "version": 0,
        "after_merge": false,
        "after_split": false,
        "before_split": false,
        "want_merge": false,
        "want_split": false,
        "is_key_block": false,
        "gen_utime": block.head.time,
        "start_lt": (block.lt / 1_000_000 * 1_000_000).to_string(),
        "end_lt": block.lt.to_string(),
        "prev_blocks": [],
    }))
}

pub(super) fn transactions(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let workchain = workchain(parameters)?;
    let block = found(chain, Which::Number(parameters.required("seqno")?))?;
    let count = parameters.number::<usize>("count")?.unwrap_or(usize::MAX);
    let all: Vec<_> = block
        .transactions
        .iter()
        .filter(|(account, _)| i32::from(account.workchain) == workchain)
        .collect();
    let told: Vec<_> = all
        .iter()
        .take(count)
        .map(|(account, at)| {
            json!({
                "@type": "blocks.shortTxId",
                "mode": 135,
                "account": form::raw(account),
                "lt": at.lt.to_string(),
                "hash": form::base64(at.hash),
            })
        })
        .collect();
    Ok(json!({
        "@type": "blocks.transactions",
        "id": form::block(&block, workchain),
        "req_count": told.len(),
        "incomplete": told.len() < all.len(),
        "transactions": told,
    }))
}

/// The workchain that a call is about; its shard must be the one that there is.
fn workchain(parameters: &Parameters) -> Result<i32, Failure> {
    if let Some(shard) = parameters.number::<i64>("shard")?
        && shard != form::SHARD
    {
        return Err(Failure::Absent(format!(
            "there is one shard, and it is {}",
            form::SHARD
        )));
    }
    match parameters.required("workchain")? {
        workchain @ (-1 | 0) => Ok(workchain),
        _ => Err(Failure::Absent("the workchains are -1 and 0".to_owned())),
    }
}

fn found(chain: &Simulated, which: Which) -> Result<BlockInfo, Failure> {
    chain
        .block(which)?
        .ok_or_else(|| Failure::Absent("block is not in db".to_owned()))
}
