//! Every part of collateral, changed on its way.

use attestation::CollateralParts;
use serde_json::Value;

use crate::{
    der,
    matrix::Matrix,
    quote::{ders, pem},
    world::{NOW, World, evidence, flips},
};

fn judged(world: &World, parts: CollateralParts) -> Result<attestation::Verdict, attestation::Refusal> {
    let collateral = world.took(parts)?;
    world.judges_by(&evidence(&world.tdx), &world.policy, &collateral)
}

/// One value of a document after the other, under a signature that is no longer of it.
#[test]
fn a_value_of_a_document() {
    let world = World::new();
    let valid: CollateralParts = world.tdx.collateral(NOW).into();
    let mut matrix = Matrix::default();
    for (name, body) in [("tcbInfo", &valid.tcb_info), ("enclaveIdentity", &valid.qe_identity)] {
        let envelope: Value = serde_json::from_slice(body).expect("it is JSON");
        assert_eq!(
            envelope.to_string().as_bytes(),
            &body[..],
            "it is written as it was read"
        );
        for pointer in leaves(&envelope, "") {
            let mut other = envelope.clone();
            let leaf = other.pointer_mut(&pointer).expect("it was found there");
            *leaf = changed(leaf);
            let mut parts = valid.clone();
            let bytes = other.to_string().into_bytes();
            match name {
                "tcbInfo" => parts.tcb_info = bytes,
                _ => parts.qe_identity = bytes,
            }
            matrix.add(without_numbers(&pointer), judged(&world, parts));
        }
    }
    matrix.check("documents");
}

/// A name for all members of a list.
fn without_numbers(pointer: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = pointer.split('/').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// Another value that looks much alike: one digit or letter, or one more.
fn changed(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            // Digits stay digits, of hex too, and letters letters.
            let last = bytes
                .iter()
                .rposition(u8::is_ascii_alphanumeric)
                .expect("no text is empty");
            let at = if bytes[last] == b'Z' { last - 1 } else { last };
            bytes[at] = match bytes[at] {
                b'a' | b'A' => bytes[at] + 1,
                letter @ (b'b'..=b'z' | b'B'..=b'Z') => letter - 1,
                digit => digit ^ 1,
            };
            Value::String(String::from_utf8(bytes).expect("ASCII"))
        }
        Value::Number(number) => Value::from(number.as_u64().expect("numbers are whole") + 1),
        other => panic!("documents hold no {other}"),
    }
}

fn leaves(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, inner)| leaves(inner, &format!("{path}/{name}")))
            .collect(),
        Value::Array(list) => {
            let numbered = list.iter().enumerate();
            numbered
                .flat_map(|(number, inner)| leaves(inner, &format!("{path}/{number}")))
                .collect()
        }
        _ => vec![path.to_owned()],
    }
}

/// One value of a list or certificate after the other, and the whole piece.
#[test]
fn a_value_of_a_list_or_certificate() {
    let world = World::new();
    let valid: CollateralParts = world.tdx.collateral(NOW).into();
    let verdict = judged(&world, valid.clone()).expect("it is valid");
    let mut matrix = Matrix::default();
    let mut add = |name: String, parts: CollateralParts| {
        let outcome = judged(&world, parts);
        if let Ok(outcome) = &outcome {
            assert_eq!(
                (outcome.tcb(), outcome.platform()),
                (verdict.tcb(), verdict.platform()),
                "{name}"
            );
            assert!(outcome.expires() <= verdict.expires(), "{name}");
        }
        matrix.add(name, outcome);
    };
    for piece in [
        Piece::PckCrl,
        Piece::RootCaCrl,
        Piece::TcbInfoChain,
        Piece::QeIdentityChain,
        Piece::PckCrlChain,
    ] {
        let ders = piece.of(&valid);
        for (number, der) in ders.iter().enumerate() {
            for element in der::elements(der) {
                // A copy of the root stands for the others: nobody reads any.
                let most = if piece.name(number).ends_with("root") {
                    1
                } else {
                    usize::MAX
                };
                for flipped in flips(der, element.range.clone()).take(most) {
                    let mut other = ders.clone();
                    other[number] = flipped;
                    add(piece.row(number, &element), piece.put(&valid, &other));
                }
            }
            let mut other = ders.clone();
            other.remove(number);
            add(format!("{} without", piece.name(number)), piece.put(&valid, &other));
            let mut other = ders.clone();
            other[number].push(0);
            add(format!("{} and a byte", piece.name(number)), piece.put(&valid, &other));
        }
    }
    matrix.check("lists and certificates");
}

#[derive(Clone, Copy)]
enum Piece {
    PckCrl,
    RootCaCrl,
    TcbInfoChain,
    QeIdentityChain,
    PckCrlChain,
}

