//! Whether a channel that a chain shows is one to serve for.
//!
//! 1. the chain is ours, and the account is in the basic workchain;
//! 2. the account is active, and its code is ours;
//! 3. its data are of the scheme, with amounts that we can hold;
//! 4. its address follows from its terms and keys: it was born with no deposit, and its data are no one's invention;
//! 5. the terms are for our network, pay us, with our key, at our fee, and work out;
//! 6. nobody is closing it;
//! 7. the account's transactions, from the first one on, never ended it, and nothing says that it lived before them: an
//!    address that came twice makes old vouchers good again.
//!
//! The contract checks none of the terms: it could refuse only when coins are there already.

use billing::Nano;
use billing::channel::{Account, ChannelId, Keys, Network, OnChain, PublicKey, Terms};
use tycho_types::boc::Boc;

use super::former::{Former, first_life};
use super::state::State;
use super::wire::Malformed;
use super::{BASECHAIN, CODE_HASH, account};
use crate::chain::{AccountState, Cursor, Head, Status, Transaction};
use crate::transaction::{Existence, Happened, TransactionError};

/// A payee needs an hour at least to notice that a payer is closing, and to settle.
pub const LEAST_CLOSE_DELAY_S: u32 = 3_600;

/// Ninety days. A payer waits so long for its own money; beyond 2106 the contract's clock does not reach.
pub const MOST_CLOSE_DELAY_S: u32 = 7_776_000;

/// Terms that nobody should open a channel with, on either side, whoever proposes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTerms {
    #[error("the fee is {fee_bps} parts of 10000, more than the whole; nothing could ever be taken")]
    Fee { fee_bps: u16 },
    #[error("the close delay is {close_delay_s} s, and at least {LEAST_CLOSE_DELAY_S} s are needed to settle in")]
    DelayTooShort { close_delay_s: u32 },
    #[error("the close delay is {close_delay_s} s; beyond {MOST_CLOSE_DELAY_S} s the rest is locked for too long")]
    DelayTooLong { close_delay_s: u32 },
    #[error("the {party} is in workchain {workchain}; all parties of a channel must be in workchain 0")]
    Workchain { party: &'static str, workchain: i8 },
}

/// Whether terms work out, for a payer before it opens and for a payee before it serves.
pub fn check_terms(terms: &Terms) -> Result<(), BadTerms> {
    let Terms {
        close_delay_s, fee_bps, ..
    } = *terms;
    if fee_bps > 10_000 {
        return Err(BadTerms::Fee { fee_bps });
    }
    if close_delay_s < LEAST_CLOSE_DELAY_S {
        return Err(BadTerms::DelayTooShort { close_delay_s });
    }
    if close_delay_s > MOST_CLOSE_DELAY_S {
        return Err(BadTerms::DelayTooLong { close_delay_s });
    }
    let parties = [
        ("payer", terms.payer),
        ("payee", terms.payee),
        ("fee's destination", terms.fee_dest),
    ];
    for (party, Account { workchain, .. }) in parties {
        if workchain != BASECHAIN {
            return Err(BadTerms::Workchain { party, workchain });
        }
    }
    Ok(())
}

/// What a payee wants of a channel to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub network: Network,
    pub payee: Account,
    pub payee_key: PublicKey,
    pub fee_bps: u16,
    pub fee_dest: Account,
    /// Never below [`LEAST_CLOSE_DELAY_S`], whatever is here. On the main network a day is right.
    pub close_delay_s: u32,
}

/// What one source says of an account. It is a claim: for much money ask another one, too.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub network: Network,
    pub account: Account,
    pub state: &'a AccountState,
    /// All transactions of the account from the first one to the state's last, oldest first; those of a former life too,
    /// where the source keeps them.
    /// A channel that was just opened has few; who would have to read many should not take it.
    pub history: &'a [Transaction],
    /// Where a former life would show, when not there.
    pub former: Former<'a>,
}

/// A channel that we take.
///
/// Proves: as the source tells it, at [`Accepted::head`] the account ran our code with these terms and keys, paid us, was
/// not closing, and had never ended before.
/// Does not prove: that the source tells the truth, that the payer's key signed anything, or that we have not closed it
/// ourselves: ask your own tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    id: ChannelId,
    state: State,
    balance: u128,
    head: Head,
    last: Cursor,
}

