//! `mulberry channel topup`

use billing::Nano;
use billing_ton::{
    contract::{Operation, RENT_RESERVE, Request},
    wallet::{Mode, Payment},
};

use super::{BoxError, ChannelCommandError, Counter, Seen, confirm, look, open, short, tell_elsewhere, view, write};
use crate::{
    cli::{channel::WayArgs, key::Output},
    payer::{shelf::Stage, till::SENDING},
};

pub(super) async fn run(counter: &Counter, channel: &str, amount: Nano, way: &WayArgs) -> Result<(), BoxError> {
    let kept = counter.pick(Some(channel))?;
    let network = kept.id.network;
    let source = counter.source(network)?;
    let (_, seen, slate) = look(&source, &kept).await?;
    let before = match (&seen, slate.stage) {
        (_, Stage::Over) => return Err(ChannelCommandError::Over.into()),
        (Seen::Open(on_chain), _) if on_chain.close_at.is_some() => return Err(ChannelCommandError::Closing.into()),
        // A cooperative close may be on its way to the contract.
        (_, Stage::Leaving) => return Err(ChannelCommandError::Closing.into()),
        (Seen::Open(on_chain), _) => Some(on_chain.deposited),
        // An address is never paid into anew.
        (Seen::Absent, Stage::Open) => return Err(ChannelCommandError::Unshown.into()),
        (Seen::Absent, Stage::New) => None,
    };
    let bring = source.prices().await?.bring(Operation::TopUp);
    let payment = match before {
        None => open::payment(&kept, amount, amount.saturating_add(RENT_RESERVE).saturating_add(bring)),
        Some(_) => Payment {
            to: kept.id.account,
            amount: amount.saturating_add(bring),
            bounce: true,
            mode: Mode::FeesApart,
            body: Some(Request::TopUp { query_id: 0, amount }.encode()),
            init: None,
        },
    };
    if counter.output == Output::Text && !way.is_elsewhere() || way.dry_run {
        let reserve = match before {
            None => format!(", {} for rent that comes back at the end,", short(RENT_RESERVE)),
            Some(_) => String::new(),
        };
        write(&format!(
            "This pays {} GRAM (TON){reserve} into the channel {}, and takes at most {} for gas, of which what is not needed comes back.\n",
            short(amount),
            kept.name,
            short(bring.saturating_add(SENDING))
        ))?;
    }
    if way.dry_run {
        return Ok(());
    }
    if way.is_elsewhere() {
        return tell_elsewhere(&kept, &payment, Some(amount), way);
    }
    confirm(way)?;
    let file = counter.wallet_file()?;
    let secret = file.open(&counter.passphrase())?;
    let enough = before.unwrap_or_default().saturating_add(amount);
    counter
        .till(&source, &file, &secret)
        .pay(
            payment,
            |state| matches!(Seen::of(&kept, state), Ok(Seen::Open(on_chain)) if on_chain.deposited >= enough),
        )
        .await?;
    view::tell(counter, &source, &kept).await
}