impl Piece {
    /// Of one certificate in it: the signer's or authority's, then the root's copy, which nobody reads.
    fn name(self, number: usize) -> &'static str {
        match (self, number) {
            (Self::PckCrl, _) => "pck_crl",
            (Self::RootCaCrl, _) => "root_ca_crl",
            (Self::TcbInfoChain, 0) => "tcb_info_chain signer",
            (Self::TcbInfoChain, _) => "tcb_info_chain root",
            (Self::QeIdentityChain, 0) => "qe_identity_chain signer",
            (Self::QeIdentityChain, _) => "qe_identity_chain root",
            (Self::PckCrlChain, 0) => "pck_crl_chain authority",
            (Self::PckCrlChain, _) => "pck_crl_chain root",
        }
    }

    fn row(self, number: usize, element: &der::Element) -> String {
        let part = match self {
            _ if self.name(number).ends_with("root") => "any part".to_owned(),
            Self::PckCrl | Self::RootCaCrl => element.of_list(),
            Self::TcbInfoChain | Self::QeIdentityChain | Self::PckCrlChain => element.of_certificate(),
        };
        format!("{} {part}", self.name(number))
    }

    fn of(self, parts: &CollateralParts) -> Vec<Vec<u8>> {
        match self {
            Self::PckCrl => vec![parts.pck_crl.clone()],
            Self::RootCaCrl => vec![parts.root_ca_crl.clone()],
            Self::TcbInfoChain => ders(&parts.tcb_info_chain),
            Self::QeIdentityChain => ders(&parts.qe_identity_chain),
            Self::PckCrlChain => ders(&parts.pck_crl_chain),
        }
    }

    fn put(self, parts: &CollateralParts, ders: &[Vec<u8>]) -> CollateralParts {
        let mut parts = parts.clone();
        match self {
            Self::PckCrl => parts.pck_crl = ders.concat(),
            Self::RootCaCrl => parts.root_ca_crl = ders.concat(),
            Self::TcbInfoChain => parts.tcb_info_chain = pem(ders),
            Self::QeIdentityChain => parts.qe_identity_chain = pem(ders),
            Self::PckCrlChain => parts.pck_crl_chain = pem(ders),
        }
        parts
    }
}

/// What is around the documents.
#[test]
fn an_envelope() {
    let world = World::new();
    let valid: CollateralParts = world.tdx.collateral(NOW).into();
    let mut matrix = Matrix::default();
    let mut add = |name: &str, edit: &dyn Fn(&mut CollateralParts)| {
        let mut parts = valid.clone();
        edit(&mut parts);
        matrix.add(name, judged(&world, parts));
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("JSON is text");
    add("as it came", &|_| {});
    add("tcb_info empty", &|parts| parts.tcb_info.clear());
    add("qe_identity empty", &|parts| parts.qe_identity.clear());
    add("tcb_info in place of qe_identity", &|parts| {
        parts.qe_identity = parts.tcb_info.clone()
    });
    add("qe_identity in place of tcb_info", &|parts| {
        parts.tcb_info = parts.qe_identity.clone()
    });
    add("tcb_info with a third member", &|parts| {
        parts.tcb_info = text(&parts.tcb_info).replacen('{', r#"{"more":1,"#, 1).into_bytes();
    });
    add("tcb_info with a blank in the document", &|parts| {
        parts.tcb_info = text(&parts.tcb_info).replacen(r#""id":"#, r#""id": "#, 1).into_bytes();
    });
    add("tcb_info with a blank around the document", &|parts| {
        parts.tcb_info = text(&parts.tcb_info)
            .replacen(r#""tcbInfo":"#, r#""tcbInfo": "#, 1)
            .into_bytes();
    });
    add("tcb_info twice", &|parts| {
        let body = text(&parts.tcb_info);
        let document = &body[1..body.find(r#","signature""#).expect("it is signed")];
        parts.tcb_info = body.replacen('{', &format!("{{{document},"), 1).into_bytes();
    });
    add("tcb_info without its signature", &|parts| {
        let body = text(&parts.tcb_info);
        let end = body.find(r#","signature""#).expect("it is signed");
        parts.tcb_info = format!("{}}}", &body[..end]).into_bytes();
    });
    add("tcb_info with a short signature", &|parts| {
        let body = text(&parts.tcb_info);
        parts.tcb_info = format!("{}\"}}", &body[..body.len() - 4]).into_bytes();
    });
    add("tcb_info of more than 256 KiB", &|parts| {
        parts.tcb_info.resize(256 * 1024 + 1, b' ')
    });
    add("pck_crl in place of root_ca_crl", &|parts| {
        parts.root_ca_crl = parts.pck_crl.clone()
    });
    add("root_ca_crl in place of pck_crl", &|parts| {
        parts.pck_crl = parts.root_ca_crl.clone()
    });
    add("pck_crl empty", &|parts| parts.pck_crl.clear());
    add("root_ca_crl empty", &|parts| parts.root_ca_crl.clear());
    add("tcb_info_chain empty", &|parts| parts.tcb_info_chain.clear());
    add("qe_identity_chain empty", &|parts| parts.qe_identity_chain.clear());
    add("pck_crl_chain empty", &|parts| parts.pck_crl_chain.clear());
    add("tcb_info_chain of the pck_crl", &|parts| {
        parts.tcb_info_chain = parts.pck_crl_chain.clone()
    });
    add("qe_identity_chain of the pck_crl", &|parts| {
        parts.qe_identity_chain = parts.pck_crl_chain.clone()
    });
    add("pck_crl_chain of the tcb_info", &|parts| {
        parts.pck_crl_chain = parts.tcb_info_chain.clone()
    });
    matrix.check("envelopes");
}
