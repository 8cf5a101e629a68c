//! The methods by name, and those about accounts.

use billing::channel::Account;
use billing_ton::Chain;
use billing_ton::chain::{AccountState, Status};
use futures_util::FutureExt;
use serde_json::{Value as Json, json};
use tycho_types::boc::Boc;

use super::failure::Failure;
use super::parameters::Parameters;
use super::{blocks, fees, form, messages, stack, transactions};
use crate::machine::{GetError, Value, method_id};
use crate::simulated::{Simulated, Which};

/// Exit code of a get-method of an account that has no code, in toncenter's answers.
const NO_CODE: i32 = -13;

/// Wallets by the hash of their code.
const WALLETS: [(&str, &str); 4] = [
    (
        "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f",
        "wallet v5 r1",
    ),
    (
        "feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0",
        "wallet v4 r2",
    ),
    (
        "84dafa449f98a6987789ba232358072bc0f76dc4524002a5d0918b9a75d2d599",
        "wallet v3 r2",
    ),
    (
        "b61041a58a7980b946e8fb9e198e3c904d24799ffa36574ea4251c41a566f581",
        "wallet v3 r1",
    ),
];

pub(super) fn call(chain: &Simulated, name: &str, parameters: &Parameters) -> Result<Json, Failure> {
    match name {
        "getMasterchainInfo" => blocks::masterchain_info(chain),
        "getConsensusBlock" => blocks::consensus_block(chain),
        "lookupBlock" => blocks::lookup(chain, parameters),
        "shards" => blocks::shards(chain, parameters),
        "getBlockHeader" => blocks::header(chain, parameters),
        "getBlockTransactions" => blocks::transactions(chain, parameters),
        "getAddressInformation" => address_information(chain, parameters),
        "getExtendedAddressInformation" => extended_address_information(chain, parameters),
        "getWalletInformation" => wallet_information(chain, parameters),
        "getAddressBalance" => Ok(json!(account(chain, parameters)?.1.balance.to_string())),
        "getAddressState" => Ok(json!(state_name(&account(chain, parameters)?.1.status))),
        "packAddress" => Ok(json!(form::friendly(&parameters.account("address")?))),
        "unpackAddress" => Ok(json!(form::raw(&parameters.account("address")?))),
        "detectAddress" => detect_address(parameters),
        "getTransactions" => transactions::of_account(chain, parameters),
        "tryLocateTx" | "tryLocateResultTx" => transactions::locate(chain, parameters, transactions::Side::Result),
        "tryLocateSourceTx" => transactions::locate(chain, parameters, transactions::Side::Source),
        "getConfigParam" => config_parameter(chain, parameters),
        "getConfigAll" => config(chain),
        "runGetMethod" => run_get_method(chain, parameters),
        "estimateFee" => fees::estimate(chain, parameters),
        "sendBoc" => messages::send(chain, parameters),
        "sendBocReturnHash" => messages::send_and_tell_hash(chain, parameters),
        _ => Err(Failure::NoSuchMethod),
    }
}

/// Nothing in this chain waits for anything.
pub(super) fn now<T>(future: impl Future<Output = Result<T, billing_ton::chain::ChainError>>) -> Result<T, Failure> {
    future
        .now_or_never()
        .ok_or_else(|| Failure::Unavailable("the chain did not answer at once".to_owned()))?
        .map_err(Failure::from)
}

pub(super) fn last_block(chain: &Simulated) -> Result<crate::world::BlockInfo, Failure> {
    chain
        .block(Which::Last)?
        .ok_or_else(|| Failure::Unavailable("there is no block".to_owned()))
}

fn account(chain: &Simulated, parameters: &Parameters) -> Result<(Account, AccountState), Failure> {
    let account = parameters.account("address")?;
    let mut state = now(chain.account(account))?;
    // On TON, an account that was deleted is not among the accounts, and with it goes its last transaction.
    if state.status == Status::Nonexistent {
        state.last = None;
    }
    Ok((account, state))
}

fn state_name(status: &Status) -> &'static str {
    match status {
        Status::Nonexistent | Status::Uninitialised => "uninitialized",
        Status::Frozen => "frozen",
        Status::Active { .. } => "active",
    }
}

/// Code and data in base64, empty where there are none.
fn cells(status: &Status) -> (String, String) {
    match status {
        Status::Active { code, data } => (form::base64(code), form::base64(data)),
        _ => Default::default(),
    }
}

