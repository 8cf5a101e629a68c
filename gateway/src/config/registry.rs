//! The section about the registry: who, besides the operator, says what is allowed.

use std::time::Duration;

use billing::channel::{Account, Network};
use billing_ton::address;

use super::decode::Section;
use super::payments::NetworkName;
use super::problem::Problems;
use super::schema::section;
use super::secret::Secret;
use crate::{chain_source::ChainFrom, registrar::unfit};

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
        if let Some(fix) = unfit(registry.every, registry.keep) {
            section.report("every", "does not fit what registries are, or `keep`", fix, problems);
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
