//! Reserve: what the call may cost at most is held before anyone is asked; an [`Allotted`] becomes a [`Job`].
//!
//! Outside Failover: one hold per call, however many upstreams are tried.
//! Nobody pays for an account without a payer, and nothing here is done for it.
//!
//! The ceiling is what no usage within the request's own bounds exceeds: its bytes, or where something in it is no text
//! the model's context window, and its bound on the answer times the number of answers, at the price of the model.
//! An answer without a bound is given one, so that there is a ceiling at all. An operation whose tokens nobody counts is
//! refused unless its model has a price for a request.

use std::sync::Arc;

use backends::{
    attempt::{Hooks, Outbound, Trail, Unpriced},
    body::BoxBody,
    serve::{BoxError, Serve},
};
use billing::{Estimate, Nano, Output, Payer, PromptBound, Terms, Usage};
use http::{Method, Response};
use openapi::{
    endpoint::{Endpoint, Operation},
    request::Demand,
    stream::{BYTES_PER_TOKEN, Most, Watch},
};
use tower_layer::Layer;

use super::meter::Extent;
use crate::{
    call::{Allotted, Call, Job, Resolved},
    ledger::{Ledger, Reservation, ReserveError},
    payments::{PaymentError, PaymentRequired, Payments},
    pricing::PricingError,
    wages::{Ask as Errands, Errand, Wages},
};

/// The least bound of an answer that an account can hardly afford: less is no answer.
const LEAST_OUTPUT: u64 = 16;

/// What is held for a job, and what it will be charged by.
#[derive(Debug)]
pub(crate) struct Coverage {
    pub(crate) reservation: Reservation,
    /// In force until the job ends.
    pub(crate) terms: Terms,
    pub(crate) extent: Extent,
    /// Whether the answer must be JSON.
    pub(crate) is_strict_json: bool,
}

/// Why a call that somebody would pay for is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CoverError {
    #[error(transparent)]
    Pricing(#[from] PricingError),
    #[error("What {endpoint} uses is not counted, and the model has no price for a request; your account is charged.")]
    Unmeasured { endpoint: Endpoint },
    #[error("Responses in the background cannot be charged, and your account is. Leave `background` out.")]
    Background,
}

#[derive(Debug, Clone)]
pub(crate) struct ReserveLayer {
    pub(crate) ledger: Ledger,
    pub(crate) payments: Payments,
    pub(crate) wages: Wages,
}

impl<S> Layer<S> for ReserveLayer {
    type Service = Reserve<S>;

    fn layer(&self, inner: S) -> Reserve<S> {
        Reserve {
            ledger: self.ledger.clone(),
            payments: self.payments.clone(),
            wages: self.wages.clone(),
            unpriced: Arc::new(Unpriced),
            inner,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reserve<S> {
    ledger: Ledger,
    payments: Payments,
    wages: Wages,
    unpriced: Arc<dyn Hooks>,
    inner: S,
}

impl<S> Serve<Allotted> for Reserve<S>
where
    S: Serve<Job, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, Allotted(mut resolved): Allotted) -> Result<Response<BoxBody>, BoxError> {
        let coverage = match resolved.call.account.payer.clone() {
            None => None,
            Some(payer) => match self.cover(&payer, &mut resolved).await {
                Ok(coverage) => coverage,
                Err(error) => return Err(self.told(error, &resolved.call)),
            },
        };
        let errand = self.wages.is_on().then(|| Errand::new(&self.wages, ask(&mut resolved)));
        let Resolved { call, offer, catalog } = resolved;
        let watch = coverage
            .as_deref()
            .map_or_else(Watch::default, |coverage| coverage.watch(&call.outbound));
        self.inner
            .call(Job {
                id: call.id,
                arrived: call.arrived,
                account: call.account,
                allowance: call.allowance,
                outbound: Arc::new(call.outbound),
                awaited: call.awaited,
                deadline: call.deadline,
                takes_trailers: call.takes_trailers,
                ending: call.ending,
                witness: call.witness,
                offer,
                catalog,
                hooks: match &errand {
                    Some(errand) => errand.clone(),
                    None => self.unpriced.clone(),
                },
                errand,
                coverage,
                watch,
                trail: Arc::new(Trail::traced(call.span.as_ref().and_then(|span| span.context()))),
                span: call.span,
            })
            .await
    }
}

impl<S> Reserve<S> {
    /// Whoever pays by channel is told how much is missing in a way that its program reads.
    fn told(&self, error: BoxError, call: &Call) -> BoxError {
        let Some(channel) = &call.account.channel else {
            return error;
        };
        match error.downcast_ref::<ReserveError>() {
            Some(ReserveError::Short { missing, .. }) => {
                let path = format!("/v1/{}", call.outbound.operation.path);
                self.payments
                    .short(channel, &path, *missing)
                    .map_or(error, BoxError::from)
            }
            Some(ReserveError::Disabled { .. }) => PaymentError::Ended.into(),
            _ => error,
        }
    }