fn address_information(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let (_, state) = account(chain, parameters)?;
    let (code, data) = cells(&state.status);
    Ok(json!({
        "@type": "raw.fullAccountState",
        "balance": state.balance.to_string(),
        "extra_currencies": [],
        "code": code,
        "data": data,
        "last_transaction_id": form::cursor(state.last),
        "block_id": form::block(&last_block(chain)?, -1),
        "frozen_hash": "",
        "sync_utime": state.head.time,
        "state": state_name(&state.status),
    }))
}

fn extended_address_information(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let (account, state) = account(chain, parameters)?;
    let (code, data) = cells(&state.status);
    let inner = match state.status {
        Status::Active { .. } => json!({ "@type": "raw.accountState", "code": code, "data": data, "frozen_hash": "" }),
        _ => json!({ "@type": "uninited.accountState", "frozen_hash": "" }),
    };
    Ok(json!({
        "@type": "fullAccountState",
        "address": { "@type": "accountAddress", "account_address": form::friendly(&account) },
        "balance": state.balance.to_string(),
        "extra_currencies": [],
        "last_transaction_id": form::cursor(state.last),
        "block_id": form::block(&last_block(chain)?, -1),
        "sync_utime": state.head.time,
        "account_state": inner,
        "revision": 0,
    }))
}

fn wallet_information(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let (account, state) = account(chain, parameters)?;
    let mut told = json!({
        "wallet": false,
        "balance": state.balance.to_string(),
        "extra_currencies": [],
        "account_state": state_name(&state.status),
        "last_transaction_id": form::cursor(state.last),
    });
    let kind = match &state.status {
        Status::Active { code, .. } => Boc::decode(code)
            .ok()
            .map(|code| code.repr_hash().to_string())
            .and_then(|hash| WALLETS.iter().find(|(known, _)| *known == hash)),
        _ => None,
    };
    if let (Some((_, kind)), Json::Object(told)) = (kind, &mut told) {
        told.insert("wallet".to_owned(), json!(true));
        told.insert("wallet_type".to_owned(), json!(kind));
        for (name, method) in [("seqno", "seqno"), ("wallet_id", "get_subwallet_id")] {
            if let Ok(got) = chain.get_method(&account, method, Vec::new())
                && let [Value::Int(number)] = got.stack.as_slice()
                && let Ok(number) = i64::try_from(number)
            {
                told.insert(name.to_owned(), json!(number));
            }
        }
    }
    Ok(told)
}

fn detect_address(parameters: &Parameters) -> Result<Json, Failure> {
    let account = parameters.account("address")?;
    let address = crate::machine::standard(&account);
    Ok(json!({
        "raw_form": form::raw(&account),
        "bounceable": { "b64url": address.display_base64_url(true).to_string(), "b64": address.display_base64(true).to_string() },
        "non_bounceable": { "b64url": address.display_base64_url(false).to_string(), "b64": address.display_base64(false).to_string() },
    }))
}

fn config_parameter(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let index = match parameters.number("config_id")? {
        Some(index) => index,
        None => parameters.required("param")?,
    };
    // No bytes where there is no such parameter.
    Ok(config_info(&now(chain.config_parameter(index))?.unwrap_or_default()))
}

fn config(chain: &Simulated) -> Result<Json, Failure> {
    let root = chain
        .parameters()?
        .ok_or_else(|| Failure::Absent("there is no configuration".to_owned()))?;
    Ok(config_info(&Boc::encode(root)))
}

fn config_info(value: &[u8]) -> Json {
    json!({ "@type": "configInfo", "config": { "@type": "tvm.cell", "bytes": form::base64(value) } })
}

fn run_get_method(chain: &Simulated, parameters: &Parameters) -> Result<Json, Failure> {
    let (account, state) = account(chain, parameters)?;
    let method = match parameters.value("method") {
        Some(Json::String(name)) => method_id(name),
        _ => parameters.required("method")?,
    };
    let arguments = stack::read(parameters.value("stack"))?;
    let (exit_code, gas_used, answer) = match chain.get(&account, method, arguments) {
        Ok(got) => (got.exit_code, got.gas_used, stack::write(&got.stack)),
        Err(GetError::NoCode) => (NO_CODE, 0, json!([])),
        Err(error) => return Err(Failure::Absent(error.to_string())),
    };
    Ok(json!({
        "@type": "smc.runResult",
        "gas_used": gas_used,
        "stack": answer,
        "exit_code": exit_code,
        "block_id": form::block(&last_block(chain)?, -1),
        "last_transaction_id": form::cursor(state.last),
    }))
}
