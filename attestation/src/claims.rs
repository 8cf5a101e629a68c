//! What a node says of itself, and its quote vouches for.
//!
//! One CBOR map with small whole numbers as names, in ascending order. The quote's report data hash these bytes, so there
//! is one way to write a set of claims, and no other is read: unknown names, names that come twice or out of order, longer
//! forms and trailing bytes are refused.

use serde::Serialize;

use crate::{
    Hex, Part, Refusal, Role,
    cbor::{Reader, Writer},
};

/// Claims hold for a day at most.
pub const MAX_SECONDS: u64 = 24 * 60 * 60;

/// What is written has less than 400.
const MAX_BYTES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims {
    pub role: Role,
    /// SHA-256 of the SubjectPublicKeyInfo of the TLS key.
    pub spki_sha256: Hex<32>,
    /// Unix time in seconds.
    pub not_before: u64,
    /// The first second in which they hold no more.
    pub not_after: u64,
    /// Ed25519, of statements and receipts.
    pub receipt_key: Option<Hex<32>>,
    /// Ed25519, of payment channels.
    pub payee_key: Option<Hex<32>>,
    /// X25519, that prompts may be sealed to.
    pub hpke_key: Option<Hex<32>>,
    /// SHA-256 of the canonical GPU evidence.
    pub gpu_evidence: Option<Hex<32>>,
    /// SHA-256 of the effective configuration.
    pub config: Option<Hex<32>>,
    /// SHA-256 of the engine's binary or image.
    pub engine: Option<Hex<32>>,
    /// SHA-256 of the manifest of model weights.
    pub models: Option<Hex<32>>,
}

impl Claims {
    /// Those that must be there, and no other.
    pub fn new(role: Role, spki_sha256: [u8; 32], not_before: u64, not_after: u64) -> Self {
        Self {
            role,
            spki_sha256: Hex(spki_sha256),
            not_before,
            not_after,
            receipt_key: None,
            payee_key: None,
            hpke_key: None,
            gpu_evidence: None,
            config: None,
            engine: None,
            models: None,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let optional = [
            (5, self.receipt_key),
            (6, self.payee_key),
            (7, self.hpke_key),
            (8, self.gpu_evidence),
            (9, self.config),
            (10, self.engine),
            (11, self.models),
        ];
        let present = optional.iter().filter(|(_, value)| value.is_some()).count();
        let mut writer = Writer::new();
        writer.map(present.saturating_add(4));
        writer.uint(1).uint(u64::from(self.role.code()));
        writer.uint(2).bytes(&self.spki_sha256.0);
        writer.uint(3).uint(self.not_before);
        writer.uint(4).uint(self.not_after);
        for (name, value) in optional {
            if let Some(Hex(value)) = value {
                writer.uint(name).bytes(&value);
            }
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::TooLarge {
                part: Part::Claims,
                bytes: bytes.len(),
                max: MAX_BYTES,
            });
        }
        let claims = read(bytes).ok_or(Refusal::Malformed {
            part: Part::Claims,
            why: "not the map of claims that is written here",
        })?;
        if claims.not_after <= claims.not_before {
            return Err(Refusal::Malformed {
                part: Part::Claims,
                why: "they end before they begin",
            });
        }
        Ok(claims)
    }

