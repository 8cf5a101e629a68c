//! A statement from its worker to a stranger's check, and every bit of it flipped.

use super::*;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32]).expect("a seed")
}

fn statement() -> Statement {
    Statement {
        exchange: Exchange {
            request: Seen {
                sha256: [1; 32],
                bytes: 612,
            },
            response: Seen {
                sha256: [2; 32],
                bytes: 4096,
            },
            status: 200,
            ended: Ended::Whole,
            claims: [4; 32],
            engine: None,
            models: Some([3; 32]),
        },
        started_at: 1_795_337_378,
        ended_at: 1_795_337_381,
        usage: Some(Usage::from_totals(1200, 800, 350, 50)),
    }
}

fn verified(signed: &Signed) -> Result<Statement, Forged> {
    signed.verify(&key(7).public())
}

#[test]
fn the_golden_statement() {
    let signed = statement().sign(&key(7));
    assert_eq!(
        signed.json(),
        format!(
            "{{\"claims\":\"{}\",\"ended\":\"whole\",\"ended_at\":1795337381,\"engine\":null,\"models\":\"{}\",\
             \"request_bytes\":612,\"request_sha256\":\"{}\",\"response_bytes\":4096,\"response_sha256\":\"{}\",\
             \"started_at\":1795337378,\"status\":200,\
             \"usage\":{{\"cached\":800,\"completion\":300,\"prompt\":400,\"reasoning\":50}},\"v\":1}}",
            "04".repeat(32),
            "03".repeat(32),
            "01".repeat(32),
            "02".repeat(32)
        ),
        "others have kept statements in this form: a change is a new version"
    );
    assert_eq!(verified(&signed), Ok(statement()));
    let none = Statement {
        usage: None,
        exchange: Exchange {
            models: None,
            ended: Ended::Cut,
            ..statement().exchange
        },
        ..statement()
    };
    assert_eq!(verified(&none.sign(&key(7))), Ok(none));
}

#[test]
fn every_bit_counts() {
    let good = statement().sign(&key(7));
    for at in 0..good.json.len() * 8 {
        let mut json = good.json.as_bytes().to_vec();
        json[at / 8] ^= 1 << (at % 8);
        if let Some(flipped) = Signed::new(&json, good.signature) {
            assert_eq!(verified(&flipped), Err(Forged::Signature), "bit {at}");
        }
    }
    for at in 0..64 * 8 {
        let mut flipped = good.clone();
        flipped.signature[at / 8] ^= 1 << (at % 8);
        assert_eq!(verified(&flipped), Err(Forged::Signature), "bit {at}");
    }
    assert_eq!(good.verify(&key(8).public()), Err(Forged::Signature));
}

/// As its key would sign whatever it likes.
fn signs(json: &str) -> Signed {
    let signature = key(7).sign(&signed(TAG, &sha256(json.as_bytes())));
    Signed::new(json.as_bytes(), signature).expect("it is short")
}

#[test]
fn what_is_signed_and_no_statement_is_refused() {
    let good = statement().to_json();
    assert_eq!(verified(&signs(&good)), Ok(statement()));
    let check = |json: String| {
        assert_ne!(json, good);
        assert_eq!(verified(&signs(&json)), Err(Forged::Malformed), "{json}");
    };
    check(String::new());
    check("{}".to_owned());
    check("null".to_owned());
    check(format!(" {good}"));
    check(format!("{good}\n"));
    check(good.replace("\"v\":1", "\"v\":2"));
    check(good.replace("\"v\":1", "\"v\":1,\"w\":1"));
    check(good.replace("\"v\":1", "\"v\":1.0"));
    check(good.replace("\"status\":200", "\"status\":\"200\""));
    check(good.replace("\"status\":200", "\"status\":70000"));
    check(good.replace("\"request_bytes\":612", "\"request_bytes\":9007199254740992"));
    check(good.replace("\"request_bytes\":612", "\"request_bytes\":-1"));
    check(good.replace("whole", "partly"));
    check(good.replace("\"0101", "\"sha256:0101"));
    check(good.replace("\"engine\":null,", ""));
    check(good.replace("\"cached\":800,", ""));
    check(good.replace("\"cached\":800", "\"apart\":1,\"cached\":800"));
    check(good.replace("\"ended\"", "\"\\u0065nded\""));
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&good).expect("an object");
    for name in members.keys() {
        let mut less = members.clone();
        less.remove(name);
        check(serde_json::to_string(&less).expect("JSON"));
    }
}

#[test]
fn a_signature_is_of_a_statement_and_of_nothing_else() {
    let json = statement().to_json();
    let receipt = key(7).sign(&signed("mulberry-receipt-v1\n", &sha256(json.as_bytes())));
    let bare = key(7).sign(&sha256(json.as_bytes()));
    for signature in [receipt, bare] {
        let taken = Signed::new(json.as_bytes(), signature).expect("it is short");
        assert_eq!(verified(&taken), Err(Forged::Signature));
    }
}

#[test]
fn what_is_too_long_or_no_text_is_none() {
    assert_eq!(Signed::new(&vec![b' '; MAX_LEN + 1], [0; 64]), None);
    assert_eq!(Signed::new(b"\xff", [0; 64]), None);
}

#[test]
fn disagreements_are_named() {
    let seen = statement().exchange;
    let check = |change: &dyn Fn(&mut Exchange), expect| {
        let mut said = statement();
        change(&mut said.exchange);
        assert_eq!(said.disagreement(&seen), expect);
    };
    check(&|_| {}, None);
    check(&|said| said.request.bytes += 1, Some("request_bytes"));
    check(&|said| said.request.sha256[31] ^= 1, Some("request_sha256"));
    check(&|said| said.response.bytes -= 1, Some("response_bytes"));
    check(&|said| said.response.sha256[0] ^= 128, Some("response_sha256"));
    check(&|said| said.status = 201, Some("status"));
    check(&|said| said.ended = Ended::Cut, Some("ended"));
    check(&|said| said.claims[7] ^= 4, Some("claims"));
    check(&|said| said.engine = Some([9; 32]), Some("engine"));
    check(&|said| said.models = None, Some("models"));
    // The worker's own affair.
    let other = Statement {
        started_at: 0,
        ended_at: 0,
        usage: None,
        ..statement()
    };
    assert_eq!(other.disagreement(&seen), None);
}

#[test]
fn what_is_kept_comes_back() {
    let words = Absence::ALL.map(Word::Absent).into_iter().chain([Word::Signed {
        key: key(7).public(),
        statement: statement().sign(&key(7)),
    }]);
    for word in words {
        let kept = serde_json::to_string(&word).expect("texts");
        assert_eq!(serde_json::from_str::<Word>(&kept).expect(&kept), word);
    }
    for absence in Absence::ALL {
        let kept = serde_json::to_string(&absence).expect("a text");
        assert_eq!(kept, format!("\"{}\"", absence.as_str()), "one word for one thing");
    }
}

#[test]
fn the_salt_does_not_tell_the_one_that_it_is_made_from() {
    assert_eq!(
        to_hex(&salt(&[0; 32])),
        to_hex(&sha256(
            &[b"mulberry-statement-salt-v1\n".as_slice(), &[0; 32]].concat()
        ))
    );
    assert_ne!(salt(&[0; 32]), salt(&[1; 32]));
}
