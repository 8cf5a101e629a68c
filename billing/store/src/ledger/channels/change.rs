//! What makes a channel known, and what raises it. Each is one transaction.

use billing::channel::{ChannelId, Voucher};
use billing::{AccountId, Budget, Currency, Nano};

use super::super::accounts::{AccountChange, NewAccount, alter, create};
use super::super::transfers::{Deposit, DepositError, credit};
use super::super::{ChangeError, CreateError, LedgerFault};
use super::{
    AddError, Facts, MAX_FEE_BPS, NewChannel, RaiseError, Raised, Side, Stage, StoredChannel, Word, channel_account,
    facts, rows,
};
use crate::keys::By;
use crate::pool::Db;

pub(super) async fn add(db: &mut Db<'_>, new: &NewChannel, by: By<'_>) -> Result<StoredChannel, AddError> {
    let id = new.id.account;
    if id.workchain != 0 {
        return Err(AddError::Workchain(id));
    }
    let fee_bps = new.terms.fee_bps;
    if fee_bps > MAX_FEE_BPS {
        return Err(AddError::Fee { id, fee_bps });
    }
    let mut is_new = false;
    if rows::locked(db, &new.id).await?.is_none() {
        let claimed = new.facts.on_chain.claimed;
        if new.side == Side::Payee && !claimed.is_zero() {
            return Err(AddError::Claimed { id, claimed });
        }
        let account = match new.side {
            Side::Payer => None,
            Side::Payee => Some(channel_account(&new.id)),
        };
        if let Some(account) = &account {
            open_account(db, account, by)
                .await
                .map_err(|error| AddError::Account(id, error))?;
        }
        is_new = rows::insert(db, new, account.as_ref().map(AccountId::as_str), by).await?;
    }
    let Some(channel) = rows::locked(db, &new.id).await? else {
        // On another network.
        return Err(AddError::Differs(id));
    };
    if (channel.side, channel.terms, channel.keys) != (new.side, new.terms, new.keys) {
        return Err(AddError::Differs(id));
    }
    if channel.stage == Stage::Closed {
        return Err(AddError::Closed(id));
    }
    // A new one may be closing as well.
    let told = if is_new { None } else { Some((&new.facts, new.word)) };
    match noted(db, channel, told, by).await {
        Ok(raised) => Ok(raised.channel),
        Err(RaiseError::Fault(fault)) => Err(fault.into()),
        Err(RaiseError::Deposit(id, error)) => Err(AddError::Deposit(id, error)),
        Err(RaiseError::NotFound(id) | RaiseError::Closed(id) | RaiseError::Keys(id)) => Err(AddError::Closed(id)),
    }
}

/// In TON, without credit.
async fn open_account(db: &mut Db<'_>, id: &AccountId, by: By<'_>) -> Result<(), CreateError> {
    let account = NewAccount {
        id: id.clone(),
        currency: Some(Currency::TON),
        credit: Some(Nano::ZERO),
        budget: Budget::default(),
        disabled: false,
        tags: Vec::new(),
    };
    create(db, &account, by).await.map(drop)
}

pub(super) async fn raise(db: &mut Db<'_>, voucher: &Voucher, by: By<'_>) -> Result<Raised, RaiseError> {
    let mut channel = living(db, voucher.channel()).await?;
    if *voucher.keys() != channel.keys {
        return Err(RaiseError::Keys(channel.id.account));
    }
    if voucher.max() <= channel.voucher_max() {
        return Ok(Raised {
            is_new: false,
            credited_now: Nano::ZERO,
            objection: None,
            channel,
        });
    }
    channel.voucher = Some(voucher.claim());
    let credited_now = cover(db, &mut channel, by).await?;
    rows::write(db, &channel).await?;
    Ok(Raised {
        is_new: true,
        credited_now,
        objection: None,
        channel,
    })
}

pub(super) async fn observe(
    db: &mut Db<'_>,
    id: &ChannelId,
    facts: &Facts,
    word: Word,
    by: By<'_>,
) -> Result<Raised, RaiseError> {
    let Some(channel) = rows::locked(db, id).await? else {
        return Err(RaiseError::NotFound(id.account));
    };
    noted(db, channel, Some((facts, word)), by).await
}

