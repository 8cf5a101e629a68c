//! `GET /v1/attestation`, `/v1/evidence/{id}` and `/v1/aci/attestation`: what users can check themselves of this gateway
//! and of the workers that may answer them.
//!
//! Workers have no names here: their bundles say what was verified, and nothing of whose they are.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use attestation::Hex;
use backends::{body::BoxBody, serve::BoxError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD, prelude::BASE64_STANDARD};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use openapi::endpoint::percent_decode;
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest as _, Sha256};

use super::receipts;
use crate::{
    accounts::Account,
    catalog::Catalog,
    evidence::{Evidence, EvidenceId, Own, OwnError, ReadError},
    layers::{authenticate::Authenticator, resolve, route::RouteError},
};

/// Of all bundles in one answer; past that workers come without theirs, which can be asked for by id.
const MAX_BUNDLES: usize = 8 * 1024 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Attestation,
    Aci,
    /// `None` where what stands in the path is no digest.
    Bundle(Option<EvidenceId>),
}

/// Why there is no answer about evidence, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    #[error("`nonce` is missing: 32 bytes that you drew at random, as 64 hexadecimal digits{}.", or_base64(.base64))]
    NoNonce { base64: bool },
    #[error("`nonce` must be 32 bytes, as 64 hexadecimal digits{}.", or_base64(.base64))]
    BadNonce { base64: bool },
    #[error(
        "There is no evidence with this id here. Receipts name the evidence that they rest on in `evidence`, without the `sha256:` before it."
    )]
    NotFound,
    #[error(transparent)]
    Own(#[from] OwnError),
    #[error("The archive of evidence does not answer.")]
    Read(#[from] ReadError),
}

fn or_base64(base64: &bool) -> &'static str {
    if *base64 {
        " or 43 characters of base64url"
    } else {
        " in lower case"
    }
}

