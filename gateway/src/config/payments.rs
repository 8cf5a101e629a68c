//! The section about payment channels on TON: whom clients pay, on which chain, and on what terms.

use std::path::PathBuf;
use std::time::Duration;

use billing::Nano;
use billing::channel::{Account, Network};
use billing_ton::address;

use super::decode::{Decode, Section, scalar};
use super::describe::{self, Definitions, Describe};
use super::document::Node;
use super::problem::Problems;
use super::schema::section;
use super::secret::Secret;
use super::show::{Show, Shown};

/// A payee needs an hour at least to notice that a payer is closing, and to settle.
const LEAST_CLOSE_DELAY: Duration = Duration::from_secs(3600);
/// Beyond it the payer's rest is locked for too long.
const MOST_CLOSE_DELAY: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A proof that is good for longer is a password.
const MOST_ACCESS: Duration = Duration::from_secs(3600);

section! {
    /// How clients pay: by payment channels on TON, in GRAM.
    pub(crate) struct Payments {
        /// `mainnet`, `testnet`, or the global id of another chain.
        network: NetworkName = NetworkName(Network::MAINNET),
        /// Sources of the chain that speak toncenter's API, such as https://toncenter.com/api/v2; the second is asked where much is at stake.
        chain: Vec<String>,
        /// Sent to the sources as `X-API-Key`.
        chain_api_key: Option<Secret> = None,
        /// What one source of the chain may be believed for, in GRAM (TON); for more, two must agree.
        two_sources_above: Nano = Nano::saturating(100 * Nano::UNIT),
        /// How often the chain is asked about channels that are open.
        follow: Duration = Duration::from_secs(10),
        /// The address that what is earned goes to.
        payout: String,
        /// A file with the Ed25519 seed that signs what is taken, in hexadecimal; made at the first start and kept in `data_dir` where it is not set.
        key_file: Option<PathBuf> = None,
        /// The least that a channel has to hold to be taken, in GRAM (TON): each takes a place and is followed.
        min_deposit: Nano = Nano::saturating(Nano::UNIT / 100),
        /// How long a payer waits for its rest at least: the time that there is to settle in.
        min_close_delay: Duration = Duration::from_secs(24 * 60 * 60),
        /// Parts of 10000 of what is taken, for `fee_dest`.
        fee_bps: u32 = 0,
        /// The address that the fee goes to; without one it is `payout`.
        fee_dest: Option<String> = None,
        /// How far the clock of an access proof may be from ours.
        access_window: Duration = Duration::from_secs(300),
        settle: Settle = super::unwritten(),
        /// A wallet of `mulberry wallet create` that pays the gas of settlements; without one, what is signed is told and others settle it.
        wallet_file: Option<PathBuf> = None,
        /// A file with the wallet's passphrase; without one it is taken from MULBERRY_WALLET_PASSPHRASE.
        passphrase_file: Option<PathBuf> = None,
        /// A folder into which the newest settlement of each channel is written, for `mulberry watch`.
        watch: Option<PathBuf> = None,
    }
    check |payments: &Payments, section: &Section<'_>, problems: &mut Problems| {
        if section.is_empty_list("chain") {
            section.report("chain", "is empty", "name a source, such as https://toncenter.com/api/v2", problems);
        }
        for (i, url) in payments.chain.iter().enumerate() {
            let is_url = url.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
                    // It would be shown wherever the source is named.
                    && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            });
            if !is_url {
                let fix = "write a URL such as https://toncenter.com/api/v2";
                section.report(&format!("chain[{i}]"), "is not the address of a source", fix, problems);
            }
        }
        if payments.chain.len() > 2 {
            section.report("chain", "has more than two sources", "keep two that have nothing to do with each other", problems);
        }
        let mut check = |key: &str, text: &str| {
            let network = payments.network.0;
            match address::parse(text, network) {
                Ok(Account { workchain: 0, .. }) => {}
                Ok(_) => section.report(key, "is not in workchain 0, where channels pay", "name an account of workchain 0", problems),
                Err(error) => section.report(key, error.to_string(), "copy the address from the wallet", problems),
            }
        };
        if section.has("payout") {
            check("payout", &payments.payout);
        }
        if let Some(fee_dest) = &payments.fee_dest {
            check("fee_dest", fee_dest);
        }
        if payments.fee_bps > 10_000 {
            section.report("fee_bps", "is more than the whole", "write parts of 10000, such as 250 for 2.5 %", problems);
        }
        if payments.fee_bps > 0 && payments.fee_dest.is_none() {
            section.report("fee_bps", "goes to nobody", "add `fee_dest`", problems);
        }
        if payments.passphrase_file.is_some() && payments.wallet_file.is_none() {
            section.report("passphrase_file", "is for no wallet", "add `wallet_file`", problems);
        }
        if !(LEAST_CLOSE_DELAY..=MOST_CLOSE_DELAY).contains(&payments.min_close_delay) {
            section.report("min_close_delay", "is too short to settle in, or too long to wait for", "write a time from 1h to 2160h", problems);
        }
        if payments.access_window > MOST_ACCESS || payments.access_window < Duration::from_secs(1) {
            section.report("access_window", "is no time that a proof may be good for", "write a time from 1s to 1h", problems);
        }
        if !(Duration::from_millis(100)..=LEAST_CLOSE_DELAY).contains(&payments.follow) {
            let fix = "write a time from 100ms to 1h";
            section.report("follow", "is too often, or too seldom to see a payer close", fix, problems);
        }
    }
}

section! {
    /// When what was earned is signed, to be taken out of a channel.
    pub(crate) struct Settle {
        /// As soon as so much was earned, in GRAM (TON).
        above: Nano = Nano::saturating(Nano::UNIT / 2),
        /// And whatever was earned, so often.
        every: Duration = Duration::from_secs(24 * 60 * 60),
    }
}

impl Payments {
    /// Where what is earned goes. The address was checked.
    pub(crate) fn payout(&self) -> Option<Account> {
        address::parse(&self.payout, self.network.0).ok()
    }

    /// Where the fee goes.
    pub(crate) fn fee_dest(&self) -> Option<Account> {
        match &self.fee_dest {
            Some(text) => address::parse(text, self.network.0).ok(),
            None => self.payout(),
        }
    }
}

/// A chain of TON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NetworkName(pub(crate) Network);

impl Decode for NetworkName {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a network", problems)?;
        let network = match text {
            "mainnet" => Some(Network::MAINNET),
            "testnet" => Some(Network::TESTNET),
            id => id.parse().ok().map(Network),
        };
        if network.is_none() {
            let message = format!("{} is not a network", node.quoted());
            let fix = "write `mainnet`, `testnet`, or a global id such as -239";
            problems.report(&node.place, key, message, fix);
        }
        network.map(Self)
    }
}

impl Describe for NetworkName {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::any_text()
    }
}

impl Show for NetworkName {
    fn show(&self) -> Shown {
        Shown::Plain(match self.0 {
            Network::MAINNET => "mainnet".to_owned(),
            Network::TESTNET => "testnet".to_owned(),
            Network(id) => id.to_string(),
        })
    }
}
