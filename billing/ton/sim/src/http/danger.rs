//! What no network offers: coins, time, a halt, and failures of this front itself.

use std::sync::{Mutex, PoisonError};

use billing::Nano;
use serde_json::{Value as Json, json};

use super::failure::Failure;
use super::parameters::Parameters;
use super::{form, methods};
use crate::simulated::Simulated;

/// A chain and how its front fails just now.
pub(super) struct Front {
    chain: Simulated,
    failing: Mutex<Failing>,
}

/// So many calls more are answered so.
#[derive(Clone, Copy)]
struct Failing {
    calls: u32,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    Limited,
    Unavailable,
}

impl Front {
    pub(super) fn new(chain: Simulated) -> Self {
        let failing = Failing {
            calls: 0,
            how: How::Limited,
        };
        Self {
            chain,
            failing: Mutex::new(failing),
        }
    }

    /// A method of the API.
    pub(super) fn call(&self, name: &str, parameters: &Parameters) -> Result<Json, Failure> {
        {
            let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rest) = failing.calls.checked_sub(1) {
                failing.calls = rest;
                return Err(match failing.how {
                    How::Limited => Failure::Limited,
                    How::Unavailable => Failure::Unavailable("a fault was asked for".to_owned()),
                });
            }
        }
        methods::call(&self.chain, name, parameters)
    }

    pub(super) fn danger(&self, name: &str, parameters: &Parameters) -> Result<Json, Failure> {
        let chain = &self.chain;
        match name {
            "faucet" => {
                let account = parameters.account("address")?;
                let amount = Nano::new(parameters.required("amount")?)
                    .ok_or_else(|| Failure::Parameter("amount is greater than any that we count".to_owned()))?;
                chain.fund(account, amount)?;
                let address = form::friendly(&account);
                return Ok(json!({ "@type": "ok", "address": address, "amount": amount.get().to_string() }));
            }
            "advance" => chain.advance(parameters.required("seconds")?)?,
            "halt" => chain.halt(),
            "resume" => chain.resume()?,
            "fail" => {
                let calls = parameters.required("calls")?;
                let how = match parameters.required::<u16>("status")? {
                    429 => How::Limited,
                    503 => How::Unavailable,
                    _ => return Err(Failure::Parameter("status must be 429 or 503".to_owned())),
                };
                *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = Failing { calls, how };
            }
            _ => return Err(Failure::NotFound),
        }
        Ok(json!({ "@type": "ok", "now": chain.now() }))
    }
}
