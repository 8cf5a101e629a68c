//! What a payee asks for, before there is a channel: its offer, from the gateway itself or from a file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, SendError, Target, TargetError},
};
use billing::channel::{
    Account, Network, PublicKey,
    x402::{self, DecodeError, Offer, Required},
};
use billing_ton::contract;
use http::{Request, StatusCode, header};

use crate::tls::{self, TlsError};

const PATIENCE: Duration = Duration::from_secs(20);
const MAX_FILE: u64 = 64 * 1024;

/// Why no terms are known, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TermsError {
    #[error("'{}' cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' is no offer: it is neither the JSON of PAYMENT-REQUIRED nor one of its `accepts`", .0.display())]
    NoOffer(PathBuf),
    #[error("the gateway's address is no URL")]
    Url(#[source] TargetError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the gateway {url} gave no answer")]
    Silent { url: String, source: SendError },
    #[error("the gateway {0} gave no answer within {PATIENCE:?}")]
    Slow(String),
    #[error(
        "the gateway {url} asks for no payment: it answered {status}, and a request that must be paid for is answered with 402"
    )]
    Free { url: String, status: StatusCode },
    #[error("the gateway {url} does not say in PAYMENT-REQUIRED what it accepts; ask its operator for an API key")]
    NoHeader { url: String },
    #[error("what the gateway {url} says in PAYMENT-REQUIRED cannot be read")]
    Header { url: String, source: DecodeError },
    #[error("the payee takes payments on {}, and not on {wanted}; name the network with --network", .offered.join(", "))]
    Network { wanted: Network, offered: Vec<String> },
    #[error("the payee wants channels of another contract than ours; use the version of this program that knows it")]
    Code,
}

/// What a channel to a payee must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) payee: Account,
    pub(crate) payee_key: PublicKey,
    pub(crate) close_delay_s: u32,
    pub(crate) fee_bps: u16,
    pub(crate) fee_dest: Account,
}

/// The offer for this network, of a contract that we know.
pub(crate) fn choose(offers: &[Offer], network: Network) -> Result<Wanted, TermsError> {
    let offer = offers.iter().find(|offer| offer.network == network);
    let offer = offer.ok_or_else(|| TermsError::Network {
        wanted: network,
        offered: offers.iter().map(|offer| offer.network.to_string()).collect(),
    })?;
    if offer.extra.code_hash != contract::CODE_HASH {
        return Err(TermsError::Code);
    }
    Ok(Wanted {
        payee: offer.pay_to,
        payee_key: offer.extra.receiver_authorizer,
        close_delay_s: offer.extra.withdraw_delay,
        fee_bps: offer.extra.fee_bps,
        fee_dest: offer.extra.fee_dest,
    })
}

/// From a file: the whole document, or one offer of it.
pub(crate) fn read(path: &Path) -> Result<Vec<Offer>, TermsError> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
    };
    read.map_err(|source| TermsError::Read {
        path: path.to_owned(),
        source,
    })?;
    if let Ok(required) = serde_json::from_slice::<Required>(&bytes) {
        return Ok(required.accepts);
    }
    let offer = serde_json::from_slice(&bytes).map_err(|_| TermsError::NoOffer(path.to_owned()))?;
    Ok(vec![offer])
}

/// From the gateway: a request that nobody pays for is answered with what would pay for it.
pub(crate) async fn ask(url: &str) -> Result<Vec<Offer>, TermsError> {
    let target = Target::parse(url).map_err(TermsError::Url)?;
    let tls = if target.is_https() {
        Some(tls::client(None)?)
    } else {
        None
    };
    let (authority, path) = (target.authority(), format!("{}/v1/models", target.base_path()));
    let connector = Connector::new(target, HttpVersion::Auto, PATIENCE, tls.as_deref());
    let client = Client::new(connector, PATIENCE);
    let request = Request::get(path).header(header::HOST, authority).body(Outgoing::Empty);
    let request = request.map_err(|_| TermsError::Url(TargetError::NotUrl(url.to_owned())))?;
    let sent = tokio::time::timeout(PATIENCE, client.send(request, true)).await;
    let sent = sent.map_err(|_| TermsError::Slow(url.to_owned()))?;
    let response = sent.map_err(|source| TermsError::Silent {
        url: url.to_owned(),
        source,
    })?;
    let (status, url) = (response.status(), url.to_owned());
    if status != StatusCode::PAYMENT_REQUIRED {
        return Err(TermsError::Free { url, status });
    }
    let document = response
        .headers()
        .get(x402::REQUIRED)
        .and_then(|value| value.to_str().ok());
    let Some(document) = document else {
        return Err(TermsError::NoHeader { url });
    };
    let required: Required = x402::decode(document).map_err(|source| TermsError::Header { url, source })?;
    Ok(required.accepts)
}
