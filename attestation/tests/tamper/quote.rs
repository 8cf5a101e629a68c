//! Every field of a quote, as it came.

use attestation::{Evidence, Refusal, Verdict};
use attestation_soft_tdx::{SoftTdx, layout::Sheet, recipe::Form};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    der,
    matrix::Matrix,
    world::{World, claims, flips, report_data},
};

const CHAIN: &str = "pck.chain";
const CERTIFICATES: [&str; 3] = ["leaf", "authority", "root"];

fn sheet(form: Form) -> (SoftTdx, Sheet) {
    let tdx = SoftTdx::builder().form(form).build();
    let claims = claims();
    let report_data = report_data(claims.role, &claims.spki_sha256.0, &claims.encode());
    let sheet = tdx.quote_sheet(&report_data);
    (tdx, sheet)
}

fn with(quote: Vec<u8>) -> Evidence {
    Evidence {
        quote: Some(quote),
        claims: claims().encode(),
    }
}

#[test]
fn every_form_is_accepted_as_it_came() {
    let world = World::new();
    for form in Form::ALL {
        let (_, sheet) = sheet(form);
        world.judges(&with(sheet.into_bytes())).expect("it is valid");
    }
}

#[test]
fn a_flipped_bit_in_any_field() {
    let world = World::new();
    let mut matrix = Matrix::default();
    for form in Form::ALL {
        let (_, sheet) = sheet(form);
        for field in sheet.fields() {
            if field.name == CHAIN {
                continue;
            }
            for quote in flips(sheet.bytes(), field.range.clone()) {
                matrix.add(field.name, world.judges(&with(quote)));
            }
        }
    }
    matrix.check("quote");
}

/// With each cut the rest moves up: no length says otherwise.
#[test]
fn a_field_that_is_missing() {
    let world = World::new();
    let mut matrix = Matrix::default();
    for form in Form::ALL {
        let (_, sheet) = sheet(form);
        for field in sheet.fields() {
            let mut quote = sheet.bytes().to_vec();
            quote.drain(field.range.clone());
            matrix.add(field.name, world.judges(&with(quote)));
            let cut = sheet.bytes()[..field.range.start].to_vec();
            matrix.add("all from a field on", world.judges(&with(cut)));
        }
        let longer = [sheet.bytes(), &[0]].concat();
        matrix.add("one byte more", world.judges(&with(longer)));
    }
    let none = Evidence {
        quote: None,
        claims: claims().encode(),
    };
    matrix.add("the quote", world.judges(&none));
    matrix.check("quote without");
}

/// The certificates in it, value by value. The text around them is signed by nobody, and neither is the root's copy:
/// what is accepted with them changed must be the very same verdict.
#[test]
fn a_flipped_bit_in_the_certificates() {
    let world = World::new();
    let (_, sheet) = sheet(Form::V4);
    let field = sheet.field(CHAIN).expect("a quote has a chain");
    let text = std::str::from_utf8(&sheet.bytes()[field.range.clone()]).expect("PEM is text");
    let chain = ders(text);
    let verdict = world.judges(&with(sheet.bytes().to_vec())).expect("it is valid");
    // The chain is the end of the quote, and its length stands before it.
    let replaced = |chain: &[Vec<u8>]| {
        let text = pem(chain);
        assert_eq!(text.len(), field.range.len(), "no length changes");
        [&sheet.bytes()[..field.range.start], text.as_bytes()].concat()
    };
    assert_eq!(replaced(&chain), sheet.bytes());

    let mut matrix = Matrix::default();
    let mut add = |name: String, outcome: Result<Verdict, Refusal>| {
        if let Ok(outcome) = &outcome {
            assert_eq!(*outcome, verdict, "{name}");
        }
        matrix.add(name, outcome);
    };
    for (number, name) in CERTIFICATES.into_iter().enumerate() {
        for element in der::elements(&chain[number]) {
            let most = if name == "root" { 1 } else { usize::MAX };
            for flipped in flips(&chain[number], element.range.clone()).take(most) {
                let mut other = chain.clone();
                other[number] = flipped;
                let row = match name {
                    "root" => "root, any part".to_owned(),
                    _ => format!("{name} {}", element.of_certificate()),
                };
                add(row, world.judges(&with(replaced(&other))));
            }
        }
        let mut shorter = chain.clone();
        shorter.remove(number);
        let quote = rebuilt(&sheet, pem(&shorter).as_bytes());
        add(format!("without the {name}"), world.judges(&with(quote)));
    }
    add("without any".to_owned(), world.judges(&with(rebuilt(&sheet, b""))));
    let doubled = [&chain[..], &chain[2..], &chain[2..]].concat();
    add(
        "five".to_owned(),
        world.judges(&with(rebuilt(&sheet, pem(&doubled).as_bytes()))),
    );
    // Each line of the text: the armour whole, of the digits the end of the line.
    let mut at = field.range.start;
    for line in text.split_inclusive('\n') {
        let range = if line.starts_with('-') {
            at..at + line.len()
        } else {
            at + line.len() - 1..at + line.len()
        };
        let row = if line.starts_with('-') { "armour" } else { "line end" };
        for place in range {
            for quote in flips(sheet.bytes(), place..place + 1) {
                add(row.to_owned(), world.judges(&with(quote)));
            }
        }
        at += line.len();
    }
    matrix.check("chain");
}

/// With another chain, and all lengths as they then must be.
fn rebuilt(sheet: &Sheet, chain: &[u8]) -> Vec<u8> {
    let mut quote = sheet.bytes()[..sheet.field(CHAIN).expect("a quote has a chain").range.start].to_vec();
    quote.extend(chain);
    for name in ["auth.len", "auth.certification_len", "pck.chain_len"] {
        let range = sheet.field(name).expect("a quote has lengths").range.clone();
        let len = u32::try_from(quote.len() - range.end).expect("a quote is short");
        quote[range].copy_from_slice(&len.to_le_bytes());
    }
    quote
}

pub(crate) fn ders(pem: &str) -> Vec<Vec<u8>> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    blocks
        .map(|block| {
            let (digits, _) = block.split_once("-----END").expect("PEM has an end");
            let digits: String = digits.split_whitespace().collect();
            BASE64_STANDARD.decode(digits).expect("PEM is base64")
        })
        .collect()
}

pub(crate) fn pem(chain: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let digits = BASE64_STANDARD.encode(der);
        for line in digits.as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
