//! The flags by which programs name a registry.

use std::{path::PathBuf, time::Duration};

use backends::serve::BoxError;
use billing::{
    channel::{Account, Network},
    receipt::to_hex,
};
use billing_ton::address;
use clap::Args;

use super::chain::ChainFlags;
use crate::{
    chain_source::ChainSource,
    config::{Process, duration},
    registrar::{Registrar, Settings, unfit},
};

#[derive(Debug, Args)]
pub(crate) struct RegistryFlags {
    /// The address of a registry on TON, which takes away from what is believed here and adds nothing; it is asked of --chain
    #[arg(long, global = true, env = "MULBERRY_REGISTRY", value_name = "ADDRESS")]
    pub(crate) registry: Option<String>,
    /// The chain that the registry is on: mainnet, testnet, or the global id of another one
    #[arg(long, global = true, env = "MULBERRY_REGISTRY_NETWORK", default_value = "mainnet", value_parser = super::wallet::network, allow_hyphen_values = true, value_name = "NETWORK")]
    pub(crate) registry_network: Network,
    /// How often the registry is read
    #[arg(long, global = true, env = "MULBERRY_REGISTRY_EVERY", default_value = "5m", value_parser = time, value_name = "TIME")]
    pub(crate) registry_every: Duration,
    /// For how long what was read last holds while nobody answers
    #[arg(long, global = true, env = "MULBERRY_REGISTRY_KEEP", default_value = "24h", value_parser = time, value_name = "TIME")]
    pub(crate) registry_keep: Duration,
    /// Where what was read is kept, so that nobody can show an earlier state [default: among your own data; of a worker, beside --key-file]
    #[arg(long, global = true, env = "MULBERRY_REGISTRY_FILE", value_name = "FILE")]
    pub(crate) registry_file: Option<PathBuf>,
}

/// Why a registry cannot be followed.
#[derive(Debug, thiserror::Error)]
enum FlagError {
    #[error("--registry is no address")]
    Address(#[source] address::AddressError),
    #[error("--registry names an account of workchain {0}, and registries are in workchain 0")]
    Workchain(i8),
    #[error("--registry-every and --registry-keep do not fit: {0}")]
    Times(&'static str),
    #[error("what is read of the registry must be kept; name a file with --registry-file")]
    NoFile,
}

impl RegistryFlags {
    /// `usual`: where it is kept, unless somewhere else was said.
    pub(crate) async fn open(&self, chain: &ChainFlags, usual: Option<PathBuf>) -> Result<Registrar, BoxError> {
        let Some(text) = &self.registry else {
            return Ok(Registrar::default());
        };
        let network = self.registry_network;
        let account: Account = address::parse(text, network).map_err(FlagError::Address)?;
        if account.workchain != 0 {
            return Err(FlagError::Workchain(account.workchain).into());
        }
        if let Some(fix) = unfit(self.registry_every, self.registry_keep) {
            return Err(FlagError::Times(fix).into());
        }
        // One for each registry: what was seen of one says nothing of another.
        let [a, b, c, d, ..] = account.hash;
        let name = format!("{}.{}.json", network.0, to_hex(&[a, b, c, d]));
        let usual = usual.map(|path| path.with_extension(name));
        let file = self.registry_file.clone().or(usual).ok_or(FlagError::NoFile)?;
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            billing_store::private_folder(folder)?;
        }
        let key = chain.chain_api_key_file.as_deref();
        let settings = Settings {
            account,
            network,
            source: ChainSource::new(&chain.chain, key, network, &Process)?,
            every: self.registry_every,
            keep: self.registry_keep,
            file: Some(file),
        };
        Ok(Registrar::open(settings).await?)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "write a whole number and a unit: 500ms, 5s, 2m, 1h".to_owned();
    duration(text).filter(|time| !time.is_zero()).ok_or_else(wrong)
}