    /// What costs nothing makes work all the same: a channel, which anybody may open, has something left that it can lose.
    fn unpaid(&self, call: &Call) -> Option<PaymentRequired> {
        let channel = call.account.channel.as_ref().filter(|channel| channel.is_spent())?;
        let path = format!("/v1/{}", call.outbound.operation.path);
        self.payments.short(channel, &path, Nano::saturating(1))
    }

    /// Holds the ceiling of a call; `None` for what costs nothing.
    async fn cover(&self, payer: &Arc<Payer>, resolved: &mut Resolved) -> Result<Option<Box<Coverage>>, BoxError> {
        let outbound = &resolved.call.outbound;
        let measure = measure(&outbound.method, &outbound.operation);
        if measure == Measure::Nothing {
            return self
                .unpaid(&resolved.call)
                .map_or(Ok(None), |required| Err(required.into()));
        }
        let Resolved { call, offer, catalog } = resolved;
        let key = call.account.name.as_deref().unwrap_or_default();
        let model = call.outbound.model.as_deref().unwrap_or_default();
        let terms = catalog.pricing.terms(key, model, offer.price.as_ref(), payer.currency);
        let Some(terms) = terms.map_err(CoverError::from)? else {
            return Ok(None);
        };
        let endpoint = call.outbound.operation.endpoint;
        let measured = match measure {
            Measure::Tokens => call.outbound.json_mut(),
            Measure::Nothing | Measure::Request => None,
        };
        let (reservation, extent, is_strict_json) = match measured {
            None if terms.tariff.request == 0 => return Err(CoverError::Unmeasured { endpoint }.into()),
            None => {
                let ceiling = terms.charge(&Usage::default()).total;
                let reserved = self.ledger.reserve(payer, ceiling).await;
                let reservation = reserved.inspect_err(|error| self.ledger.count_refusal(error))?;
                (reservation, Extent::PER_REQUEST, false)
            }
            Some(body) => {
                let demand = body.demand(endpoint);
                if demand.is_deferred {
                    return Err(CoverError::Background.into());
                }
                let prompt = match demand.prompt {
                    Some(bytes) => PromptBound::Bytes(bytes),
                    None => PromptBound::Context(catalog.context(offer)),
                };
                let ask = Ask {
                    terms: &terms,
                    prompt,
                    output: output(endpoint, &demand, offer.max_output),
                };
                let is_bounded = demand.output.is_some() || !generates(endpoint);
                let held = self.hold(payer, &ask, is_bounded).await;
                let (reservation, output) = held.inspect_err(|error| self.ledger.count_refusal(error))?;
                if !is_bounded {
                    body.set_bound(output.tokens);
                }
                let estimate = Estimate::new(prompt, output);
                let extent = Extent {
                    prompt: estimate.prompt,
                    output: estimate.output,
                    answers: demand.answers(),
                    is_text: demand.is_text,
                    is_measured: true,
                };
                (reservation, extent, demand.is_strict_json)
            }
        };
        Ok(Some(Box::new(Coverage {
            reservation,
            terms,
            extent,
            is_strict_json,
        })))
    }
}

/// What workers may be asked for at most, who are paid for it.
fn ask(resolved: &mut Resolved) -> Errands {
    let Resolved { call, offer, catalog } = resolved;
    let outbound = &mut call.outbound;
    let measure = measure(&outbound.method, &outbound.operation);
    let endpoint = outbound.operation.endpoint;
    match (measure, outbound.json_mut()) {
        (Measure::Nothing, _) => Errands::Nothing,
        (Measure::Request, _) | (Measure::Tokens, None) => Errands::Request,
        (Measure::Tokens, Some(body)) => {
            let demand = body.demand(endpoint);
            Errands::Tokens {
                prompt: match demand.prompt {
                    Some(bytes) => PromptBound::Bytes(bytes),
                    None => PromptBound::Context(catalog.context(offer)),
                },
                output: output(endpoint, &demand, offer.max_output),
            }
        }
    }
}

/// What is asked for.
struct Ask<'a> {
    terms: &'a Terms,
    prompt: PromptBound,
    output: Output,
}

