//! Keys on P-384 that a seed and a name give, the same in every run.

use aws_lc_rs::{
    digest::{SHA384, digest},
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::der;

/// RFC 5480 §2.1.1.
const EC_PUBLIC_KEY: [u64; 6] = [1, 2, 840, 10045, 2, 1];
const SECP384R1: [u64; 5] = [1, 3, 132, 0, 34];

pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn derive(seed: &[u8; 32], name: &str) -> Self {
        let mut round = 0_u8;
        loop {
            let scalar = digest(&SHA384, &[b"soft-gpu\0", &seed[..], name.as_bytes(), &[round]].concat());
            // ECPrivateKey (RFC 5915 §3) without the public key, which is computed from it.
            let private = der::sequence(&[
                &der::number(1),
                &der::octets(scalar.as_ref()),
                &der::explicit(0, &der::oid(&SECP384R1)),
            ]);
            match EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, &private) {
                Ok(pair) => return Self(pair),
                // Not below the order of the curve: hardly ever.
                Err(_) => round = round.wrapping_add(1),
            }
        }
    }

    /// The public point, uncompressed.
    pub(super) fn point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> Vec<u8> {
        der::sequence(&[
            &der::sequence(&[&der::oid(&EC_PUBLIC_KEY), &der::oid(&SECP384R1)]),
            &der::bits(0, self.point()),
        ])
    }

    /// r and s.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature
            .expect("a P-384 key of our own signs any message")
            .as_ref()
            .to_vec()
    }

    /// `Ecdsa-Sig-Value` (RFC 5480, appendix A).
    pub(super) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.sign(message);
        der::sequence(&[&der::integer(&signature[..48]), &der::integer(&signature[48..])])
    }
}