impl Accepted {
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.id
    }

    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.state.terms
    }

    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.state.keys
    }

    #[must_use]
    pub fn on_chain(&self) -> OnChain {
        self.state.on_chain
    }

    /// What can be paid out of it yet: the deposit less what was claimed, and no more than the account has. Rent takes
    /// from that some 0.01 TON a year once the reserve is gone; a top-up makes it good.
    #[must_use]
    pub fn payable(&self) -> Nano {
        let rest = self
            .state
            .on_chain
            .deposited
            .saturating_sub(self.state.on_chain.claimed);
        let balance = u64::try_from(self.balance).map_or(Nano::MOST, Nano::saturating);
        rest.min(balance)
    }

    /// The block that it was seen in.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The newest transaction that was seen: follow the account from here.
    #[must_use]
    pub fn last(&self) -> Cursor {
        self.last
    }
}

/// Why a channel is not taken; in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    #[error("the chain is {found}, and ours is {wanted}; open the channel there")]
    Network { wanted: Network, found: Network },
    #[error("the channel is in workchain {workchain}; open it in workchain 0")]
    Workchain { workchain: i8 },
    #[error("there is no channel at this address yet; open it, or wait until the chain shows it")]
    NotThere,
    #[error("the channel is frozen: it owes rent and has nothing left; open a new one")]
    Frozen,
    #[error("the account has another code than the channel contract that we know; open a channel with our code")]
    Code,
    #[error("the channel's data cannot be taken: {0}")]
    Data(#[source] Malformed),
    #[error("the channel's address does not follow from its terms and keys; it was not born as a channel")]
    Address,
    #[error("the channel's terms are for {found}, and we are on {wanted}; open one with terms for this network")]
    TermsNetwork { wanted: Network, found: Network },
    #[error("the channel names another key than ours as the payee's; ask us for our terms, and open a new one")]
    PayeeKey,
    #[error("the channel pays another account than ours; ask us for our terms, and open a new one")]
    Payee,
    #[error(
        "the channel's fee is {found} parts of 10000, and ours is {wanted}; ask us for our terms, and open a new one"
    )]
    FeeBps { wanted: u16, found: u16 },
    #[error("the channel's fee goes to another account than ours does; ask us for our terms, and open a new one")]
    FeeDest,
    #[error("the channel's close delay is {found} s, and we need {wanted} s; open one with a longer delay")]
    CloseDelay { wanted: u32, found: u32 },
    #[error("the channel's terms are not workable: {0}")]
    Terms(#[source] BadTerms),
    #[error("the channel is closing, from {close_at} on the rest is the payer's; open a new one")]
    Closing { close_at: u32 },
    #[error("transaction {lt} of the channel cannot be taken ({why}); ask another source")]
    Transaction { lt: u64, why: TransactionError },
    #[error("the channel's transactions are not whole from the first one to the state that was shown; ask again")]
    History,
    #[error("the channel's address was used and ended before (transaction {lt}); open one with a new salt")]
    Redeployed { lt: u64 },
    #[error("transaction {lt} of the payee's account cannot be taken ({why}); ask another source")]
    PayeeTransaction { lt: u64, why: TransactionError },
    #[error(
        "the source does not keep what deleted accounts did, and the transactions of the payee's account, which would \
         show a former life of the channel, are not whole; ask again, or a source that keeps them"
    )]
    PayeeHistory,
    #[error(
        "the channel's address wrote to the payee (transaction {lt} of the payee's account) before this channel was \
         opened, so it was used and ended before; open one with a new salt"
    )]
    HeardBefore { lt: u64 },
    #[error(
        "the source does not keep what deleted accounts did, and the payee's account does not show this channel's \
         opening yet, so that it cannot be told whether it is the first; ask again"
    )]
    Unheard,
}

