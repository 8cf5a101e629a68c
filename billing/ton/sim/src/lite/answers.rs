//! The answer to each question.

use std::sync::Arc;

use billing::channel::Account;
use billing_ton::Chain as _;
use billing_ton::chain::Cursor;
use billing_ton::lite::tl;
use futures_util::FutureExt as _;
use tl_proto::{Boxed, TlRead, TlWrite};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, Load as _};
use tycho_types::models::Transaction;
use tycho_vm::Stack;

use super::failure::Failure;
use super::view::{Side, View};
use super::{Front, proofs};
use crate::machine::getter;
use crate::simulated::Which;

/// What a lite-server says that it can: its proofs hold, and it looks blocks up.
const VERSION: u32 = 0x101;
const CAPABILITIES: u64 = 7;
/// Transactions in one answer, as on TON.
const TRANSACTIONS: usize = 16;
/// As TON has it.
const MASTERCHAIN: i32 = -1;

/// Questions that wait for nothing.
pub(super) fn answer(front: &Front, question: &[u8]) -> Result<Vec<u8>, Failure> {
    let constructor = tl::constructor(question).ok_or(Failure::Query)?;
    match constructor {
        tl::GetMasterchainInfo::TL_ID => info(front).map(tl::write),
        tl::GetMasterchainInfoExt::TL_ID => info_ext(front).map(tl::write),
        tl::GetTime::TL_ID => Ok(tl::write(tl::CurrentTime { now: front.chain.now() })),
        tl::GetVersion::TL_ID => Ok(tl::write(tl::Version {
            mode: 0,
            version: VERSION,
            capabilities: CAPABILITIES,
            now: front.chain.now(),
        })),
        tl::GetBlockHeader::TL_ID => header(front, read(question)?).map(tl::write),
        tl::LookupBlock::TL_ID => lookup(front, read(question)?).map(tl::write),
        tl::GetAccountState::TL_ID => account_state(front, read(question)?).map(tl::write),
        tl::RunMethod::TL_ID => run_method(front, read(question)?).map(tl::write),
        tl::GetAllShards::TL_ID => all_shards(front, read(question)?).map(tl::write),
        tl::GetTransactions::TL_ID => transactions(front, read(question)?).map(tl::write),
        tl::GetConfigAll::TL_ID => {
            let tl::GetConfigAll { mode, id } = read(question)?;
            config(front, mode, id, None).map(tl::write)
        }
        tl::GetConfigParams::TL_ID => {
            let tl::GetConfigParams { mode, id, list } = read(question)?;
            config(front, mode, id, Some(&list.0)).map(tl::write)
        }
        tl::SendMessage::TL_ID => send(front, read(question)?).map(tl::write),
        unknown => Err(Failure::Unknown(unknown)),
    }
}

fn read<'a, T: TlRead<'a, Repr = Boxed> + TlWrite>(question: &'a [u8]) -> Result<T, Failure> {
    tl::read(question).map_err(|_| Failure::Query)
}

fn info(front: &Front) -> Result<tl::MasterchainInfo, Failure> {
    let view = front.newest()?;
    Ok(tl::MasterchainInfo {
        last: view.master.id,
        state_root_hash: view.master.state.repr_hash().0,
        init: beginning(),
    })
}

fn info_ext(front: &Front) -> Result<tl::MasterchainInfoExt, Failure> {
    let view = front.newest()?;
    Ok(tl::MasterchainInfoExt {
        mode: 0,
        version: VERSION,
        capabilities: CAPABILITIES,
        last: view.master.id,
        last_time: view.time,
        now: front.chain.now(),
        state_root_hash: view.master.state.repr_hash().0,
        init: beginning(),
    })
}

/// There was no state before the first block.
fn beginning() -> tl::ZeroState {
    tl::ZeroState {
        workchain: MASTERCHAIN,
        root_hash: [0; 32],
        file_hash: [0; 32],
    }
}

fn header(front: &Front, question: tl::GetBlockHeader) -> Result<tl::BlockHeader, Failure> {
    let view = front.view(question.id)?;
    let side = view.side(question.id.workchain).ok_or(Failure::Workchain)?;
    header_of(side, question.mode)
}

fn header_of(side: &Side, mode: u32) -> Result<tl::BlockHeader, Failure> {
    Ok(tl::BlockHeader {
        id: side.id,
        mode,
        header_proof: Boc::encode(proofs::header(side)?),
    })
}

fn lookup(front: &Front, question: tl::LookupBlock) -> Result<tl::BlockHeader, Failure> {
    front.newest()?;
    let found = match (question.by_seqno, question.lt, question.time) {
        (Some(()), None, None) => Which::Number(question.seqno),
        (None, Some(lt), None) => Which::Lt(lt),
        (None, None, Some(time)) => Which::Time(time),
        _ => return Err(Failure::Query),
    };
    let block = front.chain.block(found)?.ok_or(Failure::NoBlock)?;
    let view = front.at(block.head.seqno).ok_or(Failure::NoBlock)?;
    let side = view.side(question.workchain).ok_or(Failure::Workchain)?;
    header_of(side, 0)
}

fn account_of(id: &tl::AccountId) -> Result<Account, Failure> {
    match i8::try_from(id.workchain) {
        Ok(workchain @ (-1 | 0)) => Ok(Account { workchain, hash: id.id }),
        _ => Err(Failure::Workchain),
    }
}

/// What leads from a masterchain block to the block that an account is in: empty where that is the same.
fn shard_proof(view: &View, side: &Side) -> Result<Vec<u8>, Failure> {
    if side.id.workchain == MASTERCHAIN {
        return Ok(Vec::new());
    }
    Ok(proofs::bag(&[&proofs::header(&view.master)?, &proofs::shards(view)?]))
}

