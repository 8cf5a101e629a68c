//! The section about the registry: who, besides the operator, says what is allowed.

use std::time::Duration;

use billing::channel::{Account, Network};
use billing_ton::address;

use super::decode::Section;
use super::payments::NetworkName;
use super::problem::Problems;
use super::schema::section;
use super::secret::Secret;
use crate::chain_source::ChainFrom;

/// A registry's changes wait for an hour at least: whoever asks more seldom may miss one.
const MOST_SELDOM: Duration = Duration::from_secs(3600);
/// What is older says nothing about now.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

section! {
    /// A registry on TON that takes away from what this gateway allows, and adds nothing.
    pub(crate) struct Registry {
        /// Its address: nobody can change its code, and its first owners follow from it.
        address: String,
        /// `mainnet`, `testnet`, or the global id of another chain.
        network: NetworkName = NetworkName(Network::MAINNET),
        /// Sources of the chain that speak toncenter's API; without any, toncenter.com's of the network. Where there are two, both must say the same.
        chain: Vec<String> = Vec::new(),
        /// Sent to the sources as `X-API-Key`.
        chain_api_key: Option<Secret> = None,
        /// How often it is read.
        every: Duration = Duration::from_secs(5 * 60),
        /// For how long what was read last holds while nobody answers; after that no evidence is accepted.
        keep: Duration = Duration::from_secs(24 * 60 * 60),
    }
    check |registry: &Registry, section: &Section<'_>, problems: &mut Problems| {
        if section.has("address") {
            match address::parse(&registry.address, registry.network.0) {
                Ok(Account { workchain: 0, .. }) => {}
                Ok(_) => section.report("address", "is not in workchain 0, where registries are", "name an account of workchain 0", problems),
                Err(error) => section.report("address", error.to_string(), "copy the address from whoever runs the registry", problems),
            }
        }
        for (i, text) in registry.chain.iter().enumerate() {
            if let Err(fix) = ChainFrom::parse(text) {
                section.report(&format!("chain[{i}]"), "is not the address of a source", fix, problems);
            }
        }
        if registry.chain.len() > 2 {
            section.report("chain", "has more than two sources", "keep two that have nothing to do with each other", problems);
        }
        if registry.chain.is_empty() && !matches!(registry.network.0, Network::MAINNET | Network::TESTNET) {
            section.report("chain", "nobody is known who tells of this network", "name a source", problems);
        }
        if !(Duration::from_millis(100)..=MOST_SELDOM).contains(&registry.every) {
            section.report("every", "is too often, or too seldom to see a change", "write a time from 100ms to 1h", problems);
        }
        if registry.keep < registry.every || registry.keep > LONGEST {
            section.report("keep", "is less than `every`, or more than 30 days", "write a time from that of `every` to 720h", problems);
        }
    }
}

impl Registry {
    pub(crate) fn network(&self) -> Network {
        self.network.0
    }

    /// The address was checked.
    pub(crate) fn account(&self) -> Option<Account> {
        address::parse(&self.address, self.network.0).ok()
    }
}
