//! Who tells commands of a chain, and how they say where their knowledge is from.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use billing::{
    Nano,
    channel::{Account, Network},
};
use billing_ton::{
    Chain,
    chain::{AccountState, ChainError, Head},
    contract::{BadPrices, Prices},
    sources::{Sources, SourcesError},
    toncenter::{Settings, SettingsError, Toncenter},
};

use crate::{
    config::{Environment, Timestamp},
    key_file::{self, ReadError},
    tls::{self, TlsError},
};

/// The variable that is looked at where no file with the API key is named.
const API_KEY: &str = "MULBERRY_CHAIN_API_KEY";
/// What may depend on the word of one source: 100 GRAM (TON).
const ABOVE: Nano = Nano::saturating(100 * Nano::UNIT);

/// Prices change by a vote of the network, and are asked for again after so long.
const PRICES_ARE_GOOD: Duration = Duration::from_secs(600);

/// One source of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainFrom {
    /// The URL of a toncenter's API of version 2.
    Toncenter(String),
    /// The folder of a simulated chain.
    #[cfg(feature = "demo")]
    Simulated(PathBuf),
}

/// Why nobody tells of the chain, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainSourceError {
    #[error("nobody is known who tells of the network {0}; name a source with --chain URL")]
    NoDefault(Network),
    #[error("at most two sources are asked, and these are {0}")]
    TooMany(usize),
    #[error("cannot read the API key from '{}'", path.display())]
    Key { path: PathBuf, source: std::io::Error },
    #[error("others may read '{}'; run `chmod 600` on it, and ask for another key", .0.display())]
    Exposed(PathBuf),
    #[error("the source '{url}' cannot be used")]
    Settings { url: String, source: SettingsError },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[cfg(feature = "demo")]
    #[error(transparent)]
    Simulated(#[from] billing_ton_sim::OpenError),
}

/// Why a chain tells nothing, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainSilent {
    #[error("{who} was asked; try again, or another source with --chain")]
    Account { who: String, source: SourcesError },
    #[error("{who} was asked for the chain's prices; try again, or another source with --chain")]
    Prices { who: String, source: ChainError },
    #[error("{who} does not tell the chain's prices; name another source with --chain")]
    NoPrices { who: String },
    #[error("{who} tells prices that cannot be read; name another source with --chain")]
    BadPrices { who: String, source: BadPrices },
}

impl ChainFrom {
    /// Reads a URL, or `simulated:FOLDER`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[cfg(feature = "demo")]
        if let Some(folder) = text.strip_prefix("simulated:").filter(|folder| !folder.is_empty()) {
            return Ok(Self::Simulated(folder.into()));
        }
        match text.split_once("://") {
            // It would be shown wherever the source is named.
            Some(("https" | "http", rest)) if rest.split(['/', '?']).next().is_some_and(|host| host.contains('@')) => {
                Err(
                    "leave out the name and password before the @: a key for the API has a setting of its own"
                        .to_owned(),
                )
            }
            Some(("https" | "http", rest)) if !rest.is_empty() => Ok(Self::Toncenter(text.to_owned())),
            _ => Err("write the URL of a toncenter API, such as https://toncenter.com/api/v2".to_owned()),
        }
    }

    /// Who is asked where nobody is named.
    fn of(network: Network) -> Option<Self> {
        let url = match network {
            Network::MAINNET => "https://toncenter.com/api/v2",
            Network::TESTNET => "https://testnet.toncenter.com/api/v2",
            _ => return None,
        };
        Some(Self::Toncenter(url.to_owned()))
    }

    /// The host, for people.
    fn name(&self) -> &str {
        match self {
            Self::Toncenter(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                rest.split(['/', '?']).next().unwrap_or(rest)
            }
            #[cfg(feature = "demo")]
            Self::Simulated(_) => "a simulated chain, whose coins are worth nothing",
        }
    }
}

/// A chain, and who tells of it.
pub(crate) struct ChainSource {
    sources: Sources,
    names: Vec<String>,
    /// What was told last, and when.
    prices: Mutex<Option<(Instant, Prices)>>,
}

impl ChainSource {
    pub(crate) fn new(
        named: &[ChainFrom],
        api_key_file: Option<&Path>,
        network: Network,
        environment: &dyn Environment,
    ) -> Result<Self, ChainSourceError> {
        Self::with_key(named, api_key(api_key_file, environment)?, network)
    }

    pub(crate) fn with_key(
        named: &[ChainFrom],
        key: Option<String>,
        network: Network,
    ) -> Result<Self, ChainSourceError> {
        let default = if named.is_empty() { ChainFrom::of(network) } else { None };
        let asked: Vec<&ChainFrom> = named.iter().chain(&default).collect();
        let (first, second) = match asked[..] {
            [] => return Err(ChainSourceError::NoDefault(network)),
            [first] => (first, None),
            [first, second] => (first, Some(second)),
            _ => return Err(ChainSourceError::TooMany(asked.len())),
        };
        let open = |from: &ChainFrom| open(from, key.clone(), network);
        Ok(Self {
            sources: Sources::new(open(first)?, second.map(open).transpose()?, ABOVE),
            names: asked.iter().map(|from| from.name().to_owned()).collect(),
            prices: Mutex::new(None),
        })
    }

