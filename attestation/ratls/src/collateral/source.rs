//! Where collateral is fetched, and how its pieces are asked for.
//!
//! Paths, headers and forms are those of Intel's *PCS API*, version 4, which every PCCS serves too.
//! Chains come as percent-encoded PEM in headers. Intel serves the root's revocation list apart, at the address in its
//! root certificate, as DER; a PCCS has it at a path of its own, in hex. We do not ask addresses that a certificate
//! names: for Intel the address is written here.

use attestation::{Collateral, CollateralParts, MAX_COLLATERAL_BYTES, Refusal};
use http::{HeaderMap, Uri};

use super::{Client, FetchError, Platform, client::Fetched};

/// Intel's own service.
const PCS: &str = "https://api.trustedservices.intel.com";
/// The revocation list of Intel's SGX root, at the distribution point in that certificate.
const PCS_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

const TCB_INFO_CHAIN: &str = "TCB-Info-Issuer-Chain";
const QE_IDENTITY_CHAIN: &str = "SGX-Enclave-Identity-Issuer-Chain";
const PCK_CRL_CHAIN: &str = "SGX-PCK-CRL-Issuer-Chain";

/// An address that serves collateral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Without a trailing slash.
    base: String,
    root_crl: String,
}

/// An address that no source can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    #[error("'{0}' is not a URL; write https://host, or http://host:port")]
    NotUrl(String),
    #[error("the scheme must be http or https")]
    Scheme,
    #[error("the URL must not hold a user, a password, or a query")]
    Credentials,
}

/// Why a source gave no collateral for a platform.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot fetch the {piece}")]
    Fetch {
        piece: &'static str,
        #[source]
        source: FetchError,
    },
    #[error("the answer has no header {0} with a chain of certificates in it")]
    Header(&'static str),
    #[error("the {0} is neither DER nor hex")]
    Encoding(&'static str),
    #[error("what came is not collateral")]
    Refused(#[source] Refusal),
    #[error("the collateral that came is for {found}, not for {asked}")]
    Other { asked: Platform, found: Platform },
}

impl Source {
    /// Intel's own service; it needs https and no key.
    pub fn intel() -> Self {
        Self {
            base: PCS.to_owned(),
            root_crl: PCS_ROOT_CRL.to_owned(),
        }
    }

    /// Any PCCS. It may be spoken to in the clear: everything it serves is signed.
    pub fn parse(url: &str) -> Result<Self, BadSource> {
        let url = url.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|_| BadSource::NotUrl(url.to_owned()))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(BadSource::NotUrl(url.to_owned()));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(BadSource::Scheme);
        }
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(BadSource::Credentials);
        }
        // Who copied a path from Intel's documents means the service.
        let base = ["/sgx/certification/v4", "/tdx/certification/v4"]
            .iter()
            .find_map(|path| url.strip_suffix(path))
            .unwrap_or(url);
        if base == PCS {
            return Ok(Self::intel());
        }
        Ok(Self {
            base: base.to_owned(),
            root_crl: format!("{base}/sgx/certification/v4/rootcacrl"),
        })
    }

    /// For messages.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// All pieces for a platform, read and not yet believed.
    pub async fn fetch(&self, client: &Client, platform: Platform) -> Result<Collateral, SourceError> {
        let base = &self.base;
        let Platform { fmspc, ca } = platform;
        let fmspc = fmspc.to_string().to_uppercase();
        let tcb = format!("{base}/tdx/certification/v4/tcb?fmspc={fmspc}&update=standard");
        let tcb = get(client, "TCB info", &tcb).await?;
        let qe = format!("{base}/tdx/certification/v4/qe/identity?update=standard");
        let qe = get(client, "quoting enclave's identity", &qe).await?;
        let crl = format!("{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der");
        let crl = get(client, "PCK revocation list", &crl).await?;
        let root = get(client, "root's revocation list", &self.root_crl).await?;
        let parts = CollateralParts {
            tcb_info_chain: chain(&tcb.headers, TCB_INFO_CHAIN)?,
            tcb_info: tcb.body,
            qe_identity_chain: chain(&qe.headers, QE_IDENTITY_CHAIN)?,
            qe_identity: qe.body,
            pck_crl_chain: chain(&crl.headers, PCK_CRL_CHAIN)?,
            pck_crl: der("PCK revocation list", crl.body)?,
            root_ca_crl: der("root's revocation list", root.body)?,
        };
        let collateral = Collateral::parse(parts).map_err(SourceError::Refused)?;
        match Platform::of(&collateral) {
            found if found == platform => Ok(collateral),
            found => Err(SourceError::Other { asked: platform, found }),
        }
    }
}

