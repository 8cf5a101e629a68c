//! The keys that an issuer publishes (RFC 7517), as far as they can verify a signature of ours.
//!
//! Passed over: shared secrets, keys for encryption, curves and algorithms that are not accepted.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// An issuer has a few; a set of thousands is no set of keys.
const MAX_KEYS: usize = 256;

/// The usable ones, in the issuer's order.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// What it may be used with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// The document is no set of keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error("it is not a JSON Web Key Set: {{\"keys\": [...]}}")]
    Shape,
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
}

impl Keys {
    pub(super) fn parse(document: &[u8]) -> Result<Self, KeysError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(document).map_err(|_| KeysError::Shape)?;
        if set.keys.len() > MAX_KEYS {
            return Err(KeysError::TooMany);
        }
        // One that we cannot read does not speak against the others.
        let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self(jwks.filter_map(|jwk: Jwk| Key::read(&jwk)).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key of this name that goes with the algorithm; without a name, the only one that does.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
        .map(|key| &key.key)
    }
}

impl Key {
    fn read(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !may_verify {
            return None;
        }
        let fitting: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return None,
        };
        let algorithms = match common.key_algorithm {
            // A key that says what it is for is for nothing else.
            Some(named) => {
                let named = Algorithm::try_from(named).ok()?;
                fitting.contains(&named).then(|| vec![named])?
            }
            None => fitting.to_vec(),
        };
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", self.algorithms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7517, appendix A.1.
    const EC: &str = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
    const RSA: &str = r#""kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB""#;

    fn keys(entries: &[String]) -> Keys {
        let document = format!(r#"{{"keys":[{}]}}"#, entries.join(","));
        Keys::parse(document.as_bytes()).expect("a set")
    }

    fn key(parameters: &str, more: &str) -> String {
        format!("{{{parameters}{more}}}")
    }

    #[test]
    fn only_what_can_verify_is_kept() {
        let check = |parameters: &str, more: &str, expect: usize| {
            assert_eq!(keys(&[key(parameters, more)]).len(), expect, "for {parameters}{more}");
        };
        check(EC, "", 1);
        check(RSA, r#","alg":"PS256","use":"sig","key_ops":["verify"]"#, 1);
        check(EC, r#","use":"enc""#, 0);
        check(RSA, r#","alg":"RSA-OAEP""#, 0);
        check(RSA, r#","alg":"HS256""#, 0);
        check(EC, r#","alg":"RS256""#, 0);
        check(EC, r#","key_ops":["deriveKey"]"#, 0);
        check(r#""kty":"oct","k":"c2VjcmV0""#, "", 0);
        check(r#""kty":"new","z":"1""#, "", 0);
        check(&EC.replace("P-256", "P-521"), "", 0);
        check(&EC.replace("MKBC", "****"), "", 0);
    }

    #[test]
    fn a_key_is_found_by_its_name_and_only_for_its_algorithm() {
        let keys = keys(&[
            key(EC, r#","kid":"ec""#),
            key(RSA, r#","kid":"rs","alg":"RS256""#),
            key(RSA, r#","kid":"any""#),
        ]);
        let check = |id: Option<&str>, algorithm, expect: bool| {
            assert_eq!(keys.find(id, algorithm).is_some(), expect, "for {id:?} {algorithm:?}");
        };
        check(Some("ec"), Algorithm::ES256, true);
        check(Some("ec"), Algorithm::RS256, false);
        check(Some("ec"), Algorithm::HS256, false);
        check(Some("rs"), Algorithm::RS256, true);
        check(Some("rs"), Algorithm::PS256, false);
        check(Some("any"), Algorithm::PS256, true);
        check(Some("other"), Algorithm::ES256, false);
        check(None, Algorithm::ES256, true);
        // Two could be meant.
        check(None, Algorithm::RS256, false);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for document in ["", "[]", r#"{"keys":{}}"#, r#"{"error":"x"}"#] {
            assert!(Keys::parse(document.as_bytes()).is_err(), "{document}");
        }
        let many = vec![key(EC, ""); MAX_KEYS + 1].join(",");
        assert!(Keys::parse(format!(r#"{{"keys":[{many}]}}"#).as_bytes()).is_err());
    }
}
