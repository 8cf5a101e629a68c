//! A token as it comes: read far enough to know whose it says it is, and believed in nothing.

use jsonwebtoken::{Algorithm, AlgorithmFamily, Header, TokenData, dangerous::insecure_decode};
use serde_json::{Map, Value};

use super::{MAX_TOKEN, jwks::Keys};

/// Why a token is refused. What is in it is never repeated, but for the time at which it expired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("The bearer token cannot be read: it is no JWT that is signed with RS, PS, ES or EdDSA.")]
    Unreadable,
    #[error("The bearer token is signed with an algorithm that is not accepted here. Use RS, PS, ES or EdDSA.")]
    Algorithm,
    #[error("The bearer token comes from an issuer (iss) that this gateway does not know.")]
    UnknownIssuer,
    #[error("The bearer token is signed with a key (kid) that its issuer does not publish. Get a new token.")]
    UnknownKey,
    #[error("The signature of the bearer token is not valid.")]
    Signature,
    #[error("The bearer token is for another audience (aud). Ask the issuer for one for this gateway.")]
    Audience,
    #[error("The bearer token has no expiry (exp) and is not accepted without.")]
    NoExpiry,
    #[error("The bearer token expired on {at}. Get a new one.")]
    Expired { at: crate::config::Timestamp },
    #[error("The bearer token is not valid yet (nbf).")]
    NotYet,
    #[error("The bearer token has no claim '{claim}' that could name its account.")]
    NoName { claim: String },
    #[error("The keys of the issuer of this bearer token could not be fetched yet. Retry.")]
    NoKeys,
    #[error("The gateway counts as many accounts as it can. Retry.")]
    TooMany,
}

/// Whether this is three parts of base64url between dots, the first of them an object.
pub(super) fn has_shape(credential: &str) -> bool {
    let mut parts = 0;
    for part in credential.split('.') {
        let is_base64url = part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if part.is_empty() || !is_base64url {
            return false;
        }
        parts += 1;
    }
    // `{"` in base64url.
    parts == 3 && credential.starts_with("eyJ")
}

/// A token that was read and not verified.
pub(super) struct Token<'a> {
    /// What is signed.
    message: &'a str,
    signature: &'a str,
    header: Header,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Steps 1 and 3.
    pub(super) fn read(credential: &'a str) -> Result<Self, TokenError> {
        if credential.len() > MAX_TOKEN {
            return Err(TokenError::Unreadable);
        }
        let (message, signature) = credential.rsplit_once('.').ok_or(TokenError::Unreadable)?;
        let TokenData { header, claims } = insecure_decode(credential).map_err(|_| TokenError::Unreadable)?;
        if header.alg.family() == AlgorithmFamily::Hmac {
            // A public key taken for a shared secret would let everyone sign.
            return Err(TokenError::Algorithm);
        }
        if header.crit.is_some() {
            return Err(TokenError::Unreadable);
        }
        Ok(Self {
            message,
            signature,
            header,
            claims,
        })
    }

    /// Whose it says it is; empty if it does not.
    pub(super) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether one of these keys is meant.
    pub(super) fn has_key(&self, keys: &Keys) -> bool {
        keys.find(self.header.kid.as_deref(), self.algorithm()).is_some()
    }

    /// Steps 4 and 5: the claims, which one of these keys has signed.
    pub(super) fn verify(self, keys: &Keys) -> Result<Map<String, Value>, TokenError> {
        let key = keys
            .find(self.header.kid.as_deref(), self.algorithm())
            .ok_or(TokenError::UnknownKey)?;
        let verified = jsonwebtoken::crypto::verify(self.signature, self.message.as_bytes(), key, self.algorithm());
        match verified {
            Ok(true) => Ok(self.claims),
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }

    fn algorithm(&self) -> Algorithm {
        self.header.alg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let check = |credential: &str, expect: bool| assert_eq!(has_shape(credential), expect, "for {credential}");
        check("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", true);
        check("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.", false);
        check("eyJ.a.b.c", false);
        check("eyJ.a", false);
        check("eyJ+.a.b", false);
        check("sk-mb.abc.def", false);
        check("", false);
    }

    #[test]
    fn what_is_no_signed_token_is_refused_before_any_key_is_looked_for() {
        let check = |header: &str, expect: TokenError| {
            let part = |text: &str| base64url(text.as_bytes());
            let token = format!("{}.{}.c2ln", part(header), part(r#"{"iss":"x"}"#));
            assert_eq!(Token::read(&token).err(), Some(expect), "for {header}");
        };
        check(r#"{"alg":"none"}"#, TokenError::Unreadable);
        check(r#"{"alg":"None"}"#, TokenError::Unreadable);
        check(r#"{}"#, TokenError::Unreadable);
        check(r#"{"alg":"HS256"}"#, TokenError::Algorithm);
        check(r#"{"alg":"HS512","kid":"1"}"#, TokenError::Algorithm);
        check(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, TokenError::Unreadable);
        check("[]", TokenError::Unreadable);
        assert_eq!(
            Token::read(&"e".repeat(MAX_TOKEN + 1)).err(),
            Some(TokenError::Unreadable)
        );
        assert_eq!(Token::read("eyJ.eyJ.x").err(), Some(TokenError::Unreadable));
    }

    fn base64url(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for digit in 0..=three.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
            }
        }
        text
    }
}
