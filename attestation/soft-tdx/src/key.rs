//! Keys on P-256 that a seed and a name give, the same in every run.
//!
//! Whoever knows the seed can sign for everybody here: that is what makes it software.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::der;

/// RFC 5480 §2.1.1.
const EC_PUBLIC_KEY: [u64; 6] = [1, 2, 840, 10045, 2, 1];
const PRIME256V1: [u64; 7] = [1, 2, 840, 10045, 3, 1, 7];

pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn derive(seed: &[u8; 32], name: &str) -> Self {
        let mut round = 0_u8;
        loop {
            let scalar = digest(&SHA256, &[b"soft-tdx\0", &seed[..], name.as_bytes(), &[round]].concat());
            // ECPrivateKey (RFC 5915 §3) without the public key, which is computed from it.
            let private = der::sequence(&[
                &der::number(1),
                &der::octets(scalar.as_ref()),
                &der::explicit(0, &der::oid(&PRIME256V1)),
            ]);
            match EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &private) {
                Ok(pair) => return Self(pair),
                // Not below the order of the curve: one digest in four thousand million.
                Err(_) => round = round.wrapping_add(1),
            }
        }
    }

    /// The public point: x and y.
    pub(crate) fn point(&self) -> [u8; 64] {
        let mut point = [0; 64];
        // Without the byte that says "uncompressed".
        point.copy_from_slice(&self.0.public_key().as_ref()[1..]);
        point
    }

    /// SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        der::sequence(&[
            &der::sequence(&[&der::oid(&EC_PUBLIC_KEY), &der::oid(&PRIME256V1)]),
            &der::bits(0, self.0.public_key().as_ref()),
        ])
    }

    /// r and s. Not the same twice: the library draws its own nonces.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .expect("a P-256 key of our own signs any message");
        let mut fixed = [0; 64];
        fixed.copy_from_slice(signature.as_ref());
        fixed
    }

    /// `Ecdsa-Sig-Value` (RFC 5480, appendix A), as certificates have it.
    pub(crate) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.sign(message);
        der::sequence(&[&der::integer(&signature[..32]), &der::integer(&signature[32..])])
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_seed_and_a_name_are_one_key() {
        let point = |seed, name| Key::derive(&[seed; 32], name).point();
        assert_eq!(point(1, "root"), point(1, "root"));
        assert_ne!(point(1, "root"), point(2, "root"));
        assert_ne!(point(1, "root"), point(1, "pck"));
    }
}