impl<S> Reserve<S> {
    /// Holds the ceiling. Where that is too much and the client set no bound on the answer, it is given a shorter one:
    /// what is left pays for the most that it can.
    async fn hold(
        &self,
        payer: &Arc<Payer>,
        ask: &Ask<'_>,
        is_bounded: bool,
    ) -> Result<(Reservation, Output), ReserveError> {
        let ceiling = |output| Estimate::new(ask.prompt, output).ceiling(ask.terms);
        let whole = ceiling(ask.output);
        let error = match self.ledger.reserve(payer, whole).await {
            Ok(reservation) => return Ok((reservation, ask.output)),
            Err(error) => error,
        };
        let ReserveError::Short { missing, .. } = &error else {
            return Err(error);
        };
        let left = whole.saturating_sub(*missing);
        let affordable = Estimate::affordable_output(ask.terms, ask.prompt, ask.output, left);
        let Some(tokens) = affordable.filter(|tokens| !is_bounded && *tokens >= LEAST_OUTPUT) else {
            return Err(error);
        };
        let output = Output { tokens, ..ask.output };
        let reservation = self.ledger.reserve(payer, ceiling(output)).await?;
        Ok((reservation, output))
    }
}

impl Coverage {
    fn watch(&self, outbound: &Outbound) -> Watch {
        if !self.extent.is_measured {
            return Watch::default();
        }
        let prompt = outbound.json().map_or(0, |body| body.input_len() as u64);
        Watch {
            most: Some(Most {
                completion: self.extent.output,
                prompt: prompt.div_ceil(BYTES_PER_TOKEN).min(self.extent.prompt),
            }),
            json: self.is_strict_json,
        }
    }

    pub(crate) fn held(&self) -> Nano {
        self.reservation.held()
    }
}

/// What an operation is charged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// It runs no model.
    Nothing,
    Tokens,
    /// Nobody counts what it uses.
    Request,
}

pub(crate) fn measure(method: &Method, operation: &Operation) -> Measure {
    if method != Method::POST || operation.is_count_tokens() {
        return Measure::Nothing;
    }
    let last = operation.path.rsplit('/').next().unwrap_or_default();
    match operation.endpoint {
        Endpoint::Models | Endpoint::Tokenize | Endpoint::Detokenize => Measure::Nothing,
        endpoint if endpoint.is_inference() && operation.is_root_post => Measure::Tokens,
        // Changes what is kept of an answer.
        Endpoint::ChatCompletions => Measure::Nothing,
        Endpoint::Responses if matches!(last, "cancel" | "input_tokens") => Measure::Nothing,
        _ => Measure::Request,
    }
}

/// Whether an endpoint answers in tokens.
fn generates(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages
    )
}

fn output(endpoint: Endpoint, demand: &Demand, max_output: u64) -> Output {
    Output {
        tokens: if generates(endpoint) {
            demand.output.unwrap_or(max_output)
        } else {
            0
        },
        choices: demand.choices,
        prompts: demand.prompts,
    }
}