/// Whether we serve for this channel.
pub fn accept(seen: &Seen<'_>, wanted: &Wanted) -> Result<Accepted, Unacceptable> {
    place(seen.network, &seen.account, wanted)?;
    let state = State::decode_boc(data(seen.state, &CODE_HASH)?).map_err(Unacceptable::Data)?;
    if account(&state.terms, &state.keys) != seen.account {
        return Err(Unacceptable::Address);
    }
    terms(&state.terms, &state.keys, wanted)?;
    if let Some(close_at) = state.on_chain.close_at {
        return Err(Unacceptable::Closing { close_at });
    }
    let last = one_life(seen)?;
    let born = seen.history.first().map_or(last.lt, |first| first.at.lt);
    first_life(seen, wanted, born)?;
    Ok(Accepted {
        id: ChannelId {
            network: seen.network,
            account: seen.account,
        },
        state,
        balance: seen.state.balance,
        head: seen.state.head,
        last,
    })
}

pub(crate) fn place(network: Network, account: &Account, wanted: &Wanted) -> Result<(), Unacceptable> {
    if network != wanted.network {
        return Err(Unacceptable::Network {
            wanted: wanted.network,
            found: network,
        });
    }
    if account.workchain != BASECHAIN {
        return Err(Unacceptable::Workchain {
            workchain: account.workchain,
        });
    }
    Ok(())
}

/// The data of an account that runs the code with this hash.
pub(crate) fn data<'a>(of: &'a AccountState, code_hash: &[u8; 32]) -> Result<&'a [u8], Unacceptable> {
    let (code, data) = match &of.status {
        Status::Active { code, data } => (code, data),
        Status::Frozen => return Err(Unacceptable::Frozen),
        Status::Nonexistent | Status::Uninitialised => return Err(Unacceptable::NotThere),
    };
    let code = Boc::decode(code).map_err(|_| Unacceptable::Code)?;
    if code.repr_hash().0 != *code_hash {
        return Err(Unacceptable::Code);
    }
    Ok(data)
}

pub(crate) fn terms(terms: &Terms, keys: &Keys, wanted: &Wanted) -> Result<(), Unacceptable> {
    if terms.network != wanted.network {
        return Err(Unacceptable::TermsNetwork {
            wanted: wanted.network,
            found: terms.network,
        });
    }
    if keys.payee != wanted.payee_key {
        return Err(Unacceptable::PayeeKey);
    }
    if terms.payee != wanted.payee {
        return Err(Unacceptable::Payee);
    }
    if terms.fee_bps != wanted.fee_bps {
        return Err(Unacceptable::FeeBps {
            wanted: wanted.fee_bps,
            found: terms.fee_bps,
        });
    }
    if terms.fee_dest != wanted.fee_dest {
        return Err(Unacceptable::FeeDest);
    }
    let close_delay_s = wanted.close_delay_s.max(LEAST_CLOSE_DELAY_S);
    if terms.close_delay_s < close_delay_s {
        return Err(Unacceptable::CloseDelay {
            wanted: close_delay_s,
            found: terms.close_delay_s,
        });
    }
    check_terms(terms).map_err(Unacceptable::Terms)
}

/// The account never ended. A chain forgets what an account was before it ended, and begins to count anew; who shows
/// transactions of a former life shows one that follows on nothing, or one after which there was no contract. Who shows
/// none may have forgotten it: that is [`first_life`]'s matter.
fn one_life(seen: &Seen<'_>) -> Result<Cursor, Unacceptable> {
    let mut before: Option<Cursor> = None;
    let mut is_born = false;
    for transaction in seen.history {
        let lt = transaction.at.lt;
        let happened =
            Happened::read(&seen.account, transaction).map_err(|why| Unacceptable::Transaction { lt, why })?;
        if before.is_some() && happened.previous.is_none() {
            return Err(Unacceptable::Redeployed { lt });
        }
        if before != happened.previous {
            return Err(Unacceptable::History);
        }
        let is_active = happened.after == Existence::Active;
        if is_born && !is_active {
            return Err(Unacceptable::Redeployed { lt });
        }
        is_born |= is_active;
        before = Some(transaction.at);
    }
    match before {
        Some(last) if seen.state.last == Some(last) && is_born => Ok(last),
        _ => Err(Unacceptable::History),
    }
}
