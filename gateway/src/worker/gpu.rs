//! GPU: evidence of the GPUs of this guest, by the operator's collector, and what the vendor's service says of their certificates.
//!
//! We link no library of a vendor: the collector is a program such as NVIDIA's `nvattest`.
//! Evidence without an answer of that service is passed on without: then the verifier accepts no GPU, and the worker serves in tier `tee`.

use std::{sync::Arc, time::Duration};

use attestation::{Hex, NoQuote, gpu::GpuEvidence};
use attestation_guest::gpu::Collector;
use attestation_ratls::{GpuAttester, Identities, collateral::Client};
use http::{Uri, uri::Scheme};
use tokio::runtime::Handle;

use crate::{
    layers::rescue::Chain,
    tls::{self, TlsError},
};

/// Whoever verifies accepts answers of a day.
const RENEW: Duration = Duration::from_secs(6 * 60 * 60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(5 * 60);
/// For a program that talks to every GPU of the machine.
const COLLECT: Duration = Duration::from_secs(40);

/// Reads a command with its arguments, apart by white space.
pub(crate) fn collector(text: &str) -> Result<Collector, String> {
    let mut words = text.split_whitespace().map(str::to_owned);
    let program = words.next().ok_or("name a program")?;
    let arguments: Vec<String> = words.collect();
    if !arguments
        .iter()
        .any(|argument| argument.contains(attestation_guest::gpu::NONCE))
    {
        return Err(format!(
            "one of its arguments must hold {}, or its evidence could be anybody's of any time",
            attestation_guest::gpu::NONCE
        ));
    }
    Ok(Collector {
        program: program.into(),
        arguments,
        timeout: COLLECT,
    })
}

/// Collects evidence of the GPUs of this guest.
pub(crate) struct Gpus {
    collector: Collector,
    /// Asks the vendor's service, which may be spoken to in the clear: what it says is signed.
    client: Client,
    responder: Uri,
}

impl Gpus {
    pub(crate) fn new(collector: Collector, responder: Uri) -> Result<Self, TlsError> {
        let is_https = responder.scheme() == Some(&Scheme::HTTPS);
        let roots = is_https.then(|| tls::client(None)).transpose()?;
        Ok(Self {
            collector,
            client: Client::new(roots.as_deref()),
            responder,
        })
    }

    /// What the vendor's service says of the certificates, now; nothing where it does not answer.
    async fn staples(&self, evidence: &GpuEvidence) -> Option<Vec<Vec<u8>>> {
        let requests = match evidence.ocsp_requests() {
            Ok(requests) => requests,
            Err(refusal) => {
                tracing::warn!(
                    code = refusal.code(),
                    "the evidence of the GPUs has certificates that nobody can vouch for"
                );
                return None;
            }
        };
        let mut staples = Vec::with_capacity(requests.len());
        for request in requests {
            match self.client.ocsp(&self.responder, request).await {
                Ok(answer) => staples.push(answer),
                Err(error) => {
                    tracing::warn!(responder = %self.responder, error = %Chain(&error), "nobody vouches for the certificates of the GPUs; they will not count");
                    return None;
                }
            }
        }
        Some(staples)
    }

    /// Keeps what the vendor's service says fresh, for ever. Cancelled by dropping.
    pub(crate) async fn renew(self: Arc<Self>, identities: Arc<Identities>) {
        let mut wait = RENEW;
        loop {
            tokio::time::sleep(wait).await;
            let identity = identities.current();
            let Some(evidence) = identity.gpu_evidence() else {
                continue;
            };
            wait = RETRY;
            if let Some(staples) = self.staples(&evidence).await {
                let evidence = GpuEvidence {
                    staples,
                    ..GpuEvidence::clone(&evidence)
                };
                // Refused only of other devices, and these are the same.
                if identity.renew_gpu_evidence(evidence).is_ok() {
                    wait = RENEW;
                }
            }
        }
    }
}

impl GpuAttester for Gpus {
    fn evidence(&self, nonce: &[u8; 32]) -> Result<GpuEvidence, NoQuote> {
        let written = self.collector.collect(&Hex(*nonce)).map_err(NoQuote::new)?;
        let is_json = written.iter().find(|byte| !byte.is_ascii_whitespace());
        let read = match is_json {
            Some(b'{' | b'[') => GpuEvidence::from_nvidia_json(&written),
            _ => GpuEvidence::decode(&written),
        };
        let mut evidence = read.map_err(NoQuote::new)?;
        if evidence.staples.is_empty() && evidence.eat.is_none() {
            let staples = Handle::try_current()
                .map_err(NoQuote::new)?
                .block_on(self.staples(&evidence));
            evidence.staples = staples.unwrap_or_default();
        }
        Ok(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_command_that_takes_the_nonce() {
        let read = collector("nvattest collect-evidence --nonce {nonce}").expect("a command");
        assert_eq!(read.program, "nvattest");
        assert_eq!(read.arguments, ["collect-evidence", "--nonce", "{nonce}"]);
        assert!(collector("").is_err());
        assert!(collector("nvattest collect-evidence").is_err());
    }
}