fn account_state(front: &Front, question: tl::GetAccountState) -> Result<tl::AccountState, Failure> {
    let account = account_of(&question.account)?;
    let view = front.view(question.id)?;
    let side = view.side(question.account.workchain).ok_or(Failure::Workchain)?;
    let (entry, state) = proofs::account(side, &account)?;
    Ok(tl::AccountState {
        id: question.id,
        shard_block: side.id,
        shard_proof: shard_proof(&view, side)?,
        proof: proofs::bag(&[&proofs::header(side)?, &entry]),
        state: state.map(Boc::encode).unwrap_or_default(),
    })
}

/// As of the newest block, whichever was asked for.
fn run_method(front: &Front, question: tl::RunMethod) -> Result<tl::MethodResult, Failure> {
    let account = account_of(&question.account)?;
    let view = front.view(question.id)?;
    let side = view.side(question.account.workchain).ok_or(Failure::Workchain)?;
    let params = Boc::decode(&question.params).map_err(|_| Failure::Query)?;
    let stack = Stack::load_from(&mut params.as_slice()?)?;
    let stack = stack.items.iter().map(|value| getter::read(value, 0));
    let method = u32::try_from(question.method).map_err(|_| Failure::Query)?;
    let got = front.chain.get(&account, method, stack.collect::<Result<_, _>>()?)?;
    let result = got.stack.into_iter().map(|value| getter::push(value, 0));
    let result = result.collect::<Result<Stack, _>>()?;
    let (entry, _) = proofs::account(side, &account)?;
    let wants = |bit: u32| question.mode >> bit & 1 == 1;
    let mut proof = None;
    if wants(0) {
        proof = Some(proofs::bag(&[&proofs::header(side)?, &entry]));
    }
    Ok(tl::MethodResult {
        mode: (),
        id: question.id,
        shard_block: side.id,
        shard_proof: wants(0).then(|| shard_proof(&view, side)).transpose()?,
        proof,
        state_proof: wants(1).then(|| Boc::encode(&entry)),
        init_c7: None,
        libraries: None,
        exit_code: got.exit_code,
        result: wants(2)
            .then(|| CellBuilder::build_from(&result).map(Boc::encode))
            .transpose()?,
    })
}

fn all_shards(front: &Front, question: tl::GetAllShards) -> Result<tl::AllShards, Failure> {
    let view = front.view(question.id)?;
    let state: tycho_types::models::ShardStateUnsplit = view.master.state.parse()?;
    let custom = state.load_custom()?.ok_or(tycho_types::error::Error::InvalidData)?;
    Ok(tl::AllShards {
        id: question.id,
        proof: proofs::bag(&[&proofs::header(&view.master)?, &proofs::shards(&view)?]),
        data: Boc::encode(CellBuilder::build_from(&custom.shards)?),
    })
}

fn transactions(front: &Front, question: tl::GetTransactions) -> Result<tl::TransactionList, Failure> {
    let account = account_of(&question.account)?;
    let history = front.chain.history(&account)?;
    let from = Cursor {
        lt: question.lt,
        hash: question.hash,
    };
    let last = history
        .iter()
        .rposition(|kept| kept.at == from)
        .ok_or(Failure::NoTransaction)?;
    let count = usize::try_from(question.count).unwrap_or(usize::MAX).min(TRANSACTIONS);
    let mut told: Vec<Cell> = Vec::new();
    let mut ids = Vec::new();
    let mut expected = Some(from);
    for kept in history.iter().take(last + 1).rev().take(count) {
        // A second life's first transaction names none before it, whatever the account did in its first.
        if expected != Some(kept.at) {
            break;
        }
        let cell = Boc::decode(&kept.cell).map_err(|_| tycho_types::error::Error::InvalidData)?;
        let transaction: Transaction = cell.parse()?;
        expected = (transaction.prev_trans_lt != 0).then_some(Cursor {
            lt: transaction.prev_trans_lt,
            hash: transaction.prev_trans_hash.0,
        });
        ids.push(block_of(front, kept.at.lt, question.account.workchain)?);
        told.push(cell);
    }
    Ok(tl::TransactionList {
        ids: tl::List(ids),
        transactions: proofs::bag(&told.iter().collect::<Vec<_>>()),
    })
}

/// The block that a transaction is in. One that nobody asked for while it was the newest was never written as TON does: of
/// it there is the simulated chain's own hash, and it cannot be asked for.
fn block_of(front: &Front, lt: u64, workchain: i32) -> Result<tl::BlockId, Failure> {
    let block = front.chain.block(Which::Lt(lt))?.ok_or(Failure::NoBlock)?;
    let view: Option<Arc<View>> = front.at(block.head.seqno);
    let known = view
        .as_deref()
        .and_then(|view| view.side(workchain))
        .map(|side| side.id);
    Ok(known.unwrap_or(tl::BlockId {
        workchain,
        shard: 1 << 63,
        seqno: block.head.seqno,
        root_hash: block.hash,
        file_hash: block.hash,
    }))
}

fn config(front: &Front, mode: u32, id: tl::BlockId, wanted: Option<&[i32]>) -> Result<tl::ConfigInfo, Failure> {
    let view = front.view(id)?;
    Ok(tl::ConfigInfo {
        mode,
        id: view.master.id,
        state_proof: Boc::encode(proofs::header(&view.master)?),
        config_proof: Boc::encode(proofs::parameters(&view, wanted)?),
    })
}

fn send(front: &Front, question: tl::SendMessage) -> Result<tl::SendStatus, Failure> {
    // It waits for nothing.
    let taken = front.chain.send(&question.body).now_or_never();
    taken.unwrap_or(Ok(()))?;
    Ok(tl::SendStatus { status: 1 })
}
