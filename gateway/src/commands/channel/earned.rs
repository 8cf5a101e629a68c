//! `mulberry channel … --worker-folder`: the channels that pay a worker, from its own folder.
//!
//! The worker's process need not run, and the gateway may be gone for ever: what was earned and is covered by vouchers
//! is signed here with the worker's key, and whoever has coins for gas shows it to the contract.

use std::{path::Path, sync::Arc};

use backends::serve::BoxError;
use billing::{
    Nano,
    channel::{
        Account, Blob, Payee,
        payee::{Effect, Event, Phase},
    },
};
use billing_ton::address;
use serde_json::{Value, json};

use super::{Counter, settle, short, shown, write};
use crate::{
    cli::{channel::ChannelCommand, key::Output},
    commands::{columns::list, wallet},
    frames::Frames,
    wall_clock::unix_ms,
    worker::income::{
        journal::{self, Folder, JournalError, Kept, Line, Restored},
        policy_alone,
    },
};

/// Why a worker's channels are not shown or settled. In order of precedence.
#[derive(Debug, thiserror::Error)]
enum EarnedError {
    #[error("a worker opens no channels and pays into none; leave out --worker-folder")]
    NotAWorkers,
    #[error("no worker earned anything in '{0}'; name the folder that it was given as --earnings")]
    Empty(String),
    #[error("no channel pays this worker; what is owed to it beside channels is in the gateway's hands")]
    NoChannel,
    #[error("there are several channels; name the one that is meant: {0}")]
    Several(String),
    #[error("there is no such channel in the folder; `mulberry channel list` shows those that are")]
    Unknown,
    #[error("no voucher covers any of what was earned, so there is nothing to settle")]
    Nothing,
    #[error(
        "the worker runs and has signed nothing yet; stop it, and do this again, or wait until it has earned --settle-above"
    )]
    Unsigned,
}

pub(super) async fn run(counter: &Counter, folder: &Folder, command: &ChannelCommand) -> Result<(), BoxError> {
    match command {
        ChannelCommand::List { .. } => show_all(counter, &read(folder)?),
        ChannelCommand::Show { channel } => {
            let restored = read(folder)?;
            let kept = pick(counter, &restored, channel.as_deref())?;
            show(counter, kept)
        }
        ChannelCommand::Export { channel } => {
            let blob = settlement(counter, folder, channel.as_deref())?;
            write(&format!("{}\n", serde_json::to_string(&blob)?))
        }
        ChannelCommand::Settle {
            settlement: channel,
            way,
        } => {
            let named = channel.as_deref().and_then(Path::to_str);
            settle::pay(counter, &settlement(counter, folder, named)?, way).await
        }
        ChannelCommand::Open(_) | ChannelCommand::Topup { .. } | ChannelCommand::Close { .. } => {
            Err(EarnedError::NotAWorkers.into())
        }
    }
}

fn read(folder: &Folder) -> Result<Restored, BoxError> {
    if !folder.journal().exists() {
        return Err(EarnedError::Empty(folder.path().display().to_string()).into());
    }
    let signer = Arc::new(folder.signer()?);
    let frames = Frames::peek::<Vec<Line>>(&folder.journal())?;
    Ok(journal::restore(frames, &signer, policy_alone(), unix_ms())?)
}

fn pick<'a>(counter: &Counter, restored: &'a Restored, named: Option<&str>) -> Result<&'a Kept, EarnedError> {
    let network = counter.wallet.network;
    if let Some(named) = named {
        let account = address::parse(named, network).map_err(|_| EarnedError::Unknown)?;
        return restored.channels.get(&account).ok_or(EarnedError::Unknown);
    }
    let open: Vec<&Kept> = restored
        .channels
        .values()
        .filter(|kept| kept.payee.phase() != Phase::Gone)
        .collect();
    match open[..] {
        [] => Err(EarnedError::NoChannel),
        [only] => Ok(only),
        _ => {
            let name = |kept: &&Kept| shown(account(&kept.payee), network);
            Err(EarnedError::Several(
                open.iter().map(name).collect::<Vec<_>>().join(", "),
            ))
        }
    }
}

const fn account(payee: &Payee) -> Account {
    payee.channel().id.account
}