impl Asked {
    /// `None` for the path of something else. `/v1` and the slash at the end are optional, as everywhere.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let rest = rest.strip_prefix("v1/").unwrap_or(rest);
        match rest.strip_suffix('/').unwrap_or(rest) {
            "attestation" => Some(Self::Attestation),
            "aci/attestation" => Some(Self::Aci),
            path => {
                let id = path.strip_prefix("evidence/")?;
                (!id.is_empty() && !id.contains('/')).then(|| Self::Bundle(id.parse().ok()))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Witnesses {
    pub(crate) authenticator: Authenticator,
    pub(crate) catalog: Arc<ArcSwap<Catalog>>,
    pub(crate) evidence: Evidence,
    pub(crate) own: Own,
}

impl Witnesses {
    pub(crate) async fn call(&self, asked: Asked, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        if *request.method() != Method::GET {
            return Err(RouteError::Method {
                method: request.method().clone(),
                path: request.uri().path().chars().take(200).collect(),
                allow: "GET",
            }
            .into());
        }
        let account = self.authenticator.authenticate(&request).await?;
        let query = Query::of(request.uri().query().unwrap_or_default());
        match asked {
            Asked::Bundle(id) => {
                let text = match id {
                    Some(id) => self.evidence.read(id).await.map_err(EvidenceError::from)?,
                    None => None,
                };
                let text = text.ok_or(EvidenceError::NotFound)?;
                // Named by its digest, it never changes.
                Ok(receipts::json(text, "private, max-age=31536000, immutable"))
            }
            Asked::Attestation => {
                let nonce = query.nonce(true)?;
                let gateway = match self.own.show(nonce).await {
                    Ok(shown) => shown,
                    // The workers' evidence counts all the same.
                    Err(nobody @ OwnError::Nobody) => json!({ "attested": false, "says": nobody.to_string() }),
                    Err(error) => return Err(EvidenceError::from(error).into()),
                };
                // Behind what is bounded by rate.
                let workers = self.workers(&account, query.model.as_deref())?;
                let document = json!({
                    "object": "attestation",
                    "nonce": Hex(nonce),
                    "gateway": gateway,
                    "workers": workers,
                });
                Ok(receipts::json(serde_json::to_vec(&document)?, "no-store"))
            }
            Asked::Aci => {
                let nonce = query.nonce(false)?;
                let report = aci(&self.own, nonce).await.map_err(EvidenceError::from)?;
                Ok(receipts::json(serde_json::to_vec(&report)?, "no-store"))
            }
        }
    }

    /// Those that may answer the account now, by the bundles that they are verified by.
    fn workers(&self, account: &Account, model: Option<&str>) -> Result<Vec<Value>, BoxError> {
        let catalog = self.catalog.load();
        let offers = match model {
            Some(model) => vec![resolve::find(&catalog, account, model)?],
            None => catalog
                .offers()
                .filter(|offer| account.may_use(&offer.pattern))
                .cloned()
                .collect(),
        };
        let legs = offers.iter().flat_map(|offer| offer.route.legs());
        let upstreams = legs.flat_map(|leg| &leg.backend.upstreams);
        // One worker may serve many models.
        let mut found = BTreeMap::new();
        for worker in upstreams.filter_map(|upstream| upstream.worker()) {
            let assurance = worker.assurance();
            let (Some(id), None) = (assurance.evidence(), worker.absence()) else {
                continue;
            };
            found.entry(id).or_insert(assurance);
        }
        let mut bytes = 0;
        let shown = found.into_iter().map(|(id, assurance)| {
            let bundle = self.evidence.kept(id).map(|noted| noted.bundle.text());
            let bundle = bundle.filter(|text| {
                bytes += text.len();
                bytes <= MAX_BUNDLES
            });
            json!({
                "tier": assurance.tier(),
                "verdict": assurance.verdict(),
                "bound_at": assurance.bound_at(),
                "evidence": id,
                "bundle": bundle.and_then(|text| RawValue::from_string(text).ok()),
            })
        });
        Ok(shown.collect())
    }
}

/// A report in the form of [ACI] §4, of a gateway that is a guest.
///
/// Its keyset names what the certificate's evidence vouches for: the key of attested connections, and that of receipts
/// where the claims name one. What we do not know of ourselves, and what the quote does not show, is null.
///
/// [ACI]: https://github.com/Dstack-TEE/private-ai-gateway/blob/main/spec/aci.md
async fn aci(own: &Own, nonce: [u8; 32]) -> Result<Value, OwnError> {
    let identity = own.identity()?;
    let claims = identity.claims();
    let receipt_keys = claims.receipt_key.iter().map(|key| {
        // As receipts name it.
        let id = Hex::<32>(Sha256::digest(key.0).into());
        json!({ "algo": "ed25519", "key_id": id, "public_key": key })
    });
    // In the order of RFC 8785, so that its text is the canonical one.
    let keyset = json!({
        "e2ee_public_keys": [],
        "not_after": claims.not_after,
        "receipt_signing_keys": receipt_keys.collect::<Vec<_>>(),
        "subject": null,
        "tls_public_keys": [{ "spki_sha256": claims.spki_sha256 }],
    });
    let digest = format!("sha256:{}", Hex::<32>(Sha256::digest(keyset.to_string()).into()));
    let statement = format!(
        r#"{{"keyset_digest":"{digest}","nonce":"{}","purpose":"aci.report_data.v1"}}"#,
        Hex(nonce)
    );
    let mut report_data = [0; 64];
    let (stated, _zeros) = report_data.split_at_mut(32);
    stated.copy_from_slice(&Sha256::digest(statement));
    let quote = own.quote(report_data).await?;
    Ok(json!({
        "api_version": "aci/1",
        "workload_keyset_digest": digest,
        "attestation": {
            "tee_type": "tdx",
            "workload_keyset": keyset,
            "report_data": Hex(report_data),
            "source_provenance": {
                "repo_url": null,
                "repo_commit": null,
                "image_digest": null,
                "image_provenance": null,
            },
            "evidence": {
                "quote": BASE64_STANDARD.encode(quote),
                "certificate": BASE64_STANDARD.encode(identity.certificate()),
            },
        },
        "service_capabilities": {
            "supported_e2ee_versions": [],
            "serving": "aggregator",
        },
    }))
}

/// The parameters that are known here. Others are not looked at.
#[derive(Default)]
struct Query {
    nonce: Option<String>,
    model: Option<String>,
}

impl Query {
    fn of(query: &str) -> Self {
        let mut found = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "nonce" => &mut found.nonce,
                "model" => &mut found.model,
                _ => continue,
            };
            // What cannot be read is no nonce and no model.
            *place = Some(percent_decode(value).unwrap_or_default());
        }
        found
    }

    fn nonce(&self, base64: bool) -> Result<[u8; 32], EvidenceError> {
        let text = self.nonce.as_deref().ok_or(EvidenceError::NoNonce { base64 })?;
        let read = match text.len() {
            64 if base64 || !text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                text.parse().ok().map(|Hex(bytes)| bytes)
            }
            43 if base64 => URL_SAFE_NO_PAD
                .decode(text)
                .ok()
                .and_then(|bytes| bytes.try_into().ok()),
            _ => None,
        };
        read.ok_or(EvidenceError::BadNonce { base64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let id = "ab".repeat(32);
        let check = |path: &str, expect: Option<Asked>| assert_eq!(Asked::of(path), expect, "for {path}");
        check("/v1/attestation", Some(Asked::Attestation));
        check("/attestation/", Some(Asked::Attestation));
        check("/v1/aci/attestation", Some(Asked::Aci));
        check(
            &format!("/v1/evidence/{id}"),
            Some(Asked::Bundle(Some(Hex([0xab; 32])))),
        );
        check("/v1/evidence/x", Some(Asked::Bundle(None)));
        for other in [
            "/v1/evidence",
            "/v1/evidence/",
            "/v1/evidence/a/b",
            "/v1/aci",
            "/v1/attestations",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn nonces() {
        let hex = "0A".repeat(32);
        let check = |query: &str, base64, expect: Option<u8>| {
            let found = Query::of(query).nonce(base64).ok();
            assert_eq!(found, expect.map(|byte| [byte; 32]), "for {query}");
        };
        check(&format!("nonce={hex}"), true, Some(10));
        check(&format!("nonce={hex}"), false, None);
        check(&format!("other=1&nonce={}", hex.to_lowercase()), false, Some(10));
        let short = URL_SAFE_NO_PAD.encode([7; 32]);
        check(&format!("nonce={short}"), true, Some(7));
        check(&format!("nonce={short}"), false, None);
        for wrong in ["", "nonce", "nonce=", "nonce=00", "nonce=%ff", &format!("nonce={hex}0")] {
            check(wrong, true, None);
        }
    }
}
