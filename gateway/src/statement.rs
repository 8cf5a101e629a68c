//! A worker's statement on the wire, from both sides: what asks for it, what carries it, and what is made of what came.
//!
//! What a statement says and how it is checked is `billing::receipt::statement`. Here it is found out whether there is one,
//! whose it is, and whether it agrees with what crossed the wire.
//! A worker lies to its own harm alone: whatever it sends here costs a look at a few hundred bytes and changes no answer.

use backends::statement::{Heard, Seen, Word as Heeded};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use billing::receipt::{
    PublicKey,
    statement::{self, Absence, Ended, Exchange, MAX_LEN, Signed, Word},
};
use http::HeaderValue;

/// No statement of ours is near this: its JSON and 64 bytes in base64url, and a point.
const MAX_TEXT: usize = MAX_LEN * 4 / 3 + 128;

/// What a receipt has of the worker's side of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    /// Of the body as the gateway sent it on.
    pub(crate) forwarded: Option<[u8; 32]>,
    pub(crate) word: Word,
    /// The member that a statement has wrong, for the log.
    pub(crate) disagrees: Option<&'static str>,
}

/// The salt that a header asks with.
pub(crate) fn read_salt(value: &HeaderValue) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?.try_into().ok()
}

/// `JSON.SIGNATURE`, each in base64url.
pub(crate) fn write(signed: &Signed) -> HeaderValue {
    let json = URL_SAFE_NO_PAD.encode(signed.json());
    let signature = URL_SAFE_NO_PAD.encode(signed.signature());
    HeaderValue::try_from(format!("{json}.{signature}")).expect("base64url and a point stand in a header")
}

/// What came in a trailer; whoever made it.
pub(crate) fn read(value: &HeaderValue) -> Option<Signed> {
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_TEXT)?;
    let (json, signature) = text.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?;
    Signed::new(&URL_SAFE_NO_PAD.decode(json).ok()?, signature)
}

/// What becomes of a statement, or of there being none.
pub(crate) fn judge(word: Heeded) -> Stated {
    let absent = |why| Stated {
        forwarded: None,
        word: Word::Absent(why),
        disagrees: None,
    };
    match word {
        Heeded::Unasked => absent(Absence::Unattested),
        Heeded::Open => absent(Absence::Unfinished),
        Heeded::Heard(heard) => judge_heard(&heard),
    }
}

fn judge_heard(heard: &Heard) -> Stated {
    let mut stated = Stated {
        forwarded: Some(heard.request.sha256),
        word: Word::Absent(Absence::StatementMissing),
        disagrees: None,
    };
    let Some(text) = &heard.statement else {
        return stated;
    };
    let key = PublicKey::from_bytes(heard.signer.key);
    let verified = read(text).and_then(|signed| Some((signed.verify(&key).ok()?, signed)));
    let Some((says, statement)) = verified else {
        stated.word = Word::Absent(Absence::StatementForged);
        return stated;
    };
    stated.disagrees = says.disagreement(&Exchange {
        request: seen(heard.request),
        response: seen(heard.response),
        status: heard.status,
        ended: if heard.is_cut { Ended::Cut } else { Ended::Whole },
        claims: heard.signer.claims,
        engine: heard.signer.engine,
        models: heard.signer.models,
    });
    stated.word = match stated.disagrees {
        Some(_) => Word::Absent(Absence::StatementDisagrees),
        None => Word::Signed { key, statement },
    };
    stated
}

/// The same, as the rules know it.
pub(crate) fn seen(seen: Seen) -> statement::Seen {
    statement::Seen {
        sha256: seen.sha256,
        bytes: seen.bytes,
    }
}

#[cfg(test)]
mod tests {
    use backends::statement::{Signer, Tally};
    use billing::receipt::{SigningKey, statement::Statement};

    use super::*;

    const SALT: [u8; 32] = [5; 32];

