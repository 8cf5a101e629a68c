//! `GET /v1/models` and `GET /v1/models/{id}`: what the key may use, and nothing else.
//!
//! What only an upstream can answer (a model under a pattern that no list names, `DELETE` of a fine-tuned one) goes
//! through the Call floor like any other operation.

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{
    body::BoxBody,
    serve::{BoxError, Floor, Serve},
};
use billing::Nano;
use http::{HeaderValue, Method, Response, header};
use openapi::model::ModelList;
use serde::Serialize;

use crate::{
    accounts::Account,
    call::Inbound,
    catalog::Catalog,
    layers::{authenticate::Authenticator, resolve, route::RouteError},
    payments::PAYMENT_RESPONSE,
    rescue::full,
};

#[derive(Debug)]
pub(crate) struct Models {
    pub(crate) authenticator: Authenticator,
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) call: Floor<Inbound, Response<BoxBody>>,
}

impl Models {
    pub(crate) async fn call(&self, inbound: Inbound) -> Result<Response<BoxBody>, BoxError> {
        let account = self.authenticator.authenticate(&inbound.request).await?;
        let catalog = self.catalog.load();
        let method = inbound.request.method();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let is_list = inbound.operation.path == "models";
        if is_list && is_read {
            return json(&ModelList::new(catalog.cards(|name| account.may_use(name))), &account);
        }
        if is_list || !(is_read || *method == Method::DELETE) {
            let path = inbound.request.uri().path().chars().take(200).collect();
            return Err(RouteError::Method {
                method: method.clone(),
                path,
                allow: "GET",
            }
            .into());
        }
        let Some(id) = inbound.operation.model_id() else {
            return Err(resolve::ResolveError::UnknownModel { model: String::new() }.into());
        };
        let offer = resolve::find(&catalog, &account, &id)?;
        let cards = catalog.cards(|name| name == id);
        match cards.first() {
            Some(card) if is_read => json(card, &account),
            // Under a pattern the upstream may know more than its list said.
            _ if offer.is_pattern() && !catalog.is_listed(&id) => self.call.call(inbound).await,
            _ => Err(resolve::ResolveError::UnknownModel { model: id }.into()),
        }
    }
}

/// For who pays by channel with where the channel stands: it costs nothing to ask.
fn json(value: &impl Serialize, account: &Account) -> Result<Response<BoxBody>, BoxError> {
    let mut response = Response::new(full(serde_json::to_vec(value)?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let stands = account
        .channel
        .as_ref()
        .and_then(|channel| channel.response(Nano::ZERO));
    headers.extend(stands.map(|stands| (PAYMENT_RESPONSE, stands)));
    Ok(response)
}
