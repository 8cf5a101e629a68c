//! ThrottleTokens: tokens a minute, of one account. After Resolve, for what is refused there needs none; outside
//! Reserve, for money is held only for what may run.
//!
//! What a request will use is not known before it ran. Its estimate is set aside, and Meter settles it.

use backends::{
    attempt::Outbound,
    body::BoxBody,
    serve::{BoxError, Serve},
};
use http::Response;
use openapi::endpoint::Endpoint;
use tower_layer::Layer;

use super::meter::BYTES_PER_TOKEN;
use crate::call::{Allotted, Resolved};

/// Of an answer whose length the client did not bound: more than most are, and little enough that small limits work.
const DEFAULT_COMPLETION: u64 = 256;

#[derive(Debug, Clone, Copy)]
pub(crate) struct ThrottleTokensLayer;

impl<S> Layer<S> for ThrottleTokensLayer {
    type Service = ThrottleTokens<S>;

    fn layer(&self, inner: S) -> ThrottleTokens<S> {
        ThrottleTokens { inner }
    }
}

#[derive(Debug)]
pub(crate) struct ThrottleTokens<S> {
    inner: S,
}

impl<S> Serve<Resolved> for ThrottleTokens<S>
where
    S: Serve<Allotted, Response = Response<BoxBody>>,
{
    type Response = Response<BoxBody>;

    async fn call(&self, mut resolved: Resolved) -> Result<Response<BoxBody>, BoxError> {
        let call = &mut resolved.call;
        if let Some(limit) = call.account.tokens_per_minute() {
            let tokens = estimate(&call.outbound).min(u64::from(u32::MAX));
            call.allowance.set_aside(tokens, limit).await?;
        }
        self.inner.call(Allotted(resolved)).await
    }
}

/// What a request will use at most, as far as it says.
fn estimate(outbound: &Outbound) -> u64 {
    let endpoint = outbound.operation.endpoint;
    let Some(body) = outbound.json() else { return 0 };
    if !endpoint.is_inference() || !outbound.operation.is_root_post {
        return 0;
    }
    let prompt = (body.text_len() as u64).div_ceil(BYTES_PER_TOKEN);
    let completion = match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses | Endpoint::Messages => {
            body.max_output_tokens().unwrap_or(DEFAULT_COMPLETION)
        }
        _ => 0,
    };
    prompt.saturating_add(completion.saturating_mul(body.choices().max(1)))
}
