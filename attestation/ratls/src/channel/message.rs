//! What the two sides say: one JSON object a line, at most [`MAX_LINE`] bytes.
//!
//! Bytes of fixed length are lowercase hex, the others base64 of the standard alphabet with padding. Unknown types and
//! unknown fields are refused: both sides are of one version, which the ALPN names.

use attestation::{Hex, Tier};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A quote has 16 KiB at most and the evidence of GPUs 512 KiB, both as base64.
pub const MAX_LINE: usize = 768 * 1024;

const _: () = assert!(MAX_LINE > (attestation::MAX_QUOTE_BYTES + attestation::gpu::EVIDENCE_BYTES_MAX) / 3 * 4 + 1024);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Message {
    /// Prove that you are who the certificate says, on this connection, now.
    Challenge { nonce: Hex<32> },
    /// The answer to the challenge with this nonce.
    Evidence {
        nonce: Hex<32>,
        proof: Proof,
        /// Evidence of the GPUs that the claims name, as [`GpuEvidence`](attestation::gpu::GpuEvidence) encodes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpu: Option<Bytes>,
    },
    /// The evidence for this nonce was accepted.
    Accepted { nonce: Hex<32>, tier: Tier, until: u64 },
    /// It was not, or no longer is; the connection ends.
    Refused { code: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Of a guest: a quote with the channel's report data.
    Quote(Bytes),
    /// Of a node without one: `"mulberry-keyed-v1\0" ‖ report data`, signed by its TLS key.
    Signature(Bytes),
}

/// What a node says when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub proof: Proof,
    pub gpu: Option<Bytes>,
}

/// Base64 in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("a line is not a message that is known here")]
    Malformed,
}

impl Message {
    /// With the line feed that ends it.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("no map in it has a key that is not text");
        line.push(b'\n');
        line
    }

    /// Without its line feed.
    pub fn from_line(line: &[u8]) -> Result<Self, BadLine> {
        if line.len() > MAX_LINE {
            return Err(BadLine::TooLong);
        }
        serde_json::from_slice(line).map_err(|_syntax| BadLine::Malformed)
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|_not_base64| de::Error::custom("it is not base64"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use attestation::{Hex, Tier};

    use super::{BadLine, Bytes, MAX_LINE, Message, Proof};

    #[test]
    fn messages_are_the_lines_of_the_document() {
        let check = |message: Message, line: &str| {
            assert_eq!(String::from_utf8(message.to_line()).unwrap(), format!("{line}\n"));
            assert_eq!(Message::from_line(line.as_bytes()), Ok(message));
        };
        let nonce = Hex([0xab; 32]);
        let hex = "ab".repeat(32);
        check(
            Message::Challenge { nonce },
            &format!(r#"{{"type":"challenge","nonce":"{hex}"}}"#),
        );
        check(
            Message::Evidence {
                nonce,
                proof: Proof::Quote(Bytes(vec![4, 0, 2])),
                gpu: None,
            },
            &format!(r#"{{"type":"evidence","nonce":"{hex}","proof":{{"quote":"BAAC"}}}}"#),
        );
        check(
            Message::Evidence {
                nonce,
                proof: Proof::Signature(Bytes(vec![1])),
                gpu: Some(Bytes(b"{}".to_vec())),
            },
            &format!(r#"{{"type":"evidence","nonce":"{hex}","proof":{{"signature":"AQ=="}},"gpu":"e30="}}"#),
        );
        check(
            Message::Accepted {
                nonce,
                tier: Tier::TeeGpu,
                until: 1_795_000_000,
            },
            &format!(r#"{{"type":"accepted","nonce":"{hex}","tier":"tee+gpu","until":1795000000}}"#),
        );
        check(
            Message::Refused {
                code: "td_debug".to_owned(),
            },
            r#"{"type":"refused","code":"td_debug"}"#,
        );
    }

    #[test]
    fn other_lines_are_refused() {
        let hex = "ab".repeat(32);
        for line in [
            String::new(),
            "{}".to_owned(),
            r#"{"type":"hello"}"#.to_owned(),
            r#"{"type":"challenge"}"#.to_owned(),
            format!(r#"{{"type":"challenge","nonce":"{}"}}"#, &hex[2..]),
            format!(r#"{{"type":"challenge","nonce":"{hex}","more":1}}"#),
            format!(r#"{{"type":"evidence","nonce":"{hex}","proof":{{}}}}"#),
            format!(r#"{{"type":"evidence","nonce":"{hex}","proof":{{"quote":"AA==","signature":"AA=="}}}}"#),
            format!(r#"{{"type":"evidence","nonce":"{hex}","proof":{{"quote":"*"}}}}"#),
        ] {
            assert_eq!(Message::from_line(line.as_bytes()), Err(BadLine::Malformed), "{line}");
        }
        let long = vec![b' '; MAX_LINE + 1];
        assert_eq!(Message::from_line(&long), Err(BadLine::TooLong));
    }
}
