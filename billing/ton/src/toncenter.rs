//! A chain over HTTP: toncenter's API, version 2, as toncenter.com, ton-http-api and the simulated chain speak it.
//!
//! Nothing that it answers is proven. What can be checked without a second source is: that a transaction is what its
//! hash says, that each names the one before it, and that the last names our cursor. What an account holds is its word
//! alone: [`crate::sources`] asks a second one where much is at stake.
//!
//! Before anything else it is asked once for the network's number (parameter 19 of the configuration): a server of another
//! network is refused, and so is one that does not say.
//! It refuses redirects, answers beyond 8 MiB, and waits 20 seconds at most, for a whole history a minute and the places in
//! time of its pages.
//! Questions are paced ([`pace`]): a public server without a key is asked once a second, with one ten times, one of this
//! machine as fast as it answers; each as fast as it turns out to allow. [`Chain::for_strangers`] is the same server for what
//! others can make us ask, and has a third of the places at most.
//! An account that was deleted has no history here: the API of version 2 finds it through the account. Its absence is
//! seen by its state; one that began anew since it was last asked about is an error, [`ChainError::Anew`].
//!
//! ```no_run
//! # async fn example(tls: &rustls::ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use billing::channel::Network;
//! use billing_ton::{Chain as _, toncenter::{Settings, Toncenter}};
//!
//! let chain = Toncenter::new(Settings {
//!     network: Network::MAINNET,
//!     url: "https://toncenter.com/api/v2".to_owned(),
//!     api_key: None,
//! }, Some(tls))?;
//! println!("the newest block is {}", chain.head().await?.seqno);
//! # Ok(()) }
//! ```

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use billing::channel::{Account, Network};
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{HeaderValue, StatusCode, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    address,
    chain::{AccountState, Chain, ChainError, Cursor, Head, Transaction},
    history::{self, Linked},
};

mod answer;
mod pace;
mod post;

use answer::{AddressInformation, ConfigInfo, Envelope, RawTransaction};
use pace::Pace;
use post::{Client, PostError};

const PATIENCE: Duration = Duration::from_secs(20);
/// For all pages of one history: each may take its time, and all of them may not take for ever. Waiting for the pages' turns
/// comes on top.
const PATIENCE_FOR_HISTORY: Duration = Duration::from_secs(60);
/// Parameter of the configuration: the number that tells networks apart.
const GLOBAL_ID: u32 = 19;
/// A question that was too much is asked again so often.
const MOST_TRIES: u32 = 4;
/// Of so many places strangers have one.
const STRANGERS: u32 = 3;
const MAX_BODY: usize = 8 * 1024 * 1024;
/// Transactions in one answer. One of a wallet with 255 payments has a hundred kilobytes.
const PAGE: usize = 32;
/// Of a reason that a server gives.
const MAX_REASON: usize = 200;
/// An account that nobody owns, and that has no data: what is asked of it is how far the chain is.
const NOBODY: Account = Account {
    workchain: -1,
    hash: [0; 32],
};

/// How a toncenter is reached.
#[derive(Clone)]
pub struct Settings {
    /// Which chain it is of. What it says itself must be the same.
    pub network: Network,
    /// Up to `/api/v2`, as its documentation writes it.
    pub url: String,
    /// Without one a public toncenter allows a request a second, which is waited for. Goes over https, or to this machine.
    pub api_key: Option<String>,
}

/// Without the key.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.api_key.is_some() { "with" } else { "without" };
        write!(f, "Settings({} at {}, {key} an API key)", self.network, self.url)
    }
}

/// Why settings are no toncenter, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "the URL of a toncenter is `https://` or `http://`, a host and a path, such as https://toncenter.com/api/v2"
    )]
    Url,
    #[error("the API key has letters that do not belong in a header")]
    ApiKey,
    #[error("the API key would go over http in the clear to another machine; write https, or leave the key out")]
    KeyInClear,
    #[error("the URL is https, and there is no TLS configuration")]
    NoTls,
}

/// One toncenter. Cheap to clone.
#[derive(Clone)]
pub struct Toncenter {
    server: Arc<Server>,
    /// Where what is asked is for strangers: what they have asked takes its places here before.
    strangers: Option<Arc<Pace>>,
}

struct Server {
    network: Network,
    /// Set once the server has said that it is of this network.
    is_of_network: OnceCell<()>,
    for_history: Duration,
    pace: Pace,
    /// What strangers take of it.
    strangers: Arc<Pace>,
    client: Client,
}

