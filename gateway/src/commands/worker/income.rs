//! What `mulberry worker` is paid, from its flags.

use std::path::PathBuf;

use backends::serve::BoxError;
use billing_ton::address::{self, AddressError};

use crate::{
    chain_source::ChainSource,
    cli::worker::WorkerArgs,
    commands::wallet::{name, shown},
    config::Process,
    control::Prices,
    worker::{Income, IncomeSettings, income::journal::Folder},
};

/// Why nobody can pay this worker. In order of precedence.
#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error("--payout is no address that this worker can be paid at")]
    Payout(#[source] AddressError),
    #[error("--fee-dest is no address")]
    FeeDest(#[source] AddressError),
    #[error("--fee-bps is more than the whole; write parts of 10000, such as 250 for 2.5 %")]
    Fee,
    #[error("--fee-bps goes to nobody; add --fee-dest")]
    NoFeeDest,
    #[error("payments go to workchain 0, and this address is of another; copy the address from the wallet")]
    Workchain,
}

/// Where its work is to be paid for, and what is owed from before.
pub(super) async fn open(args: &WorkerArgs) -> Result<Option<Income>, BoxError> {
    let pay = &args.pay;
    let Some(payout) = &pay.payout else {
        return Ok(None);
    };
    let payout = address::parse(payout, pay.network).map_err(PayError::Payout)?;
    let fee_dest = match &pay.fee_dest {
        Some(text) => address::parse(text, pay.network).map_err(PayError::FeeDest)?,
        None if pay.fee_bps > 0 => return Err(PayError::NoFeeDest.into()),
        None => payout,
    };
    if pay.fee_bps > 10_000 {
        return Err(PayError::Fee.into());
    }
    if payout.workchain != 0 || fee_dest.workchain != 0 {
        return Err(PayError::Workchain.into());
    }
    let key = pay.chain.chain_api_key_file.as_deref();
    let chain = ChainSource::new(&pay.chain.chain, key, pay.network, &Process)?;
    let price = Prices {
        prompt: pay.price_prompt.get(),
        cached: pay.price_cached.unwrap_or(pay.price_prompt).get(),
        completion: pay.price_completion.get(),
        request: pay.price_request.get(),
    };
    let folder = folder(args);
    tracing::info!(
        network = name(pay.network),
        payout = shown(payout, pay.network),
        prompt = %pay.price_prompt,
        completion = %pay.price_completion,
        request = %pay.price_request,
        folder = %folder.path().display(),
        "this worker is to be paid, in GRAM (TON) for a million tokens and for a request"
    );
    let settings = IncomeSettings {
        folder,
        network: pay.network,
        payout,
        fee_bps: pay.fee_bps,
        fee_dest,
        close_delay_s: u32::try_from(pay.min_close_delay.as_secs()).unwrap_or(u32::MAX),
        price,
        chain,
        follow: pay.chain_every,
        settle_above: pay.settle_above,
        settle_every: pay.settle_every,
        credit: pay.credit,
    };
    Ok(Some(Income::open(settings).await?))
}

/// Beside the worker's key, where none is named.
fn folder(args: &WorkerArgs) -> Folder {
    let named: Option<PathBuf> = args.pay.earnings.clone();
    Folder::new(named.unwrap_or_else(|| args.key_file.with_extension("earnings")))
}