    /// That they hold at this time, and no longer than is allowed.
    pub fn check_dates(&self, now: u64) -> Result<(), Refusal> {
        let &Self {
            not_before, not_after, ..
        } = self;
        let seconds = not_after.saturating_sub(not_before);
        if seconds > MAX_SECONDS {
            return Err(Refusal::ClaimsTooLong {
                seconds,
                max: MAX_SECONDS,
            });
        }
        if now < not_before {
            return Err(Refusal::ClaimsNotYetValid { not_before, now });
        }
        if now >= not_after {
            return Err(Refusal::ClaimsExpired { not_after, now });
        }
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Option<Claims> {
    let mut reader = Reader::new(bytes);
    let len = reader.map()?;
    let role = u8::try_from(named(&mut reader, 1)?.uint()?).ok()?;
    let role = Role::from_code(role)?;
    let spki_sha256 = named(&mut reader, 2)?.fixed()?;
    let not_before = named(&mut reader, 3)?.uint()?;
    let not_after = named(&mut reader, 4)?.uint()?;
    let mut claims = Claims::new(role, spki_sha256, not_before, not_after);
    let mut last = 4;
    for _ in 4..len {
        let name = reader.uint()?;
        if name <= last {
            return None;
        }
        last = name;
        let value = Some(Hex(reader.fixed()?));
        match name {
            5 => claims.receipt_key = value,
            6 => claims.payee_key = value,
            7 => claims.hpke_key = value,
            8 => claims.gpu_evidence = value,
            9 => claims.config = value,
            10 => claims.engine = value,
            11 => claims.models = value,
            _ => return None,
        }
    }
    // A map that says that it has fewer than four leaves what follows unread.
    reader.finish().filter(|()| len >= 4)?;
    Some(claims)
}

fn named<'a, 'b>(reader: &'b mut Reader<'a>, name: u64) -> Option<&'b mut Reader<'a>> {
    (reader.uint()? == name).then_some(reader)
}

#[cfg(test)]
mod tests {
    use super::{Claims, MAX_SECONDS};
    use crate::{Hex, Role};

    fn full() -> Claims {
        Claims {
            receipt_key: Some(Hex([5; 32])),
            payee_key: Some(Hex([6; 32])),
            hpke_key: Some(Hex([7; 32])),
            gpu_evidence: Some(Hex([8; 32])),
            config: Some(Hex([9; 32])),
            engine: Some(Hex([10; 32])),
            models: Some(Hex([11; 32])),
            ..Claims::new(Role::Worker, [2; 32], 1_764_000_000, 1_764_003_600)
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let least = Claims::new(Role::Gateway, [1; 32], 0, 1);
        for claims in [full(), least] {
            assert_eq!(Claims::decode(&claims.encode()), Ok(claims));
        }
    }

    #[test]
    fn the_least_claims_are_these_bytes() {
        let mut expected = vec![0xa4, 1, 2, 2, 0x58, 32];
        expected.extend([0xab; 32]);
        expected.extend([3, 0x18, 100, 4, 0x18, 200]);
        assert_eq!(Claims::new(Role::Worker, [0xab; 32], 100, 200).encode(), expected);
    }

    #[test]
    fn whatever_else_is_read_is_written_in_the_same_bytes() {
        let bytes = full().encode();
        let mut read = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                if let Ok(claims) = Claims::decode(&other) {
                    read += 1;
                    assert_ne!(claims, full(), "byte {at} says nothing");
                    assert_eq!(claims.encode(), other);
                }
            }
        }
        assert!(read > 8 * 32 * 7, "{read}");
        for end in 0..bytes.len() {
            assert!(Claims::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Claims::decode(&longer).is_err());
    }

    #[test]
    fn dates_are_kept() {
        let code = |before, after, now| {
            Claims::new(Role::Worker, [0; 32], before, after)
                .check_dates(now)
                .map_err(|refusal| refusal.code())
        };
        let day = MAX_SECONDS;
        for (before, after, now, expect) in [
            (1000, 2000, 1000, Ok(())),
            (1000, 2000, 1999, Ok(())),
            (1000, 2000, 999, Err("claims_not_yet_valid")),
            (1000, 2000, 2000, Err("claims_expired")),
            (1000, 1000 + day, 1000, Ok(())),
            (1000, 1001 + day, 1000, Err("claims_too_long")),
            (0, u64::MAX, 1, Err("claims_too_long")),
        ] {
            assert_eq!(code(before, after, now), expect, "{before}..{after} at {now}");
        }
        // Read back, they may not end before they begin.
        assert!(Claims::decode(&Claims::new(Role::Worker, [0; 32], 5, 5).encode()).is_err());
    }
}