    /// All of them, of which two are asked where much is at stake.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The one that messages are handed to.
    pub(crate) fn chain(&self) -> &Arc<dyn Chain> {
        self.sources.first()
    }

    /// An account, of which both sources must say the same where there are two.
    pub(crate) async fn account(&self, account: Account) -> Result<AccountState, ChainSilent> {
        let at_stake = if self.names.len() > 1 { Nano::MOST } else { Nano::ZERO };
        self.account_for(account, at_stake).await
    }

    /// An account on whose state `at_stake` depends: much of it needs two sources.
    pub(crate) async fn account_for(&self, account: Account, at_stake: Nano) -> Result<AccountState, ChainSilent> {
        let told = self.sources.account(account, at_stake).await;
        told.map_err(|source| ChainSilent::Account {
            who: self.who(),
            source,
        })
    }

    /// What messages to channels cost, as it was some minutes ago at most.
    pub(crate) async fn prices(&self) -> Result<Prices, ChainSilent> {
        let known = self.prices.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, prices)) = known.filter(|(at, _)| at.elapsed() < PRICES_ARE_GOOD) {
            return Ok(prices);
        }
        let (gas, forwarding) = (self.parameter(21).await?, self.parameter(25).await?);
        let prices = Prices::read(&gas, &forwarding).map_err(|source| ChainSilent::BadPrices {
            who: self.who(),
            source,
        })?;
        *self.prices.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), prices.clone()));
        Ok(prices)
    }

    async fn parameter(&self, index: u32) -> Result<Vec<u8>, ChainSilent> {
        let told = self.chain().config_parameter(index).await;
        let told = told.map_err(|source| ChainSilent::Prices {
            who: self.who(),
            source,
        })?;
        told.ok_or_else(|| ChainSilent::NoPrices { who: self.who() })
    }

    fn who(&self) -> String {
        self.names.join(" and ")
    }

    /// Who says it, of which block: `toncenter.com, block 5 of 2026-11-22T15:00:00Z`.
    pub(crate) fn as_of(&self, head: Head) -> String {
        let time = Timestamp::from_unix_seconds(head.time.into());
        format!("{}, block {} of {time}", self.who(), head.seqno)
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

fn open(from: &ChainFrom, api_key: Option<String>, network: Network) -> Result<Arc<dyn Chain>, ChainSourceError> {
    let url = match from {
        ChainFrom::Toncenter(url) => url,
        #[cfg(feature = "demo")]
        ChainFrom::Simulated(folder) => {
            return Ok(Arc::new(simulated(folder, network)?));
        }
    };
    let tls = if url.starts_with("https") {
        Some(tls::client(None)?)
    } else {
        None
    };
    let settings = Settings {
        network,
        url: url.clone(),
        api_key,
    };
    let chain = Toncenter::new(settings, tls.as_deref()).map_err(|source| ChainSourceError::Settings {
        url: url.clone(),
        source,
    })?;
    Ok(Arc::new(chain))
}

/// The simulated chain in a folder, which nobody else may have open; begun if there is none.
#[cfg(feature = "demo")]
pub(crate) fn simulated(
    folder: &Path,
    network: Network,
) -> Result<billing_ton_sim::Simulated, billing_ton_sim::OpenError> {
    let settings = billing_ton_sim::Settings {
        network,
        ..billing_ton_sim::Settings::for_development()
    };
    billing_ton_sim::Simulated::open(folder, settings)
}

fn api_key(file: Option<&Path>, environment: &dyn Environment) -> Result<Option<String>, ChainSourceError> {
    let Some(path) = file else {
        return Ok(environment.variable(API_KEY).filter(|key| !key.is_empty()));
    };
    let text = key_file::read(path).map_err(|error| match error {
        ReadError::Io(source) => ChainSourceError::Key {
            path: path.to_owned(),
            source,
        },
        ReadError::Exposed => ChainSourceError::Exposed(path.to_owned()),
    })?;
    Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_urls_with_a_name() {
        for (text, name) in [
            ("https://toncenter.com/api/v2", "toncenter.com"),
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://[::1]:80/api/v2/jsonRPC?x=1", "[::1]:80"),
        ] {
            let from = ChainFrom::parse(text).expect("a URL");
            assert_eq!(from.name(), name);
        }
        for text in ["", "toncenter.com", "ftp://a", "https://"] {
            assert!(ChainFrom::parse(text).is_err(), "for {text:?}");
        }
    }
}
