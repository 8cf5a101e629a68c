//! What the payee signs, and the end of a channel. Each is one transaction: what was signed is durable before anybody
//! sees it.

use billing::channel::{ChannelId, ClaimedTake, Signer, Take};
use billing::{Currency, Nano};

use super::super::LedgerFault;
use super::super::transfers::{WithdrawError, Withdrawal, holder, pay_out};
use super::{CloseError, Side, Stage, StoredChannel, channel_account, rows};
use crate::keys::By;
use crate::pool::Db;

pub(super) async fn take(db: &mut Db<'_>, id: &ChannelId, signer: &Signer) -> Result<Option<ClaimedTake>, CloseError> {
    let mut channel = payees(db, id).await?;
    let earned = earned(&channel);
    if channel.stage == Stage::Closed || earned <= channel.taken() {
        return Ok(channel.take);
    }
    let take = Take::sign(signer, &channel.keys, id, earned).map_err(|error| CloseError::Signer(id.account, error))?;
    channel.take = Some(take.claim());
    rows::write(db, &channel).await?;
    Ok(channel.take)
}

pub(super) async fn close(
    db: &mut Db<'_>,
    id: &ChannelId,
    signer: &Signer,
    by: By<'_>,
) -> Result<ClaimedTake, CloseError> {
    let mut channel = payees(db, id).await?;
    if let Some(take) = channel.take.filter(|take| take.is_last) {
        return Ok(take);
    }
    if channel.stage == Stage::Closed {
        return Err(CloseError::Closed(id.account));
    }
    let last = settled(db, &channel, by).await?;
    let take =
        Take::sign_last(signer, &channel.keys, id, last).map_err(|error| CloseError::Signer(id.account, error))?;
    let take = take.claim();
    channel.take = Some(take);
    end(db, &mut channel, by).await?;
    Ok(take)
}

pub(super) async fn bury_payees(
    db: &mut Db<'_>,
    id: &ChannelId,
    signer: &Signer,
    by: By<'_>,
) -> Result<StoredChannel, CloseError> {
    let mut channel = payees(db, id).await?;
    if channel.stage != Stage::Closed {
        let earned = settled(db, &channel, by).await?;
        if earned > channel.taken() {
            let take = Take::sign(signer, &channel.keys, id, earned);
            channel.take = Some(take.map_err(|error| CloseError::Signer(id.account, error))?.claim());
        }
        end(db, &mut channel, by).await?;
    }
    Ok(channel)
}

pub(super) async fn bury_payers(db: &mut Db<'_>, id: &ChannelId, by: By<'_>) -> Result<StoredChannel, CloseError> {
    let mut channel = match rows::locked(db, id).await? {
        Some(channel) if channel.side == Side::Payer => channel,
        _ => return Err(CloseError::NotFound(id.account)),
    };
    if channel.stage != Stage::Closed {
        end(db, &mut channel, by).await?;
    }
    Ok(channel)
}

async fn payees(db: &mut Db<'_>, id: &ChannelId) -> Result<StoredChannel, CloseError> {
    match rows::locked(db, id).await? {
        Some(channel) if channel.side == Side::Payee => Ok(channel),
        _ => Err(CloseError::NotFound(id.account)),
    }
}

/// What was spent, as far as vouchers and deposit cover it. What an administrator put on the account is no claim on the
/// channel.
fn earned(channel: &StoredChannel) -> Nano {
    channel.spent.min(channel.credited)
}

/// Takes what is left off the account, where no request runs; answers what the last take is of.
async fn settled(db: &mut Db<'_>, channel: &StoredChannel, by: By<'_>) -> Result<Nano, CloseError> {
    let id = channel.id.account;
    let account = channel_account(&channel.id);
    let Some(holder) = holder(db, &account).await? else {
        return Err(LedgerFault::Row { column: "account" }.into());
    };
    if !holder.total.leased.is_zero() {
        let leased = holder.total.leased;
        return Err(CloseError::InFlight { id, leased });
    }
    // Behind the lock of the account, where what was spent stands still.
    let spent = holder.total.spent.min(channel.credited);
    let money = holder.deposited.saturating_sub(holder.withdrawn);
    // What the contract has paid, or will by what was signed, it does not give back: not after a refund either.
    let gone = holder
        .total
        .spent
        .max(channel.taken())
        .max(channel.facts.on_chain.claimed);
    let rest = money.saturating_sub(gone);
    if !rest.is_zero() {
        let withdrawal = Withdrawal {
            id: format!("channel:{}:rest", account.name()),
            organisation: account,
            amount: rest,
            currency: Currency::TON,
            memo: None,
        };
        match pay_out(db, &withdrawal, by).await {
            Ok(_) => {}
            Err(WithdrawError::Fault(fault)) => return Err(fault.into()),
            Err(error) => return Err(CloseError::Withdraw(id, error)),
        }
    }
    // A refund may have lowered what was spent; what was signed stays signed.
    Ok(spent.max(channel.taken()))
}

async fn end(db: &mut Db<'_>, channel: &mut StoredChannel, by: By<'_>) -> Result<(), LedgerFault> {
    channel.stage = Stage::Closed;
    channel.closed_at_ms = Some(by.at_ms);
    channel.revision = rows::next_generation(db).await?;
    rows::write(db, channel).await
}
