//! Asks of the ledger: the admin API of the running gateway, or the same handlers in this process.
//!
//! So a command is one request and the printing of its answer, and both ways give the same answers and the same
//! refusals.

use axum::{
    Extension, Router,
    body::{Body, Bytes},
};
use backends::serve::BoxError;
use billing::Currency;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use serde_json::Value;
use tower::ServiceExt;

use super::{
    place::Place,
    remote::{Remote, Unreached, refusal},
};
use crate::{
    admin::{money, token::Actor},
    cli::money::PlaceArgs,
    treasury::Treasury,
};

/// A body as it comes, from the wire or from a handler.
pub(super) type Coming = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Debug, thiserror::Error)]
enum DeskError {
    #[error("there is no ledger yet: no gateway runs, and the database of this configuration was never made")]
    NoLedger,
    #[error("the ledger gave an answer that cannot be read")]
    Unreadable,
}

pub(super) struct Desk {
    place: Place,
    /// The command that shows what was changed.
    look: &'static str,
    /// Decided by the first question.
    way: Option<Way>,
}

/// Who answers.
enum Way {
    Gateway(Box<Remote>),
    Here { why: Unreached, router: Router },
}

impl Desk {
    pub(super) fn find(args: PlaceArgs, look: &'static str) -> Result<Self, BoxError> {
        Ok(Self {
            place: Place::find(args.database, args.config)?,
            look,
            way: None,
        })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Value, BoxError> {
        self.ask(Method::GET, path, None).await
    }

    /// The answer to a request below `/admin/v1/`.
    pub(super) async fn ask(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<Value, BoxError> {
        let whole = self.open(method, path, body).await?.collect().await?.to_bytes();
        serde_json::from_slice(&whole).map_err(|_| DeskError::Unreadable.into())
    }

    /// The same, with a body that is still to come.
    pub(super) async fn open(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<Coming, BoxError> {
        if self.way.is_none() {
            match self.place.remote(self.look) {
                Ok(remote) => match remote.open(method.clone(), path, body.clone()).await {
                    Ok(response) => {
                        self.way = Some(Way::Gateway(Box::new(remote)));
                        return Ok(coming(response));
                    }
                    Err(error) => self.way = Some(self.here(error.unless_unreached()?, &method).await?),
                },
                Err(why) => self.way = Some(self.here(why, &method).await?),
            }
        }
        match &self.way {
            Some(Way::Gateway(remote)) => match remote.open(method, path, body).await {
                Ok(response) => Ok(coming(response)),
                Err(error) => Err(error.unless_unreached()?.into()),
            },
            Some(Way::Here { router, .. }) => {
                let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
                let request = Request::builder().method(method).uri(format!("/{path}")).body(body)?;
                let response = router.clone().oneshot(request).await?;
                if response.status().is_success() {
                    return Ok(coming(response));
                }
                let whole = response.into_body().collect().await?.to_bytes();
                Err(refusal(&whole).map_or_else(|| DeskError::Unreadable.into(), BoxError::from))
            }
            None => Err(DeskError::NoLedger.into()),
        }
    }

    /// How a change was made, for standard error.
    pub(super) fn told(&self) -> String {
        match &self.way {
            Some(Way::Gateway(remote)) => format!("done by the gateway at {}; in force now", remote.address()),
            Some(Way::Here { why, .. }) => format!("{why}; {}", self.place.written()),
            None => String::new(),
        }
    }

    async fn here(&self, why: Unreached, method: &Method) -> Result<Way, BoxError> {
        let store = self.place.store(!method.is_safe()).await?.ok_or(DeskError::NoLedger)?;
        let config = self.place.config.as_ref();
        let currency = config.map_or(Currency::USD, |config| config.ledger.currency);
        let treasury = Treasury::new(Some(store.ledger()), currency, None);
        let router = money::router::<Treasury>()
            .layer(Extension(Actor(self.place.actor.clone())))
            .with_state(treasury);
        Ok(Way::Here { why, router })
    }
}

fn coming<B>(response: Response<B>) -> Coming
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.into_body().map_err(Into::into).boxed_unsync()
}
