//! Showing settlements to their contracts: what a message says, what it is to bring about, what it is worth, and the
//! settler that pays for it from a wallet.

use std::path::{Path, PathBuf};

use billing::{
    Nano,
    channel::{OnChain, Settlement},
};
use billing_ton::{
    Seed, Wallet,
    contract::{Operation, Prices, Request, Settle},
    settler::{
        self, Goal, Job, JournalError, Settler,
        drive::{FileKeep, LoadError},
    },
};

/// Why a settler does not start. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettlerError {
    #[error("the wallet cannot go on with the payments in '{}'", path.display())]
    Load { path: PathBuf, source: LoadError },
    #[error("the wallet cannot go on with the payments in '{}'; use the wallet that began them, or another place for them", path.display())]
    Journal { path: PathBuf, source: JournalError },
    #[error("the key is not that of the wallet")]
    Wallet(#[from] settler::StartError),
}

/// Goes on with what was begun, or begins.
pub(crate) async fn settler(path: &Path, wallet: Wallet, seed: Seed) -> Result<(Settler, FileKeep), SettlerError> {
    let keep = FileKeep(path.to_owned());
    let journal = keep.load().await.map_err(|source| SettlerError::Load {
        path: path.to_owned(),
        source,
    })?;
    let usual = settler::Settings::USUAL;
    let settler = match journal {
        None => Settler::new(wallet, seed, usual)?,
        Some(journal) => Settler::restore(wallet, seed, usual, &journal).map_err(|source| SettlerError::Journal {
            path: path.to_owned(),
            source,
        })?,
    };
    Ok((settler, keep))
}

/// What a settlement brings where the channel stands.
pub(crate) fn unpaid(settlement: &Settlement, on_chain: &OnChain) -> Nano {
    let due = settlement.take().amount().min(on_chain.deposited);
    due.saturating_sub(on_chain.claimed)
}

pub(crate) fn operation(settlement: &Settlement) -> Operation {
    if settlement.take().is_last() {
        Operation::Close
    } else {
        Operation::Settle
    }
}

pub(crate) fn job(settlement: &Settlement, operation: Operation, prices: &Prices) -> Job {
    let goal = match operation {
        // It pays, gives the rest back, and is gone.
        Operation::Close => Goal::Gone,
        _ => Goal::Claimed(settlement.take().amount()),
    };
    Job {
        channel: settlement.channel().account,
        goal,
        amount: prices.bring(operation),
        body: Request::Settle(Settle::of(settlement, 0)).encode(),
        init: None,
    }
}