/// Of a channel that is locked.
async fn noted(
    db: &mut Db<'_>,
    mut channel: StoredChannel,
    told: Option<(&Facts, Word)>,
    by: By<'_>,
) -> Result<Raised, RaiseError> {
    let known = |channel: &StoredChannel| (channel.facts.on_chain, channel.confirmed, channel.stage);
    let before = known(&channel);
    let objection = told.and_then(|(told, word)| facts::merge(&mut channel, told, word));
    let is_ending = channel.facts.on_chain.close_at.is_some() || facts::unsigned(&channel).is_some();
    if is_ending && channel.stage == Stage::Open {
        halt(db, &mut channel, by).await?;
    }
    let credited_now = match channel.stage {
        // Late top-ups buy nothing more.
        Stage::Closed => Nano::ZERO,
        Stage::Open | Stage::Stopping => cover(db, &mut channel, by).await?,
    };
    let is_new = known(&channel) != before;
    if is_new {
        channel.revision = rows::next_generation(db).await?;
        // A newer block that says the same is no reason to write.
        rows::write(db, &channel).await?;
    }
    Ok(Raised {
        is_new,
        credited_now,
        objection,
        channel,
    })
}

pub(super) async fn stop(db: &mut Db<'_>, id: &ChannelId, by: By<'_>) -> Result<StoredChannel, RaiseError> {
    let mut channel = living(db, id).await?;
    if channel.stage == Stage::Open {
        halt(db, &mut channel, by).await?;
        channel.revision = rows::next_generation(db).await?;
        rows::write(db, &channel).await?;
    }
    Ok(channel)
}

pub(super) async fn note_spent(db: &mut Db<'_>, id: &ChannelId, spent: Nano) -> Result<StoredChannel, RaiseError> {
    let mut channel = living(db, id).await?;
    if channel.side == Side::Payer && spent > channel.spent {
        channel.spent = spent;
        rows::write(db, &channel).await?;
    }
    Ok(channel)
}

async fn living(db: &mut Db<'_>, id: &ChannelId) -> Result<StoredChannel, RaiseError> {
    match rows::locked(db, id).await? {
        None => Err(RaiseError::NotFound(id.account)),
        Some(channel) if channel.stage == Stage::Closed => Err(RaiseError::Closed(id.account)),
        Some(channel) => Ok(channel),
    }
}

/// No new work: gateways hear of the account, and give back what they hold of it for no request.
async fn halt(db: &mut Db<'_>, channel: &mut StoredChannel, by: By<'_>) -> Result<(), LedgerFault> {
    channel.stage = Stage::Stopping;
    if channel.side == Side::Payer {
        return Ok(());
    }
    let disabled = AccountChange {
        disabled: Some(true),
        ..AccountChange::default()
    };
    match alter(db, &channel_account(&channel.id), &disabled, by).await {
        Ok(_) => Ok(()),
        Err(ChangeError::Fault(fault)) => Err(fault),
        // There is one, in the row's foreign key.
        Err(_) => Err(LedgerFault::Row { column: "account" }),
    }
}

/// Puts on the account what stands behind the channel and is not there yet; says how much.
async fn cover(db: &mut Db<'_>, channel: &mut StoredChannel, by: By<'_>) -> Result<Nano, RaiseError> {
    let Some(more) = channel.covered().checked_sub(channel.credited) else {
        return Ok(Nano::ZERO);
    };
    if channel.side == Side::Payer || more.is_zero() || facts::unsigned(channel).is_some() {
        return Ok(Nano::ZERO);
    }
    let account = channel_account(&channel.id);
    let deposit = Deposit {
        // By what it comes to, so that the same is never put there twice.
        id: format!("channel:{}:{}", account.name(), channel.covered().get()),
        organisation: account,
        amount: more,
        currency: Currency::TON,
        memo: None,
    };
    match credit(db, &deposit, by).await {
        Ok(_) => {
            channel.credited = channel.covered();
            Ok(more)
        }
        Err(DepositError::Fault(fault)) => Err(fault.into()),
        Err(error) => Err(RaiseError::Deposit(channel.id.account, error)),
    }
}
