//! Witness: salted hashes of the bodies of one request, for its receipt.
//!
//! It begins in Decode, where the request is read, and ends in Meter, where the last bytes of the answer are known.
//! The request is hashed as it came over the wire, the answer as it goes over it.
//! The salt goes to the client in a header, and nowhere else: without it a hash says nothing of a body, however short.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use billing::{
    Evidence, RestsOn,
    receipt::{BodyHash, Hash, statement},
};
use http::{HeaderName, HeaderValue};

use crate::{statement::Stated, tls};

/// Names the request under which the receipt is found.
pub(crate) const RECEIPT: HeaderName = HeaderName::from_static("x-receipt");
/// The salt, in base64url.
pub(crate) const SALT: HeaderName = HeaderName::from_static("x-receipt-salt");

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no secure random bytes can be had from this system")]
pub(crate) struct NoSalt;

/// What is known of the bodies of one request.
pub(crate) struct Witness {
    salt: [u8; 32],
    received: Received,
    returned: BodyHash,
}

enum Received {
    Whole(Hash),
    /// An upload streams past, and may do so until the answer has begun.
    Passing(Arc<Mutex<BodyHash>>),
}

/// Hashes an upload as it passes.
#[derive(Clone)]
pub(crate) struct Passing(Arc<Mutex<BodyHash>>);

impl Witness {
    /// For a request whose body is all here; one without a body has an empty one.
    pub(crate) fn of(body: &[u8]) -> Result<Box<Self>, NoSalt> {
        let salt = tls::random().ok_or(NoSalt)?;
        let mut received = BodyHash::new(&salt);
        received.update(body);
        Ok(Box::new(Self {
            salt,
            received: Received::Whole(received.finish()),
            returned: BodyHash::new(&salt),
        }))
    }

    /// For a request whose body is still to pass.
    pub(crate) fn of_upload() -> Result<(Box<Self>, Passing), NoSalt> {
        let salt = tls::random().ok_or(NoSalt)?;
        let passing = Arc::new(Mutex::new(BodyHash::new(&salt)));
        let witness = Self {
            salt,
            received: Received::Passing(passing.clone()),
            returned: BodyHash::new(&salt),
        };
        Ok((Box::new(witness), Passing(passing)))
    }

    /// For the client.
    pub(crate) fn salt(&self) -> HeaderValue {
        HeaderValue::try_from(URL_SAFE_NO_PAD.encode(self.salt)).expect("base64url stands in a header")
    }

    /// The next bytes of the answer, as the client is about to get them.
    pub(crate) fn returns(&mut self, bytes: &[u8]) {
        self.returned.update(bytes);
    }

    /// With which a worker is asked to state what it was asked and answered.
    pub(crate) fn statement_salt(&self) -> [u8; 32] {
        statement::salt(&self.salt)
    }

    /// What the receipt says. `is_whole`: all of the answer went by, so that its hash means something.
    pub(crate) fn evidence(
        self,
        is_whole: bool,
        tier: &str,
        rests_on: Option<RestsOn>,
        stated: Stated,
    ) -> Box<Evidence> {
        let request = match self.received {
            Received::Whole(hash) => hash,
            Received::Passing(passing) => {
                let passing = passing.lock().unwrap_or_else(PoisonError::into_inner);
                passing.clone().finish()
            }
        };
        Box::new(Evidence {
            request,
            response: is_whole.then(|| self.returned.finish()),
            tier: tier.to_owned(),
            forwarded: stated.forwarded,
            word: stated.word,
            rests_on,
            paid_by: None,
        })
    }
}

impl Passing {
    pub(crate) fn update(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
    }
}

/// Without the salt.
impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness(…)")
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passing(…)")
    }
}

#[cfg(test)]
mod tests {
    use backends::statement::Word;
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::statement::judge;

    fn by_hand(witness: &Witness, body: &[u8]) -> Hash {
        let salt = URL_SAFE_NO_PAD.decode(witness.salt().as_bytes()).expect("base64url");
        assert_eq!(salt.len(), 32);
        Sha256::new().chain_update(salt).chain_update(body).finalize().into()
    }

    #[test]
    fn both_bodies_are_hashed_with_the_salt_of_the_header() {
        let mut witness = Witness::of(b"question").expect("random bytes");
        let expect = (by_hand(&witness, b"question"), by_hand(&witness, b"answer"));
        witness.returns(b"ans");
        witness.returns(b"wer");
        let evidence = witness.evidence(true, "open", None, judge(Word::Unasked));
        assert_eq!((evidence.request, evidence.response), (expect.0, Some(expect.1)));
    }

    #[test]
    fn an_upload_is_hashed_as_it_passes_and_no_salt_comes_twice() {
        let (witness, passing) = Witness::of_upload().expect("random bytes");
        let expect = by_hand(&witness, b"form");
        assert_ne!(witness.salt(), Witness::of(b"form").expect("random bytes").salt());
        passing.update(b"fo");
        passing.update(b"rm");
        let evidence = witness.evidence(false, "open", None, judge(Word::Unasked));
        assert_eq!((evidence.request, evidence.response), (expect, None));
    }
}
