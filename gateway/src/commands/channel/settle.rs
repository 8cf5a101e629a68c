//! `mulberry channel settle` and `export`: what a payee signed, to the contract and to a file.

use std::path::Path;

use billing::channel::{Blob, ChannelId, SettlementRefusal};
use billing_ton::{
    contract::{Operation, Request, Settle},
    wallet::{Mode, Payment},
};
use serde_json::json;

use super::{BoxError, ChannelCommandError, Counter, confirm, ended, read, short, shown, tell, tell_text, write};
use crate::{
    cli::{channel::WayArgs, key::Output},
    commands::wallet,
    on_chain,
    payer::till::SENDING,
};

/// Far more than a settlement has.
const MAX_FILE: u64 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error("'{path}' is no settlement")]
    Malformed { path: String, source: serde_json::Error },
    #[error("the contract would not take the settlement")]
    Refused(#[source] SettlementRefusal),
    #[error("there is no channel at {0}: it was never opened, or is closed; look whether the payee was paid")]
    Absent(String),
    #[error("all of it was paid before; nothing is left to settle")]
    Paid,
    #[error(
        "the payee of this channel never showed us a signature, so there is nothing to write; what it earned it settles itself"
    )]
    Nothing,
    #[error("the gateway's page does not settle; use --link")]
    NoPage,
}

pub(super) async fn run(counter: &Counter, path: &Path, way: &WayArgs) -> Result<(), BoxError> {
    if way.page {
        return Err(SettleError::NoPage.into());
    }
    let blob: Blob = serde_json::from_slice(&read(path, MAX_FILE)?).map_err(|source| SettleError::Malformed {
        path: path.display().to_string(),
        source,
    })?;
    pay(counter, &blob, way).await
}

/// Hands a settlement to its contract.
pub(super) async fn pay(counter: &Counter, blob: &Blob, way: &WayArgs) -> Result<(), BoxError> {
    let network = counter.wallet.network;
    if blob.network != network {
        return Err(ChannelCommandError::Network {
            channel: wallet::name(blob.network),
            named: wallet::name(network),
        }
        .into());
    }
    let id = ChannelId {
        network,
        account: blob.take.account,
    };
    let source = counter.source(network)?;
    let Some(state) = on_chain::read(&source.account(id.account).await?, &id)? else {
        return Err(SettleError::Absent(shown(id.account, network)).into());
    };
    let settlement = blob.verify(&state.keys, &id).map_err(SettleError::Refused)?;
    let take = *settlement.take();
    let on_chain = state.on_chain;
    let delta = take.amount().min(on_chain.deposited).saturating_sub(on_chain.claimed);
    if delta.is_zero() && !take.is_last() {
        return Err(SettleError::Paid.into());
    }
    let operation = if take.is_last() {
        Operation::Close
    } else {
        Operation::Settle
    };
    let bring = source.prices().await?.bring(operation);
    if counter.output == Output::Text && !way.link || way.dry_run {
        let person = |account| wallet::shown(account, network);
        let close = if take.is_last() {
            format!(
                " The channel closes, and the rest goes to {}.",
                person(state.terms.payer)
            )
        } else {
            String::new()
        };
        write(&format!(
            "This makes the contract pay {} GRAM (TON) to {}, less its fee of {} parts of 10000.{close}\n\
             It takes at most {} for gas from the wallet here, of which what is not needed comes back.\n",
            short(delta),
            person(state.terms.payee),
            state.terms.fee_bps,
            short(bring.saturating_add(SENDING))
        ))?;
    }
    if way.dry_run {
        return Ok(());
    }
    let payment = Payment {
        to: id.account,
        amount: bring,
        bounce: true,
        mode: Mode::FeesApart,
        body: Some(Request::Settle(Settle::of(&settlement, 0)).encode()),
        init: None,
    };
    if way.link {
        return tell_text(&super::link(&payment, network), way);
    }
    confirm(way)?;
    let file = counter.wallet_file()?;
    let secret = file.open(&counter.passphrase())?;
    let target = take.amount().min(on_chain.deposited);
    counter
        .till(&source, &file, &secret)
        .pay(payment, |seen| match on_chain::read(seen, &id) {
            Ok(Some(state)) => !take.is_last() && state.on_chain.claimed >= target,
            Ok(None) => true,
            Err(_) => false,
        })
        .await?;
    if take.is_last() {
        // It is paid, whatever our own records make of it.
        remember(counter, &id).ok();
    }
    if counter.output == Output::Json {
        let told = json!({ "channel": id.account.to_string(), "paid": delta, "closed": take.is_last() });
        return write(&format!("{told:#}\n"));
    }
    write(&format!("Settled: {} GRAM (TON) were paid.\n", short(delta)))
}

/// Where the channel is one of ours, it is over, and it was our message that ended it.
fn remember(counter: &Counter, id: &ChannelId) -> Result<(), BoxError> {
    for kept in counter.shelf.all()? {
        // Who pays from it just now sees for itself.
        if kept.id == *id
            && let Ok(lock) = kept.lock()
        {
            ended(&kept, &lock)?;
        }
    }
    Ok(())
}

pub(super) fn export(counter: &Counter, named: Option<&str>) -> Result<(), BoxError> {
    let kept = counter.shelf.pick(named)?;
    let settlement = kept.slate()?.settlement(&kept).ok_or(SettleError::Nothing)?;
    let settlement = settlement.map_err(SettleError::Refused)?;
    tell("whoever has this can make the contract pay the payee what it says, and can do nothing else with it")?;
    write(&format!("{}\n", serde_json::to_string(&settlement.claim())?))
}
