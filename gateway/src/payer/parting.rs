//! Parting: what a payer asks its payee for at the end: the last take, with which the contract gives the rest back at once.

use std::time::Duration;

use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, SendError, Target, TargetError},
    serve::BoxError,
};
use billing::channel::{Access, ClaimedTake, Envelope, Notice, Settlement, Signer, x402};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use super::{
    shelf::{Kept, Slate},
    teller::offer,
};
use crate::{
    tls::{self, TlsError},
    wall_clock::unix_seconds,
};

const PATH: &str = "/mulberry/pay/v1/channel";
const PATIENCE: Duration = Duration::from_secs(20);
/// While requests run at the payee.
const AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 15;
const MOST_BYTES: usize = 64 * 1024;

/// Why there is no last take, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartingError {
    #[error("the gateway's address is no URL")]
    Url(#[source] TargetError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the gateway gave no answer")]
    Silent(#[source] SendError),
    #[error("the gateway gave no answer within {PATIENCE:?}")]
    Slow,
    #[error("the gateway still has requests of the channel under way")]
    Busy,
    #[error("the gateway answered {0}")]
    Refused(StatusCode),
    #[error("the gateway's answer has no last take")]
    NoTake,
}

/// The payee's last take, with our voucher. Nothing more may be signed by then; what it says is on the disk.
pub(crate) async fn part(kept: &Kept, signer: &Signer, url: &str, slate: &mut Slate) -> Result<Settlement, BoxError> {
    let access = Access::sign(signer, &kept.keys, &kept.id, unix_seconds())?;
    let payment = x402::encode(&x402::Payment {
        x402_version: x402::Version,
        accepted: offer(kept),
        payload: x402::Payload {
            kind: x402::Kind,
            channel_config: x402::ChannelConfig::new(&kept.terms, &kept.keys),
            voucher: None,
            access: Some(access),
        },
    });
    let notice = Envelope::new(&kept.id, Notice::Close { spent: slate.charged });
    let take = ask(url, &payment, &notice).await?;
    take.verify(&kept.keys, &kept.id)?;
    slate.take = Some(take);
    kept.write_slate(slate)?;
    Ok(slate.settlement(kept).ok_or(PartingError::NoTake)??)
}

/// Asks a payee to close: `payment` proves who asks, `notice` names the channel.
async fn ask(url: &str, payment: &str, notice: &Envelope) -> Result<ClaimedTake, PartingError> {
    let target = Target::parse(url).map_err(PartingError::Url)?;
    let tls = if target.is_https() {
        Some(tls::client(None)?)
    } else {
        None
    };
    let (authority, path) = (target.authority(), format!("{}{PATH}", target.base_path()));
    let connector = Connector::new(target, HttpVersion::Auto, PATIENCE, tls.as_deref());
    let client = Client::new(connector, PATIENCE);
    let body = bytes::Bytes::from(serde_json::to_vec(notice).expect("a notice is JSON"));
    for _ in 0..TRIES {
        let request = Request::post(&path)
            .header(header::HOST, &authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(x402::SIGNATURE, payment)
            .body(Outgoing::whole(body.clone()));
        let request = request.map_err(|_| PartingError::Url(TargetError::NotUrl(url.to_owned())))?;
        let sent = tokio::time::timeout(PATIENCE, client.send(request, true)).await;
        let response = sent.map_err(|_| PartingError::Slow)?.map_err(PartingError::Silent)?;
        match response.status() {
            StatusCode::OK => return take(response).await,
            StatusCode::CONFLICT => tokio::time::sleep(AGAIN).await,
            status => return Err(PartingError::Refused(status)),
        }
    }
    Err(PartingError::Busy)
}

async fn take<B>(response: Response<B>) -> Result<ClaimedTake, PartingError>
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<BoxError>,
{
    let body = tokio::time::timeout(PATIENCE, Limited::new(response.into_body(), MOST_BYTES).collect()).await;
    let body = body
        .map_err(|_| PartingError::Slow)?
        .map_err(|_| PartingError::NoTake)?;
    let answers: Vec<Envelope> = serde_json::from_slice(&body.to_bytes()).map_err(|_| PartingError::NoTake)?;
    let last = answers.into_iter().find_map(|answer| match answer.notice {
        Notice::Take { take } if take.is_last => Some(take),
        _ => None,
    });
    last.ok_or(PartingError::NoTake)
}