    fn of(body: &[u8]) -> Seen {
        let mut tally = Tally::new(&SALT);
        tally.update(body);
        tally.seen()
    }

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&[byte; 32]).expect("a seed")
    }

    fn says() -> Statement {
        Statement {
            exchange: Exchange {
                request: seen(of(b"question")),
                response: seen(of(b"answer")),
                status: 200,
                ended: Ended::Whole,
                claims: [3; 32],
                engine: None,
                models: Some([4; 32]),
            },
            started_at: 1,
            ended_at: 2,
            usage: None,
        }
    }

    fn heard(statement: Option<HeaderValue>) -> Heard {
        Heard {
            signer: Signer {
                key: *key(1).public().as_bytes(),
                claims: [3; 32],
                engine: None,
                models: Some([4; 32]),
            },
            request: of(b"question"),
            response: of(b"answer"),
            status: 200,
            is_cut: false,
            statement,
        }
    }

    fn judged(heard: Heard) -> Stated {
        judge(Heeded::Heard(Box::new(heard)))
    }

    #[test]
    fn a_true_statement_is_taken_whole() {
        let signed = says().sign(&key(1));
        let stated = judged(heard(Some(write(&signed))));
        assert_eq!(
            stated.word,
            Word::Signed {
                key: key(1).public(),
                statement: signed
            }
        );
        assert_eq!(stated.forwarded, Some(of(b"question").sha256));
    }

    #[test]
    fn what_is_missing_forged_or_untrue_is_told_apart() {
        let check = |statement: Option<HeaderValue>, why, disagrees| {
            let stated = judged(heard(statement));
            assert_eq!((stated.word, stated.disagrees), (Word::Absent(why), disagrees));
        };
        let of_key = |byte| Some(write(&says().sign(&key(byte))));
        check(None, Absence::StatementMissing, None);
        check(of_key(2), Absence::StatementForged, None);
        let good = write(&says().sign(&key(1)));
        let good = good.to_str().expect("ASCII");
        for text in [
            "",
            ".",
            "e30.AAAA",
            &good[1..],
            &good[..good.len() - 1],
            &good.replace('.', ""),
            &format!("{good}."),
            &format!("{good}="),
            &"A".repeat(MAX_TEXT + 1),
        ] {
            let value = HeaderValue::from_str(text).expect("ASCII");
            check(Some(value), Absence::StatementForged, None);
        }
        let not_text = HeaderValue::from_bytes(b"\xff.\xff").expect("opaque bytes");
        check(Some(not_text), Absence::StatementForged, None);
        let mut other = says();
        other.exchange.response = seen(of(b"another"));
        let signed = Some(write(&other.sign(&key(1))));
        check(signed, Absence::StatementDisagrees, Some("response_bytes"));
        let mut other = says();
        other.exchange.models = None;
        let signed = Some(write(&other.sign(&key(1))));
        check(signed, Absence::StatementDisagrees, Some("models"));
        assert_eq!(judge(Heeded::Unasked).word, Word::Absent(Absence::Unattested));
        assert_eq!(judge(Heeded::Open).word, Word::Absent(Absence::Unfinished));
    }

    #[test]
    fn an_end_that_was_cut_is_stated_as_such() {
        let mut cut = says();
        cut.exchange.ended = Ended::Cut;
        let statement = Some(write(&cut.sign(&key(1))));
        let honest = Heard {
            is_cut: true,
            ..heard(statement.clone())
        };
        assert!(matches!(judged(honest).word, Word::Signed { .. }));
        assert_eq!(judged(heard(statement)).disagrees, Some("ended"));
    }

    #[test]
    fn a_salt_is_32_bytes() {
        let read = |text: &str| read_salt(&HeaderValue::from_str(text).expect("ASCII"));
        assert_eq!(read(&URL_SAFE_NO_PAD.encode(SALT)), Some(SALT));
        for wrong in ["", "AAAA", &URL_SAFE_NO_PAD.encode([5; 31]), &"!".repeat(43)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
