//! What a certificate carries: a quote, and the claims that it vouches for.
//!
//! It stands in the extension tcg-dice-conceptual-message-wrapper, `2.23.133.5.4.9`, which is not critical, so that who
//! does not know it may still read the certificate. The value is CBOR: tag 60000 of a list of two, the quote or null, and
//! the claims as bytes.
//! Without a quote the certificate is *keyed*: it proves a key, and nothing about the machine.

use crate::{
    Part, Refusal,
    cbor::{Reader, Writer},
};

/// The extension's object identifier.
pub const EVIDENCE_OID: [u64; 6] = [2, 23, 133, 5, 4, 9];

/// Of the whole value.
pub const MAX_BYTES: usize = 32 * 1024;

/// CBOR tag of a TDX quote with claims, as in the interoperable RA-TLS of the Confidential Computing Consortium.
const TAG: u64 = 60_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Without one the tier is open.
    pub quote: Option<Vec<u8>>,
    /// As [`Claims::encode`](crate::Claims::encode) writes them: the bytes that the report data hash.
    pub claims: Vec<u8>,
}

impl Evidence {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.tag(TAG).array(2);
        match &self.quote {
            Some(quote) => writer.bytes(quote),
            None => writer.null(),
        };
        writer.bytes(&self.claims);
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::TooLarge {
                part: Part::Evidence,
                bytes: bytes.len(),
                max: MAX_BYTES,
            });
        }
        read(bytes).ok_or(Refusal::Malformed {
            part: Part::Evidence,
            why: "not CBOR tag 60000 of a quote or null, and claims",
        })
    }
}

fn read(bytes: &[u8]) -> Option<Evidence> {
    let mut reader = Reader::new(bytes);
    if reader.tag()? != TAG || reader.array()? != 2 {
        return None;
    }
    let quote = if reader.take_null() {
        None
    } else {
        Some(reader.bytes()?.to_vec())
    };
    let claims = reader.bytes()?.to_vec();
    reader.finish()?;
    Some(Evidence { quote, claims })
}

#[cfg(test)]
mod tests {
    use super::{Evidence, MAX_BYTES};

    #[test]
    fn what_was_written_is_read() {
        for quote in [None, Some(vec![4; 5006])] {
            let evidence = Evidence {
                quote,
                claims: vec![0xa0],
            };
            assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let keyed = Evidence {
            quote: None,
            claims: vec![1, 2],
        }
        .encode();
        assert_eq!(keyed, [0xd9, 0xea, 0x60, 0x82, 0xf6, 0x42, 1, 2]);
        for (wrong, what) in [
            (&[0xd9, 0xea, 0x61, 0x82, 0xf6, 0x42, 1, 2][..], "another tag"),
            (&[0xd9, 0xea, 0x60, 0x83, 0xf6, 0x42, 1, 2, 0xf6], "three items"),
            (&[0xd9, 0xea, 0x60, 0x82, 0xf6, 0x42, 1], "cut short"),
            (&[0xd9, 0xea, 0x60, 0x82, 0xf6, 0x42, 1, 2, 3], "trailing bytes"),
            (&[0xd9, 0xea, 0x60, 0x82, 0xf6, 0x58, 2, 1, 2], "a long length"),
            (&[0xd9, 0xea, 0x60, 0x9f, 0xf6, 0x42, 1, 2, 0xff], "no definite length"),
            (&[0x82, 0xf6, 0x42, 1, 2], "no tag"),
            (&[0xd9, 0xea, 0x60, 0x82, 0x42, 1, 2, 0xf6], "no claims"),
            (&[], "nothing"),
        ] {
            let code = Evidence::decode(wrong).map_err(|refusal| refusal.code());
            assert_eq!(code, Err("malformed"), "{what}");
        }
        let code = Evidence::decode(&vec![0; MAX_BYTES + 1]).map_err(|refusal| refusal.code());
        assert_eq!(code, Err("too_large"));
    }
}