impl Toncenter {
    /// `tls` is for https; its ALPN protocols are set here.
    pub fn new(settings: Settings, tls: Option<&rustls::ClientConfig>) -> Result<Self, SettingsError> {
        Self::with_patience(settings, tls, PATIENCE)
    }

    fn with_patience(
        settings: Settings,
        tls: Option<&rustls::ClientConfig>,
        patience: Duration,
    ) -> Result<Self, SettingsError> {
        let base = settings.url.trim_end_matches('/').trim_end_matches("/jsonRPC");
        let url: Uri = format!("{base}/jsonRPC").parse().map_err(|_| SettingsError::Url)?;
        let is_https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(SettingsError::Url),
        };
        if url.host().is_none_or(str::is_empty) || url.query().is_some() {
            return Err(SettingsError::Url);
        }
        let api_key = settings.api_key.map(|key| {
            let mut value = HeaderValue::from_str(&key).map_err(|_| SettingsError::ApiKey)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let api_key = api_key.transpose()?;
        let is_ours = is_this_machine(url.host().unwrap_or_default());
        if !is_https && api_key.is_some() && !is_ours {
            return Err(SettingsError::KeyInClear);
        }
        if is_https && tls.is_none() {
            return Err(SettingsError::NoTls);
        }
        let interval = match &api_key {
            _ if is_ours => Duration::ZERO,
            Some(_) => pace::WITH_KEY,
            None => pace::WITHOUT_KEY,
        };
        Ok(Self {
            server: Arc::new(Server {
                network: settings.network,
                is_of_network: OnceCell::new(),
                for_history: PATIENCE_FOR_HISTORY,
                pace: Pace::new(interval),
                strangers: Arc::new(Pace::new(Duration::ZERO)),
                client: Client::new(url, api_key, tls, patience, MAX_BODY),
            }),
            strangers: None,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, ChainError> {
        let is_of_network = &self.server.is_of_network;
        is_of_network.get_or_try_init(|| self.check_network()).await?;
        self.ask_anyone(method, &params).await
    }

    /// Coins of another network look the same, and a channel's state there says nothing about ours.
    async fn check_network(&self) -> Result<(), ChainError> {
        let params = json!({ "config_id": GLOBAL_ID });
        let info: ConfigInfo = self.ask_anyone("getConfigParam", &params).await?;
        let found = info.network().map_err(unreadable)?;
        let wanted = self.server.network;
        if found == wanted {
            Ok(())
        } else {
            Err(ChainError::Network { wanted, found })
        }
    }

    /// Whatever network the server is of. Waits for its turn, and for another one where it was too much for the server.
    async fn ask_anyone<T: DeserializeOwned>(&self, method: &'static str, params: &Value) -> Result<T, ChainError> {
        let pace = &self.server.pace;
        let mut tries = 1;
        loop {
            let turn = async {
                if let Some(strangers) = &self.strangers {
                    strangers.turn_after(pace.interval().saturating_mul(STRANGERS)).await?;
                }
                pace.turn().await
            };
            turn.await.map_err(|pace::Crowded| ChainError::Limited)?;
            match self.ask_now(method, params).await {
                Err(ChainError::Limited) => {
                    pace.too_much();
                    if tries >= MOST_TRIES {
                        return Err(ChainError::Limited);
                    }
                    tries += 1;
                }
                answer => {
                    if !matches!(answer, Err(ChainError::Unreachable(_))) {
                        pace.answered();
                    }
                    return answer;
                }
            }
        }
    }

    async fn ask_now<T: DeserializeOwned>(&self, method: &'static str, params: &Value) -> Result<T, ChainError> {
        let question = json!({ "id": "1", "jsonrpc": "2.0", "method": method, "params": params });
        let answer = self.server.client.post(question.to_string().into()).await;
        let answer = answer.map_err(unreached)?;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(ChainError::Limited);
        }
        // Failures too have a body that says more than the status.
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&answer.body) else {
            return Err(if answer.status.is_success() {
                ChainError::Unreadable(format!("{method}: not the JSON of a toncenter"))
            } else {
                ChainError::Unreachable(format!("{method}: status {}", answer.status.as_u16()))
            });
        };
        if !envelope.ok {
            return Err(refusal(method, &answer.status, &envelope));
        }
        let result = envelope.result.map_or("null", serde_json::value::RawValue::get);
        // Of the error only where: what is there is somebody else's text.
        serde_json::from_str(result).map_err(|error| {
            ChainError::Unreadable(format!("{method}: not what it should be, at column {}", error.column()))
        })
    }

    async fn information(&self, account: &Account) -> Result<AddressInformation, ChainError> {
        let params = json!({ "address": address::raw(account) });
        self.ask("getAddressInformation", params).await
    }

    /// One answer, newest first: transactions up to `from`, or the newest.
    async fn page(
        &self,
        account: &Account,
        from: Option<Cursor>,
        after: Option<Cursor>,
    ) -> Result<Vec<Linked>, ChainError> {
        let mut params = json!({ "address": address::raw(account), "limit": PAGE, "archival": true });
        if let Some(from) = from {
            params["lt"] = from.lt.to_string().into();
            params["hash"] = STANDARD.encode(from.hash).into();
        }
        if let Some(after) = after {
            params["to_lt"] = after.lt.to_string().into();
        }
        let raw: Vec<RawTransaction> = self.ask("getTransactions", params).await?;
        if raw.len() > PAGE {
            return Err(unreadable("it has more transactions than were asked for"));
        }
        let checked = raw.into_iter().map(|raw| raw.checked(account));
        checked.collect::<Result<_, _>>().map_err(ChainError::Unreadable)
    }

    async fn history(
        &self,
        account: &Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError> {
        history::read(after, limit, |from| self.page(account, from, after)).await
    }
}

impl Chain for Toncenter {
    fn network(&self) -> Network {
        self.server.network
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        // getMasterchainInfo does not tell the time.
        async { self.information(&NOBODY).await?.head().map_err(unreadable) }.boxed()
    }

    fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        async move { self.information(&account).await?.account().map_err(unreadable) }.boxed()
    }

    fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
        async move {
            let turns = self.server.pace.interval().saturating_mul(history::MAX_PAGES);
            let patience = self.server.for_history.saturating_add(turns);
            let history = timeout(patience, self.history(&account, after, limit));
            let late = |_| ChainError::Unreachable(format!("a history took longer than {patience:?}"));
            history.await.map_err(late)?
        }
        .boxed()
    }

    fn send<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        async move {
            let params = json!({ "boc": STANDARD.encode(message) });
            self.ask::<Value>("sendBoc", params).await.map(drop)
        }
        .boxed()
    }

