//! What a running gateway shows, fetched and checked in one go: itself and its workers under a nonce of ours, or the
//! receipt of one answer with the evidence that it rests on.

use std::{fs, process::ExitCode, time::Duration};

use attestation::{
    Basis, Bundle, CollateralSet, Evidence, Expected, Hex, Role, TrustAnchor, Verifier, binding::user_report_data,
};
use attestation_ratls::{Certificate, CertificateRefusal, Shown, collateral::bundle::import};
use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, Target},
    serve::BoxError,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{REFUSED, Said, plain, policy, read};
use crate::{
    cli::{attest::FetchArgs, verify::VerifyArgs},
    commands::{remote::segment, verify},
    tls, wall_clock,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Bundles of many workers, and the receipts of one request.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("nothing came from the gateway within {PATIENCE:?}")]
    Late,
    #[error("the gateway answered {status}: {says}")]
    Status { status: u16, says: String },
    #[error("what came is not what such a gateway answers: {what}")]
    Foreign { what: &'static str },
}

pub(super) async fn fetch(args: &FetchArgs) -> Result<ExitCode, BoxError> {
    let gateway = Gateway::new(args)?;
    match &args.answer {
        Some(id) => gateway.answer(args, id).await,
        None => gateway.shown(args).await,
    }
}

struct Gateway {
    client: Client,
    target: Target,
    key: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Attestation<'a> {
    gateway: Value,
    #[serde(borrow)]
    workers: Vec<Worker<'a>>,
}

#[derive(Deserialize)]
struct Worker<'a> {
    #[serde(borrow)]
    bundle: Option<&'a RawValue>,
}

impl Gateway {
    fn new(args: &FetchArgs) -> Result<Self, BoxError> {
        let target = Target::parse(&args.url)?;
        let tls = target.is_https().then(|| tls::client(None)).transpose()?;
        let connector = Connector::new(target.clone(), HttpVersion::Http1, PATIENCE, tls.as_deref());
        let key = args
            .key
            .as_ref()
            .map(|key| HeaderValue::try_from(format!("Bearer {key}")))
            .transpose()?;
        Ok(Self {
            client: Client::new(connector, Duration::ZERO),
            target,
            key,
        })
    }

    async fn get(&self, path: &str) -> Result<Bytes, BoxError> {
        let mut request = Request::new(Outgoing::Empty);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = format!("{}/v1/{path}", self.target.base_path()).parse()?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.target.authority().parse()?);
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        let asking = async {
            let response = self.client.send(request, false).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await?
                .to_bytes();
            Ok::<_, BoxError>((status, body))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| FetchError::Late)??;
        if !status.is_success() {
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let says = plain(error["error"]["message"].as_str().unwrap_or("nothing that can be read"));
            let status = status.as_u16();
            return Err(FetchError::Status { status, says }.into());
        }
        Ok(body)
    }

    /// The files of one answer, and what `mulberry verify` says of them.
    async fn answer(&self, args: &FetchArgs, id: &str) -> Result<ExitCode, BoxError> {
        let receipts = self.get(&format!("receipts/{}", segment(id))).await?;
        let keys = self.get("receipts/keys").await?;
        let listed: Value = serde_json::from_slice(&receipts)?;
        let data = listed["data"].as_array();
        let data = data.ok_or(FetchError::Foreign {
            what: "list of receipts",
        })?;
        if data.is_empty() || data.iter().any(|receipt| receipt["request_id"] != *id) {
            return Err(FetchError::Foreign {
                what: "receipt of that answer",
            }
            .into());
        }
        fs::create_dir_all(&args.save)?;
        let file = |name: &str| args.save.join(name);
        fs::write(file("receipts.json"), &receipts)?;
        fs::write(file("keys.json"), &keys)?;
        let mut evidence = Vec::new();
        for receipt in data {
            let Some(named) = receipt["evidence"].as_str() else {
                continue;
            };
            let named: Hex<32> = named.strip_prefix("sha256:").unwrap_or_default().parse()?;
            let path = file(&format!("{named}.json"));
            if !evidence.contains(&path) {
                fs::write(&path, self.get(&format!("evidence/{named}")).await?)?;
                evidence.push(path);
            }
        }
        say(&format!(
            "the receipt, the keys and the evidence are in '{}'",
            args.save.display()
        ));
        if evidence.is_empty() {
            say("the receipt names no evidence: nothing is known of the machine that answered");
        }
        let own = args.policy.as_deref().map(policy::read_policy).transpose()?;
        if let Some(own) = &own {
            if evidence.is_empty() {
                say("refused: there is no evidence to be judged by your policy");
                return Ok(ExitCode::from(REFUSED));
            }
            let anchor = anchor(args)?;
            for path in &evidence {
                let judged = Bundle::read(&read(path)?).and_then(|bundle| {
                    bundle.appraise(&anchor)?;
                    bundle.appraise_under(own, &anchor)
                });
                if let Err(refusal) = judged {
                    say(&format!("refused by your policy: {}: {refusal}", refusal.code()));
                    return Ok(ExitCode::from(REFUSED));
                }
            }
        }
        let root = args.root.clone().filter(|_| !evidence.is_empty());
        verify::run(&VerifyArgs {
            files: vec![file("receipts.json")],
            key: Vec::new(),
            keys: Some(file("keys.json")),
            worker_key: Vec::new(),
            request: None,
            response: None,
            salt: None,
            evidence,
            root,
            checkpoint: None,
            head: Vec::new(),
            from_first: false,
            // Those of one request are no whole chain.
            allow_gaps: true,
        })
    }

    /// Itself and its workers, now.
    async fn shown(&self, args: &FetchArgs) -> Result<ExitCode, BoxError> {
        let nonce: [u8; 32] = tls::random().ok_or("this system gives no random bytes")?;
        let body = self.get(&format!("attestation?nonce={}", Hex(nonce))).await?;
        let shown: Attestation<'_> = serde_json::from_slice(&body)?;
        let anchor = anchor(args)?;
        let mut all_good = tell(gateway(&shown.gateway, &nonce, args, &anchor)?);
        let own = args.policy.as_deref().map(policy::read_policy).transpose()?;
        for worker in &shown.workers {
            let Some(bundle) = worker.bundle else {
                say("worker: not sent; its bundle can be asked for by its id");
                // Nobody has judged it.
                all_good &= own.is_none();
                continue;
            };
            let text = bundle.get();
            let appraised = Bundle::read(text.as_bytes()).and_then(|bundle| {
                let verdict = bundle.appraise(&anchor)?;
                match &own {
                    Some(own) => bundle.appraise_under(own, &anchor),
                    None => Ok(verdict),
                }
            });
            all_good &= tell(match appraised {
                Ok(verdict) if verdict.role() != Role::Worker => {
                    Said::Refused("worker: refused: role_mismatch".to_owned())
                }
                Ok(verdict) if verdict.expires().saturating_add(60) < wall_clock::unix_seconds() => {
                    Said::Refused("worker: refused: what it shows has ended".to_owned())
                }
                Ok(verdict) => Said::Good(format!(
                    "worker: {}, image {}, anchor {}, evidence {}",
                    verdict.tier(),
                    verdict.image().unwrap_or("none"),
                    verdict.anchor().map_or("none", attestation::Anchor::name),
                    Bundle::id_of(text.as_bytes()),
                )),
                Err(refusal) => Said::Refused(format!("worker: refused: {}: {refusal}", refusal.code())),
            });
        }
        if shown.workers.is_empty() {
            say("no worker that shows evidence may answer this key now");
        }
        Ok(if all_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(REFUSED)
        })
    }
}

