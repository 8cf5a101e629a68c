//! Public keys as others read them: a JSON Web Key Set (RFC 7517) of OKP keys (RFC 8037).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use billing::receipt::PublicKey;
use serde::{Deserialize, Serialize};

/// A key set with more is none of a gateway's.
const MAX_KEYS: usize = 10_000;

#[derive(Debug, Serialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

#[derive(Debug, Serialize)]
struct WrittenKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
}

/// The key set of these keys. A `kid` is what receipts call `key_id`.
pub(crate) fn key_set(keys: impl IntoIterator<Item = PublicKey>) -> impl Serialize {
    let key = |key: PublicKey| WrittenKey {
        kty: "OKP",
        crv: "Ed25519",
        x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
        kid: key.id().to_string(),
        usage: "sig",
        alg: "EdDSA",
    };
    Written {
        keys: keys.into_iter().map(key).collect(),
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("is not a JSON Web Key Set")]
    Malformed(#[from] serde_json::Error),
    #[error("has a key of kind OKP and curve Ed25519 whose `x` is not 32 bytes in base64url")]
    Key,
    #[error("has no key of kind OKP and curve Ed25519")]
    Empty,
    #[error("has more than 10000 keys")]
    TooMany,
}

/// The Ed25519 keys of a key set; others may stand beside them.
pub(crate) fn read_key_set(text: &[u8]) -> Result<Vec<PublicKey>, KeySetError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Key>,
    }
    #[derive(Deserialize)]
    struct Key {
        kty: String,
        crv: Option<String>,
        x: Option<String>,
    }
    let set: Set = serde_json::from_slice(text)?;
    if set.keys.len() > MAX_KEYS {
        return Err(KeySetError::TooMany);
    }
    let ours = set
        .keys
        .iter()
        .filter(|key| key.kty == "OKP" && key.crv.as_deref() == Some("Ed25519"));
    let keys = ours.map(|key| {
        let x = key.x.as_deref().and_then(decode_salt);
        x.map(PublicKey::from_bytes).ok_or(KeySetError::Key)
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(KeySetError::Empty);
    }
    Ok(keys)
}

/// As people pass it on: hexadecimal or base64url.
pub(crate) fn decode_key(text: &str) -> Option<PublicKey> {
    PublicKey::from_hex(&text.to_ascii_lowercase()).or_else(|| decode_salt(text).map(PublicKey::from_bytes))
}

/// 32 bytes in base64url.
pub(crate) fn decode_salt(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.2.
    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const HEX: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn the_key_of_the_standard_is_read_and_written() {
        let set = format!(r#"{{"keys":[{{"kty":"RSA","n":"AQ"}},{KEY}]}}"#);
        let keys = read_key_set(set.as_bytes()).expect("one of them is ours");
        assert_eq!(keys, [decode_key(HEX).expect("a key")]);
        let written = serde_json::to_string(&key_set(keys.clone())).expect("JSON");
        assert!(
            written.contains(r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#),
            "{written}"
        );
        assert_eq!(read_key_set(written.as_bytes()).expect("ours"), keys);
        assert_eq!(
            decode_key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            keys.first().copied()
        );
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
        ] {
            assert!(read_key_set(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(decode_key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUR"), None);
    }
}
