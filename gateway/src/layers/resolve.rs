//! Resolve: from a model's name to its offer, if the account may have it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::{Method, Response};
use openapi::endpoint::{Endpoint, Operation};
use tower_layer::Layer;

use crate::{
    accounts::Account,
    call::{Call, Resolved},
    catalog::{Catalog, Offer},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(
        "The model '{model}' does not exist or you do not have access to it. GET /v1/models lists what you may use."
    )]
    UnknownModel { model: String },
    #[error("Your API key may not use the model '{model}'. GET /v1/models lists what it may use.")]
    ModelNotAllowed { model: String },
    #[error(
        "Your API key is limited to some models, and this operation on '{endpoint}' names none. It needs a key for all models."
    )]
    NoModelNamed { endpoint: Endpoint },
    #[error(
        "A payment channel pays for what models do. This operation on '{endpoint}' belongs to the upstream's account, and needs an API key."
    )]
    NotForChannels { endpoint: Endpoint },
    #[error("Missing required parameter: 'model'.")]
    MissingModel,
    #[error("No backend behind this gateway serves '{endpoint}'{}.", model.as_ref().map(|model| format!(" for the model '{model}'")).unwrap_or_default())]
    NotServed { endpoint: Endpoint, model: Option<String> },
}

#[derive(Debug, Clone)]
pub(crate) struct ResolveLayer {
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
}

impl<S> Layer<S> for ResolveLayer {
    type Service = Resolve<S>;

    fn layer(&self, inner: S) -> Resolve<S> {
        Resolve {
            catalog: self.catalog.clone(),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Resolve<S> {
    catalog: Arc<ArcSwap<Catalog>>,
    inner: S,
}

impl<S> Serve<Call> for Resolve<S>
where
    S: Serve<Resolved, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, call: Call) -> Result<Response<BoxBody>, BoxError> {
        let catalog = self.catalog.load_full();
        let offer = resolve(&catalog, &call)?;
        self.inner.call(Resolved { call, offer, catalog }).await
    }
}

fn resolve(catalog: &Catalog, call: &Call) -> Result<Arc<Offer>, ResolveError> {
    let operation = &call.outbound.operation;
    let endpoint = operation.endpoint;
    let named = call.outbound.model.as_deref();
    // Files, batches and stored responses belong to the upstream's account, whatever model they are for or a path names.
    let is_kept = match named {
        Some(_) => !runs_model(&call.outbound.method, operation),
        None => !(endpoint.is_inference() && (operation.is_root_post || operation.is_count_tokens())),
    };
    if is_kept && !call.account.may_use_what_is_kept() {
        return Err(match call.account.channel {
            Some(_) => ResolveError::NotForChannels { endpoint },
            None => ResolveError::NoModelNamed { endpoint },
        });
    }
    let Some(model) = named else {
        if !is_kept {
            return unnamed(catalog, &call.account, endpoint);
        }
        return catalog
            .offer_without_model(endpoint)
            .map(Arc::new)
            .ok_or(ResolveError::NotServed { endpoint, model: None });
    };
    let offer = find(catalog, &call.account, model)?;
    if !offer.route.serves(endpoint) {
        return Err(ResolveError::NotServed {
            endpoint,
            model: Some(shown(model)),
        });
    }
    Ok(offer)
}

/// Whether an operation runs a model, or counts its tokens, and neither reads nor changes what an upstream keeps.
fn runs_model(method: &Method, operation: &Operation) -> bool {
    if method != Method::POST {
        return false;
    }
    match operation.endpoint {
        Endpoint::Files | Endpoint::Batches | Endpoint::Models => false,
        Endpoint::Audio => matches!(
            operation.path.as_str(),
            "audio/speech" | "audio/transcriptions" | "audio/translations"
        ),
        Endpoint::Images => matches!(
            operation.path.as_str(),
            "images/generations" | "images/edits" | "images/variations"
        ),
        Endpoint::Responses if operation.path == "responses/input_tokens" => true,
        _ => operation.is_root_post || operation.is_count_tokens(),
    }
}

/// The offer for inference that names no model. A response may leave the choice to what it builds on, a stored prompt
/// or an earlier response; so it needs an account that may use what is kept, and a route that takes every name.
fn unnamed(catalog: &Catalog, account: &Account, endpoint: Endpoint) -> Result<Arc<Offer>, ResolveError> {
    let everything = catalog.offer("").filter(|_| account.may_use_what_is_kept());
    let serving = everything.filter(|offer| endpoint == Endpoint::Responses && offer.route.serves(endpoint));
    serving.cloned().ok_or(ResolveError::MissingModel)
}

/// The offer for a model that the account may use. A model that exists and is not allowed says so, since the list
/// of models is no secret to a key's holder.
pub(crate) fn find(catalog: &Catalog, account: &Account, model: &str) -> Result<Arc<Offer>, ResolveError> {
    let offer = catalog
        .offer(model)
        .ok_or_else(|| ResolveError::UnknownModel { model: shown(model) })?;
    if !account.may_use(model) {
        return Err(ResolveError::ModelNotAllowed { model: shown(model) });
    }
    Ok(offer.clone())
}

/// A name as an error repeats it: not a novel.
fn shown(model: &str) -> String {
    model.chars().take(128).collect()
}
