//! Histories of accounts, newest first, from a transaction backwards.

use billing::channel::Account;
use serde_json::{Value as Json, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, Load};
use tycho_types::models::{IntAddr, MsgInfo, Transaction, TxInfo};

use super::failure::Failure;
use super::parameters::Parameters;
use super::{form, messages};
use crate::machine::standard;
use crate::simulated::Simulated;
use crate::world::Kept;

/// The most that one call tells, and what it tells when nobody says how many.
const LIMIT: usize = 100;
const DEFAULT_LIMIT: usize = 10;

pub(super) fn of_account(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let account = parameters.account("address")?;
    let limit = parameters.number("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LIMIT).contains(&limit) {
        return Err(Failure::Parameter(format!("limit must be between 1 and {LIMIT}")));
    }
    let to_lt = parameters.number::<u64>("to_lt")?.unwrap_or(0);
    let history = chain.history(&account)?;
    let from = match (parameters.number::<u64>("lt")?, parameters.hash("hash")?) {
        (Some(lt), Some(hash)) => {
            let at = history.partition_point(|kept| kept.at.lt < lt);
            if history
                .get(at)
                .is_none_or(|kept| kept.at.lt != lt || kept.at.hash != hash)
            {
                return Err(Failure::Absent(
                    "cannot locate transaction in block with specified logical time".to_owned(),
                ));
            }
            at + 1
        }
        (None, None) if is_deleted(chain, &account)? => 0,
        (None, None) => history.len(),
        _ => {
            return Err(Failure::Parameter("lt and hash go together".to_owned()));
        }
    };
    history
        .iter()
        .take(from)
        .rev()
        .take_while(|kept| kept.at.lt > to_lt)
        .take(limit)
        .map(|kept| told(&account, kept))
        .collect()
}

/// On TON, the way to an account's history is its state, and a deleted account has none.
fn is_deleted(chain: &Simulated, account: &Account) -> Result<bool, Failure> {
    use billing_ton::Chain;
    let state = super::methods::now(chain.account(*account))?;
    Ok(state.status == billing_ton::chain::Status::Nonexistent)
}

/// Which of the two transactions that a message connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that sent it.
    Source,
    /// The one that received it.
    Result,
}

pub(super) fn locate(chain: &Simulated, parameters: &Parameters, side: Side) -> Result<Json, Failure> {
    let source = parameters.account("source")?;
    let destination = parameters.account("destination")?;
    let created_lt = parameters.required::<u64>("created_lt")?;
    let is_it = |message: &Cell| {
        let info = message.as_slice().and_then(|mut slice| MsgInfo::load_from(&mut slice));
        matches!(info, Ok(MsgInfo::Int(info)) if info.created_lt == created_lt
            && info.src == IntAddr::Std(standard(&source))
            && info.dst == IntAddr::Std(standard(&destination)))
    };
    let account = match side {
        Side::Source => source,
        Side::Result => destination,
    };
    for kept in chain.history(&account)?.iter().rev() {
        let transaction = parsed(kept)?;
        let has_it = match side {
            Side::Source => transaction.out_msgs.values().flatten().any(|message| is_it(&message)),
            Side::Result => transaction.in_msg.as_ref().is_some_and(is_it),
        };
        if has_it {
            return told(&account, kept);
        }
    }
    Err(Failure::Absent("the transaction was not found".to_owned()))
}

fn parsed(kept: &Kept) -> Result<Transaction, Failure> {
    Boc::decode(&kept.cell)
        .ok()
        .and_then(|cell| cell.parse::<Transaction>().ok())
        .ok_or_else(|| Failure::Unavailable("a transaction is damaged".to_owned()))
}

fn told(account: &Account, kept: &Kept) -> Result<Json, Failure> {
    let transaction = parsed(kept)?;
    let fee = transaction.total_fees.tokens.into_inner();
    let storage_fee = match transaction.load_info() {
        Ok(TxInfo::Ordinary(info)) => info
            .storage_phase
            .map_or(0, |phase| phase.storage_fees_collected.into_inner()),
        _ => 0,
    };
    let mut json = json!({
        "@type": "raw.transaction",
        "address": { "@type": "accountAddress", "account_address": form::friendly(account) },
        "utime": kept.time,
        "data": form::base64(&kept.cell),
        "transaction_id": form::cursor(Some(kept.at)),
        "fee": fee.to_string(),
        "storage_fee": storage_fee.to_string(),
        "other_fee": fee.saturating_sub(storage_fee).to_string(),
        "out_msgs": transaction.out_msgs.values().flatten().filter_map(|cell| messages::told(&cell)).collect::<Vec<_>>(),
    });
    if let (Some(message), Json::Object(json)) = (transaction.in_msg.as_ref().and_then(messages::told), &mut json) {
        json.insert("in_msg".to_owned(), message);
    }
    Ok(json)
}
