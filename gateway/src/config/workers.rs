//! The section about all workers: how they are paid.

use std::path::PathBuf;
use std::time::Duration;

use billing::Nano;
use billing::channel::Network;

use super::decode::Section;
use super::payments::NetworkName;
use super::problem::Problems;
use super::schema::section;
use super::secret::Secret;

section! {
    /// What concerns all workers.
    pub(crate) struct Workers {
        /// How workers that ask for it are paid; without it they work for nothing.
        pay: Option<Pay> = None,
    }
}

section! {
    /// How workers are paid: by payment channels on TON, in GRAM, at the prices that they ask.
    pub(crate) struct Pay {
        /// `mainnet`, `testnet`, or the global id of another chain.
        network: NetworkName = NetworkName(Network::MAINNET),
        /// Sources of the chain that speak toncenter's API; without any, toncenter.com's of the network. Where there are two, both must agree on what costs much.
        chain: Vec<String> = Vec::new(),
        /// Sent to the sources as `X-API-Key`.
        chain_api_key: Option<Secret> = None,
        /// How often the chain is asked about channels that are open.
        follow: Duration = Duration::from_secs(10),
        /// The key file of the wallet that pays, which `mulberry wallet create` makes. Nothing else may pay from it.
        wallet_file: PathBuf,
        /// A file with its passphrase; otherwise `MULBERRY_WALLET_PASSPHRASE` is taken.
        passphrase_file: Option<PathBuf> = None,
        /// What is paid in to a channel at first, and again when it runs low, in GRAM (TON).
        deposit: Nano = Nano::saturating(5 * Nano::UNIT),
        /// More is paid in when less than this is left.
        top_up_below: Nano = Nano::saturating(Nano::UNIT),
        /// Signed for a worker and not earned, at most: what it could run away with.
        exposure_cap: Nano = Nano::saturating(Nano::UNIT / 2),
        /// Signed ahead of work for a worker that has proved what it is.
        window: Nano = Nano::saturating(Nano::UNIT / 5),
        /// What a worker may take beyond what it earned before it is quarantined, in all; a hundredth of what it earned comes on top. Two that count honestly differ by a little.
        tolerance: Nano = Nano::saturating(Nano::UNIT / 10),
        /// The same as `exposure_cap`, over all workers.
        exposure_total: Nano = Nano::saturating(10 * Nano::UNIT),
        /// What may lie in channels, over all workers.
        capital_total: Nano = Nano::saturating(100 * Nano::UNIT),
        /// What may lie in channels to one payout address.
        capital_of_owner: Nano = Nano::saturating(20 * Nano::UNIT),
        /// What a worker has earned before a channel to it is opened; until then it is owed.
        open_above: Nano = Nano::saturating(Nano::UNIT),
        /// How long what was earned may be disputed; a worker that proves nothing has no voucher for it until then.
        matures_after: Duration = Duration::from_secs(3600),
        /// What a worker must have taken for the gateway to pay the gas of settling it.
        settle_least: Nano = Nano::saturating(Nano::UNIT / 20),
        /// The longest that a worker may have the rest of a deposit wait when its channel closes.
        max_close_delay: Duration = Duration::from_secs(48 * 3600),
        max_price: MaxPrice = super::unwritten(),
    }
    check |pay: &Pay, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("deposit", pay.deposit.is_zero()),
                ("exposure_cap", pay.exposure_cap.is_zero()),
                ("window", pay.window.is_zero()),
            ],
            problems,
        );
        if pay.window > pay.exposure_cap {
            let fix = "make `window` less, or `exposure_cap` more";
            section.report("window", "is more than `exposure_cap` allows to be at risk", fix, problems);
        }
        if pay.max_close_delay < Duration::from_secs(3600) {
            section.report("max_close_delay", "is less than any worker takes", "write an hour or more", problems);
        }
        if pay.open_above > pay.deposit {
            let fix = "pay in at least what is owed by then";
            section.report("deposit", "is less than `open_above`: what is owed would not fit", fix, problems);
        }
        if pay.chain.len() > 2 {
            section.report("chain", "has more than two sources", "keep two that have nothing to do with each other", problems);
        }
        for (i, url) in pay.chain.iter().enumerate() {
            let is_url = url.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
            });
            if !is_url {
                let fix = "write a URL such as https://toncenter.com/api/v2";
                section.report(&format!("chain[{i}]"), "is not the address of a source", fix, problems);
            }
        }
        if pay.chain.is_empty() && !matches!(pay.network.0, Network::MAINNET | Network::TESTNET) {
            section.report("chain", "nobody is known who tells of this network", "name a source", problems);
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&pay.follow) {
            section.report("follow", "is too often, or too seldom", "write a time from 100ms to 1h", problems);
        }
    }
}

section! {
    /// What a worker may ask; one that asks more gets no requests. In GRAM (TON), for a million tokens and for a request; `null` is anything.
    pub(crate) struct MaxPrice {
        prompt: Option<Nano> = None,
        completion: Option<Nano> = None,
        request: Option<Nano> = None,
    }
}

impl MaxPrice {
    /// Whether it bounds whatever a worker may ask.
    pub(super) fn is_whole(&self) -> bool {
        self.prompt.is_some() && self.completion.is_some() && self.request.is_some()
    }
}

impl Pay {
    pub(crate) fn network(&self) -> Network {
        self.network.0
    }
}
