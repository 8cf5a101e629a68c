//! Connect: the role beside an app. It verifies a gateway, and sends it the app's requests for as long as the verdict stands.
//!
//! The app speaks plain HTTP to a loopback address and changes nothing but its base URL.
//! Between here and the gateway is one attested connection ([`link`]): nothing of a request is sent before the gateway's evidence, of that very connection, was accepted, and nothing new once it no longer is.
//! Requests and answers pass as they came ([`forward`]); nobody is told who asks but what the app itself says.
//! Where a channel pays, it pays for the requests of apps ([`pay`]), within limits ([`cashier`]), and [`prober`] asks the
//! gateway and the chain how it stands.
//!
//! Refused: another address than loopback unless it was asked for by its dangerous name, web pages, names that could be rebound to this machine; a gateway that shows no evidence, unless its key is pinned.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;

use crate::{
    chain_source::ChainSource,
    config::{Address, KeyDigest},
    drain::{Phase, drain},
    listener::{self, Door, ListenerConfig, Speaks},
};

pub(crate) use cashier::{Cashier, CashierError, Desk};
pub(crate) use forward::{Forward, ForwardError};
pub(crate) use link::{Link, Standing};
pub(crate) use pay::AppKeys;

pub(crate) mod acceptance;
mod cashier;
mod forward;
pub(crate) mod link;
mod pay;
mod prober;
mod relay;
pub(crate) mod status;

/// Connections of apps at a time.
const CONNECTIONS: usize = 1024;

/// The gateway that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) address: Address,
    /// Of one without evidence, which is known by its key.
    pub(crate) key: Option<KeyDigest>,
}

impl Gateway {
    /// Reads `HOST:PORT` or `KEY@HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (key, address) = match text.split_once('@') {
            Some((key, address)) => {
                let key = KeyDigest::parse(key);
                let key = key.ok_or("the part before @ is not a SHA-256 digest: 64 hexadecimal digits")?;
                (Some(key), address)
            }
            None => (None, text),
        };
        Ok(Self {
            address: Address::parse(address)
                .ok_or("write HOST:PORT, or KEY@HOST:PORT for a gateway without evidence")?,
            key,
        })
    }
}

/// Where apps connect, and how the end goes.
pub(crate) struct Settings {
    pub(crate) listener: TcpListener,
    /// How long open answers may take once the end has begun.
    pub(crate) patience: Duration,
}

/// What pays for requests.
pub(crate) struct Payment {
    pub(crate) cashier: Cashier,
    pub(crate) desk: Desk,
    /// Who tells of the channel's contract.
    pub(crate) source: ChainSource,
    /// What becomes of the keys that apps send.
    pub(crate) keys: AppKeys,
}

/// Serves apps until `stop` is ready, then drains; `hurry` ends what is left.
pub(crate) async fn run(
    settings: Settings,
    link: Arc<Link>,
    guard: Guard,
    payment: Option<Payment>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) {
    let Settings { listener, patience } = settings;
    let (control, ending) = drain();
    let keeping = tokio::spawn(link.clone().keep());
    let door = Door {
        listener,
        connections: CONNECTIONS,
        closes: Phase::Draining,
        open: Gauge::default(),
        speaks: Speaks::Http,
    };
    let config = ListenerConfig {
        header_read: Duration::from_secs(10),
        keep_alive: Duration::from_secs(75),
        body_write: Duration::from_secs(60),
        tls: None,
    };
    let (paying, desk, probing) = match payment {
        Some(Payment {
            cashier,
            desk,
            source,
            keys,
        }) => {
            let probing = tokio::spawn(prober::keep(link.clone(), cashier.clone(), source));
            (Some((cashier, keys)), Some(desk), Some(probing))
        }
        None => (None, None, None),
    };
    let forward = Forward::new(link, guard, ending.clone(), paying);
    let config = Arc::new(ArcSwap::from_pointee(config));
    let mut serving = tokio::spawn(listener::serve(door, config, Arc::new(forward), ending));
    tokio::select! {
        () = stop => {}
        _ = &mut serving => tracing::error!("the listener ended by a panic"),
    }
    tracing::info!(?patience, "draining; a second signal ends what is left");
    control.enter(Phase::Draining);
    let is_done = tokio::select! {
        _ = &mut serving => true,
        () = tokio::time::sleep(patience) => {
            tracing::warn!("the drain timeout has passed: ending open answers");
            false
        }
        () = hurry => {
            tracing::warn!("told twice: ending open answers now");
            false
        }
    };
    if !is_done {
        control.enter(Phase::Cutting);
        if serving.await.is_err() {
            tracing::error!("the listener ended by a panic");
        }
    }
    keeping.abort();
    if let Some(probing) = probing {
        probing.abort();
    }
    if let Some(desk) = desk
        && tokio::task::spawn_blocking(|| desk.close()).await.is_err()
    {
        tracing::error!("the end of the payer was not seen");
    }
    tracing::info!("stopped");
}

/// Who may ask: what stands in for a key is that only this machine can connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    /// Other machines may ask too, and call us by any name.
    pub(crate) danger_open: bool,
}

impl Guard {
    /// Whether this address may be listened on.
    pub(crate) fn allows(self, address: &SocketAddr) -> bool {
        self.danger_open || address.ip().to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests;
