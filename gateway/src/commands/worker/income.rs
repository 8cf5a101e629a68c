//! What `mulberry worker` is paid, from its flags.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

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

/// Of others no channel can be opened: its payee could not settle in time, or its payer waits too long.
const CLOSE_DELAYS: RangeInclusive<Duration> = Duration::from_secs(3_600)..=Duration::from_secs(90 * 86_400);

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
    #[error("--min-close-delay is {}, and gateways open channels with 1h to 90d", humantime::format_duration(*.0))]
    CloseDelay(Duration),
    #[error("--chain-every is at least 100ms, and --settle-every 1s")]
    Often,
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
    check_times(pay.min_close_delay, pay.chain_every, pay.settle_every)?;
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

fn check_times(close_delay: Duration, chain_every: Duration, settle_every: Duration) -> Result<(), PayError> {
    if !CLOSE_DELAYS.contains(&close_delay) {
        return Err(PayError::CloseDelay(close_delay));
    }
    if chain_every < Duration::from_millis(100) || settle_every < Duration::from_secs(1) {
        return Err(PayError::Often);
    }
    Ok(())
}

/// Beside the worker's key, where none is named.
fn folder(args: &WorkerArgs) -> Folder {
    let named: Option<PathBuf> = args.pay.earnings.clone();
    Folder::new(named.unwrap_or_else(|| args.key_file.with_extension("earnings")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_channel_can_have_are_refused_at_the_start() {
        let check = |delay_s: u64, chain_ms: u64, settle_s: u64, expect: bool| {
            let (delay, chain) = (Duration::from_secs(delay_s), Duration::from_millis(chain_ms));
            let outcome = check_times(delay, chain, Duration::from_secs(settle_s));
            assert_eq!(outcome.is_ok(), expect, "{outcome:?}");
        };
        check(3_600, 100, 1, true);
        check(90 * 86_400, 30_000, 86_400, true);
        check(600, 30_000, 86_400, false);
        check(91 * 86_400, 30_000, 86_400, false);
        check(86_400, 0, 86_400, false);
        check(86_400, 30_000, 0, false);
    }
}