    fn config_parameter(&self, index: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        async move {
            let info: ConfigInfo = self.ask("getConfigParam", json!({ "config_id": index })).await?;
            info.bytes().map_err(unreadable)
        }
        .boxed()
    }

    fn for_strangers(&self) -> Option<Arc<dyn Chain>> {
        Some(Arc::new(Self {
            server: self.server.clone(),
            strangers: Some(self.server.strangers.clone()),
        }))
    }
}

impl fmt::Debug for Toncenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Toncenter({})", self.server.network)
    }
}

fn refusal(method: &'static str, status: &StatusCode, envelope: &Envelope<'_>) -> ChainError {
    let code = envelope.code.unwrap_or_else(|| status.as_u16().into());
    if code == 429 {
        return ChainError::Limited;
    }
    let said = plain(envelope.error.as_deref().unwrap_or("no reason given"));
    let is_of_the_way = matches!(code, 502..=504)
        || ["timeout", "LITE_SERVER_NETWORK", "LITE_SERVER_NOTREADY"]
            .iter()
            .any(|word| said.contains(word));
    if method == "sendBoc" && !is_of_the_way {
        return ChainError::Refused(said);
    }
    ChainError::Unreachable(format!("{method}: {said} (code {code})"))
}

/// Whether what goes to this host stays here.
fn is_this_machine(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A text of somebody else's in one line of bounded length.
fn plain(text: &str) -> String {
    let one_line = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    one_line.take(MAX_REASON).collect()
}

fn unreached(error: PostError) -> ChainError {
    match error {
        PostError::Redirect(_) | PostError::TooLarge(_) => ChainError::Unreadable(error.to_string()),
        other => ChainError::Unreachable(other.to_string()),
    }
}

fn unreadable(reason: &'static str) -> ChainError {
    ChainError::Unreadable(reason.to_owned())
}

#[cfg(test)]
mod tests;
