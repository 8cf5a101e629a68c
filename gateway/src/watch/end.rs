//! How a channel ended: what its payee's account got of it, where the channel itself tells no more.
//!
//! Sources forget what an account did that is no more. When the last payment and the end come between two looks, the
//! payment shows in the history of the payee's account alone. Where that account stood is noted while the channel is
//! there, so that little has to be read.

use billing::{Nano, channel::Account};
use billing_ton::{
    Chain,
    chain::{ChainError, Cursor, Transaction},
    contract::Remittance,
    transaction::{Happened, Inbound},
};

/// Transactions of a payee's account that are read for one channel.
const MOST: usize = 4_096;

/// Where the payee's account stood while the channel was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) payee: Account,
    pub(super) since: Option<Cursor>,
}

impl Before {
    pub(super) async fn note(chain: &dyn Chain, payee: Account) -> Result<Self, ChainError> {
        let since = chain.account(payee).await?.last;
        Ok(Self { payee, since })
    }

    /// What the channel says that it paid in all, as far as its payee was told since.
    pub(super) async fn paid(&self, chain: &dyn Chain, channel: &Account) -> Result<Nano, ChainError> {
        let history = chain.transactions(self.payee, self.since, MOST).await?;
        Ok(paid(&self.payee, channel, &history))
    }
}

fn paid(payee: &Account, channel: &Account, history: &[Transaction]) -> Nano {
    let of = |transaction: &Transaction| match Happened::read(payee, transaction).ok()?.inbound? {
        Inbound::Internal {
            from,
            is_bounced: false,
            body,
            ..
        } if from == *channel => match Remittance::decode(&body).ok()? {
            Remittance::Payout { cumulative, .. } => Some(cumulative),
            _ => None,
        },
        _ => None,
    };
    history.iter().filter_map(of).max().unwrap_or(Nano::ZERO)
}