fn anchor(args: &FetchArgs) -> Result<TrustAnchor, BoxError> {
    Ok(match &args.root {
        None => TrustAnchor::Intel,
        Some(path) => TrustAnchor::Development(read(path)?),
    })
}

/// What a gateway proved of itself under our nonce.
fn gateway(shown: &Value, nonce: &[u8; 32], args: &FetchArgs, anchor: &TrustAnchor) -> Result<Said, BoxError> {
    let demands = args.gateway_policy.is_some();
    let unproved = || Said::Refused("gateway: refused: quote_missing: it shows no evidence of its machine".to_owned());
    let Some(certificate) = bytes(&shown["certificate"]) else {
        if demands {
            return Ok(unproved());
        }
        let says = shown["says"].as_str().ok_or(FetchError::Foreign { what: "gateway" })?;
        return Ok(Said::Good(format!("gateway: nothing is known of it: {says}")));
    };
    let now = wall_clock::unix_seconds();
    let certificate = match Certificate::read(&CertificateDer::from(certificate), &[], now) {
        Ok(certificate) => certificate,
        Err(refusal) => return Ok(certificate_refused(&refusal)),
    };
    let spki = certificate.spki_sha256();
    let report_data = user_report_data(Role::Gateway, nonce, spki);
    if let Some(signature) = bytes(&shown["proof"]["signature"]) {
        return Ok(if demands {
            unproved()
        } else if certificate.key().stated(&report_data, &signature) {
            Said::Good(format!(
                "gateway: it holds the key {}, which proves nothing about its machine",
                Hex(*spki)
            ))
        } else {
            Said::Refused(
                "gateway: refused: binding_mismatch: the signature is not of its key over our nonce".to_owned(),
            )
        });
    }
    let quote = bytes(&shown["proof"]["quote"]).ok_or(FetchError::Foreign { what: "proof" })?;
    let (Some(rules), Some(folder)) = (&args.gateway_policy, &args.collateral) else {
        return Ok(Said::Refused(
            "gateway: it shows a quote, which was not judged: give --gateway-policy and --collateral".to_owned(),
        ));
    };
    let rules = policy::read_policy(rules)?;
    let mut collateral = CollateralSet::new(anchor.clone());
    drop(import(folder, &mut collateral, now)?);
    let verifier = Verifier::new(anchor.clone());
    let basis = Basis::new(&rules, &collateral, now);
    let Shown::Evidence(evidence) = certificate.shown() else {
        return Ok(Said::Refused("gateway: refused: interop_refused".to_owned()));
    };
    let judged = Evidence::decode(evidence).and_then(|evidence| {
        let first = verifier.appraise_certificate(&evidence, Role::Gateway, spki, &basis)?;
        let expected = Expected {
            role: Role::Gateway,
            report_data: &report_data,
            claims: first.claims(),
            gpu: None,
        };
        verifier.appraise(&quote, &expected, &basis)
    });
    Ok(match judged {
        Ok(verdict) => Said::Good(format!(
            "gateway: {}, image {}, anchor {}, key {}",
            verdict.tier(),
            verdict.image().unwrap_or("none"),
            verdict.anchor().map_or("none", attestation::Anchor::name),
            Hex(*spki),
        )),
        Err(refusal) => Said::Refused(format!("gateway: refused: {}: {refusal}", refusal.code())),
    })
}

fn certificate_refused(refusal: &CertificateRefusal) -> Said {
    Said::Refused(format!("gateway: refused: {}: {refusal}", refusal.code()))
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}

/// Whether it holds.
fn tell(said: Said) -> bool {
    let (text, is_good) = match said {
        Said::Good(text) => (text, true),
        Said::Refused(text) => (text, false),
    };
    say(&text);
    is_good
}

/// Who reads the exit status alone may have closed the output.
fn say(line: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout(), "{}", plain(line)));
}