async fn get(client: &Client, piece: &'static str, url: &str) -> Result<Fetched, SourceError> {
    let failed = |source| SourceError::Fetch { piece, source };
    // The base was parsed, and what stands behind it is of letters and digits.
    let url: Uri = url
        .parse()
        .map_err(|error| failed(FetchError::Broken(Box::new(error))))?;
    client.get(&url, MAX_COLLATERAL_BYTES).await.map_err(failed)
}

/// Older caches call the first of the headers `SGX-TCB-Info-Issuer-Chain`.
fn chain(headers: &HeaderMap, name: &'static str) -> Result<String, SourceError> {
    let value = headers.get(name).or_else(|| headers.get(format!("SGX-{name}")));
    let text = value.and_then(|value| value.to_str().ok()).and_then(unescaped);
    let is_pem = |text: &String| text.starts_with("-----BEGIN CERTIFICATE-----");
    text.filter(is_pem).ok_or(SourceError::Header(name))
}

/// Percent-decoding, RFC 3986 §2.1. A plus stays one: it is a digit of base64.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, after) = rest.split_first_chunk::<2>()?;
        bytes.push(byte(*pair)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// A revocation list begins, as any DER sequence, with 0x30, which in hex is the two characters `30`.
fn der(piece: &'static str, body: Vec<u8>) -> Result<Vec<u8>, SourceError> {
    if body.starts_with(&[0x30, 0x82]) || body.starts_with(&[0x30, 0x81]) {
        return Ok(body);
    }
    let text = body.trim_ascii();
    let (pairs, odd) = text.as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| byte(*pair)).collect();
    match bytes {
        Some(bytes) if odd.is_empty() && bytes.first() == Some(&0x30) => Ok(bytes),
        _ => Err(SourceError::Encoding(piece)),
    }
}

fn byte(pair: [u8; 2]) -> Option<u8> {
    let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_are_read() {
        let check = |url: &str, base: &str, root: &str| {
            let source = Source::parse(url).expect("it is a URL");
            assert_eq!((source.base.as_str(), source.root_crl.as_str()), (base, root));
        };
        let pccs = "https://pccs.example/cache";
        let root = "https://pccs.example/cache/sgx/certification/v4/rootcacrl";
        check(pccs, pccs, root);
        check("https://pccs.example/cache/", pccs, root);
        check("https://pccs.example/cache/sgx/certification/v4/", pccs, root);
        let local = "http://[::1]:8081";
        check(local, local, "http://[::1]:8081/sgx/certification/v4/rootcacrl");
        // Intel has the list elsewhere.
        check(
            "https://api.trustedservices.intel.com/tdx/certification/v4",
            PCS,
            PCS_ROOT_CRL,
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |url: &str, expect: BadSource| assert_eq!(Source::parse(url), Err(expect), "{url}");
        check("pccs", BadSource::NotUrl("pccs".to_owned()));
        check("", BadSource::NotUrl(String::new()));
        check("ftp://pccs", BadSource::Scheme);
        check("https://user:secret@pccs", BadSource::Credentials);
        check("https://pccs?key=secret", BadSource::Credentials);
    }

    #[test]
    fn chains_are_unescaped() {
        let check = |value: &'static str, expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(TCB_INFO_CHAIN, HeaderValue::from_static(value));
            assert_eq!(chain(&headers, TCB_INFO_CHAIN).ok().as_deref(), expect, "{value}");
        };
        check(
            "-----BEGIN%20CERTIFICATE-----%0AMII+/%2B%3D%0a-----END",
            Some("-----BEGIN CERTIFICATE-----\nMII+/+=\n-----END"),
        );
        for wrong in [
            "",
            "-----BEGIN%20CERTIFICATE-----%",
            "-----BEGIN%20CERTIFICATE-----%0",
            "-----BEGIN%20CERTIFICATE-----%0g",
            "-----BEGIN%20CERTIFICATE-----%ff",
            "-----BEGIN%20CERTIFICATE-----%+1",
            "x",
        ] {
            check(wrong, None);
        }
        assert!(matches!(
            chain(&HeaderMap::new(), PCK_CRL_CHAIN),
            Err(SourceError::Header(PCK_CRL_CHAIN))
        ));
    }

    #[test]
    fn lists_are_der_or_hex() {
        let list = [0x30, 0x82, 1, 2, 0xff];
        assert_eq!(der("list", list.to_vec()).expect("it is DER"), list);
        assert_eq!(der("list", b"30820102fF\n".to_vec()).expect("it is hex"), list);
        for wrong in [
            b"".as_slice(),
            b"-----BEGIN X509 CRL-----",
            b"308",
            b"40820102",
            b"<html>",
            b"30zz",
        ] {
            assert!(der("list", wrong.to_vec()).is_err(), "{wrong:?}");
        }
    }
}
