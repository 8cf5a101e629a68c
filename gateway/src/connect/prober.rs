//! Prober: what the payer asks beside the requests of apps: the gateway, how the channel stands, and the chain.
//!
//! The gateway is asked with a request that costs nothing, over the connection that was verified; the chain seldom, and at
//! once when the deposit did not do for a request.

use std::{sync::Arc, time::Duration};

use billing::channel::{Fact, State, payer::Phase};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Link,
    cashier::{Cashier, CashierError},
    forward::up,
    link,
    pay::{SIGNATURE, header_value, said},
};
use crate::{absence::Absence, chain_source::ChainSource, layers::rescue::Chain, on_chain};

const PATH: &str = "/v1/models";
/// A gateway that does not know the channel asks the chain first.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(1);
/// How often the chain is asked, while it does not show the channel and then.
const EAGER: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(20);
/// What was there, and is not shown now.
const UNSHOWN: &str =
    "it does not show the channel, though it was there; that is believed when it is said for some minutes";
/// Of an error.
const MOST_BYTES: usize = 64 * 1024;

/// Asks both, until dropped.
pub(super) async fn keep(link: Arc<Link>, cashier: Cashier, source: ChainSource) {
    tokio::join!(probe(link, cashier.clone()), follow(cashier, source));
}

async fn probe(link: Arc<Link>, mut cashier: Cashier) {
    loop {
        if cashier.picture().wants_probe {
            let trouble = ask(&link, &cashier).await.err();
            if cashier.is_troubled(trouble.clone())
                && let Some(why) = trouble
            {
                tracing::warn!(
                    channel = cashier.kept().name,
                    why,
                    "the gateway does not say how the channel stands; asking again"
                );
            }
            // Else each request that ends would ask again.
            if cashier.trouble().is_some() {
                sleep(AGAIN).await;
                continue;
            }
        }
        tokio::select! {
            () = cashier.changed() => {}
            () = sleep(AGAIN) => {}
        }
    }
}

/// One probe, where one is due.
async fn ask(link: &Link, cashier: &Cashier) -> Result<(), String> {
    let text = |error: CashierError| Chain(&error).to_string();
    let mut up = up(link, Instant::now() + PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let Some(payment) = cashier.probe().await.map_err(text)? else {
        return Ok(());
    };
    let mut request = Request::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = link::at(PathAndQuery::from_static(PATH));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(SIGNATURE, header_value(&payment));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let response = timeout(PATIENCE, up.sender.send_request(request)).await;
    let response = response.map_err(|_| format!("it did not answer within {PATIENCE:?}"))?;
    let response = response.map_err(|error| Chain(&error).to_string())?;
    if response.status().is_success() {
        let said = said(response.headers()).ok_or("its answer has no PAYMENT-RESPONSE that can be read")?;
        cashier.told(said, true);
        return Ok(());
    }
    let status = response.status();
    let Refusal { code, message } = refusal(response).await;
    if status == StatusCode::PAYMENT_REQUIRED && code == "channel_refused" {
        cashier.turned_away(code, message.clone());
    }
    Err(format!("it answered {status}: {message}"))
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

/// A stranger's words, kept short.
async fn refusal(response: Response<Incoming>) -> Refusal {
    let body = timeout(PATIENCE, Limited::new(response.into_body(), MOST_BYTES).collect()).await;
    let Ok(Ok(body)) = body else { return Refusal::default() };
    let refused: Result<Refused, _> = serde_json::from_slice(&body.to_bytes());
    let Refusal { code, message } = refused.map(|refused| refused.error).unwrap_or_default();
    let plain = |text: String, most| text.chars().filter(|char| !char.is_control()).take(most).collect();
    Refusal {
        code: plain(code, 64),
        message: plain(message, 400),
    }
}

async fn follow(cashier: Cashier, source: ChainSource) {
    let mut trouble: Option<String> = None;
    let mut absence = Absence::default();
    loop {
        let why = look(&cashier, &source, &mut absence).await.err();
        match &why {
            Some(why) if trouble.as_ref() != Some(why) => {
                tracing::warn!(
                    channel = cashier.kept().name,
                    why,
                    "the chain does not tell of the channel; asking again"
                );
            }
            None if trouble.is_some() => {
                tracing::info!(channel = cashier.kept().name, "the chain tells of the channel again");
            }
            _ => {}
        }
        trouble = why;
        let wait = if cashier.picture().phase == Phase::Opening {
            EAGER
        } else {
            CALM
        };
        let poor = async {
            cashier.poor().await;
            sleep(EAGER).await;
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = poor => {}
        }
    }
}

async fn look(cashier: &Cashier, source: &ChainSource, absence: &mut Absence) -> Result<(), String> {
    let id = &cashier.kept().id;
    let state = source.account(id.account).await;
    let state = state.map_err(|error| Chain(&error).to_string())?;
    let read = on_chain::read(&state, id).map_err(|stranger| stranger.to_string())?;
    match read {
        Some(_) => absence.shown(state.head),
        None if cashier.picture().phase == Phase::Opening => {}
        // What ends a channel cannot be taken back.
        None if absence.is_gone(state.head) => {}
        None => return Err(UNSHOWN.to_owned()),
    }
    cashier.chain(Fact {
        seqno: state.head.seqno,
        time_s: state.head.time,
        state: match read {
            Some(state) => State::Open(state.on_chain),
            None => State::Absent { claimed: None },
        },
    });
    Ok(())
}