/// What may be taken now, signed: by us where the worker does not run, or what it has signed itself.
fn settlement(counter: &Counter, folder: &Folder, named: Option<&str>) -> Result<Blob, BoxError> {
    let restored = read(folder)?;
    let meant = account(&pick(counter, &restored, named)?.payee);
    let _lock = match folder.lock() {
        Ok(lock) => lock,
        Err(JournalError::InUse(_)) => {
            let kept = restored.channels.get(&meant).ok_or(EarnedError::Unknown)?;
            let settlement = kept.payee.settlement().ok_or(EarnedError::Unsigned)?;
            return Ok(settlement.claim());
        }
        Err(error) => return Err(error.into()),
    };
    let signer = Arc::new(folder.signer()?);
    let (mut frames, mut restored) = journal::open(folder, &signer, policy_alone(), unix_ms())?;
    let kept = restored.channels.get_mut(&meant).ok_or(EarnedError::Unknown)?;
    let mut events = vec![Event::Tick];
    while let Some(event) = events.pop() {
        for effect in kept.payee.step(event, unix_ms()) {
            if let Effect::Persist(record, ticket) = effect {
                let line = Line::Channel {
                    gateway: attestation::Hex(kept.gateway.0),
                    account: meant,
                    record,
                };
                // On the disk before anybody sees it.
                frames.add(&vec![line])?;
                events.push(Event::Persisted(ticket));
            }
        }
    }
    let settlement = kept.payee.settlement().ok_or(EarnedError::Nothing)?;
    if settlement.take().amount() <= kept.payee.claimed() {
        return Err(EarnedError::Nothing.into());
    }
    Ok(settlement.claim())
}

fn facts(counter: &Counter, kept: &Kept) -> Value {
    let payee = &kept.payee;
    let channel = payee.channel();
    json!({
        "channel": shown(channel.id.account, channel.id.network),
        "raw": channel.id.account.to_string(),
        "gateway": kept.gateway.to_string(),
        "payout": wallet::shown(channel.terms.payee, counter.wallet.network),
        "phase": format!("{:?}", payee.phase()).to_lowercase(),
        "deposited": payee.deposited(),
        "earned": payee.earned(),
        "voucher_max": payee.voucher_max(),
        "taken": payee.take(),
        "claimed": payee.claimed(),
        "close_at": payee.close_at(),
    })
}

fn show_all(counter: &Counter, restored: &Restored) -> Result<(), BoxError> {
    if counter.output == Output::Json {
        let channels: Vec<Value> = restored.channels.values().map(|kept| facts(counter, kept)).collect();
        let owed: Vec<Value> = restored
            .owed
            .iter()
            .map(|(gateway, amount)| json!({"gateway": gateway.to_string(), "owed": amount}))
            .collect();
        let told = json!({"channels": channels, "owed": owed});
        return write(&format!("{told:#}\n"));
    }
    for kept in restored.channels.values() {
        let payee = &kept.payee;
        write(&format!(
            "{}  {:?}  earned {}  covered {}  paid {}\n",
            shown(account(payee), counter.wallet.network),
            payee.phase(),
            short(payee.earned()),
            short(payee.voucher_max().min(payee.deposited())),
            short(payee.claimed()),
        ))?;
    }
    let owed = restored.owed.values().copied().fold(Nano::ZERO, Nano::saturating_add);
    write(&format!("owed beside channels: {} GRAM (TON)\n", short(owed)))
}

fn show(counter: &Counter, kept: &Kept) -> Result<(), BoxError> {
    if counter.output == Output::Json {
        return write(&format!("{:#}\n", facts(counter, kept)));
    }
    let payee = &kept.payee;
    let network = counter.wallet.network;
    let covered = payee.voucher_max().min(payee.deposited());
    write(&list(&[
        ("channel", shown(account(payee), network)),
        ("gateway", kept.gateway.to_string()),
        ("paid to", wallet::shown(payee.channel().terms.payee, network)),
        ("state", format!("{:?}", payee.phase())),
        ("deposited", short(payee.deposited())),
        ("earned", short(payee.earned())),
        ("covered", short(covered)),
        ("signed", short(payee.take())),
        ("paid", short(payee.claimed())),
    ]))?;
    let left = payee.earned().min(covered).saturating_sub(payee.claimed());
    write(&format!(
        "\n{} GRAM (TON) can be taken now, with `mulberry channel settle --worker-folder …`; whoever runs it pays the gas.\n",
        short(left)
    ))
}
