//! Claims, what carries them, and what binds them to a key and a connection.

use attestation::{
    Basis, Claims, Evidence, Hex, Refusal, Role, Verdict,
    binding::{Channel, user_report_data},
    cbor::Writer,
};
use attestation_soft_tdx::{SoftTdx, Td, recipe::Form};

use crate::{
    matrix::Matrix,
    world::{NOW, SPKI, World, claims, evidence, evidence_of, flips, report_data},
};

const NAMES: [&str; 11] = [
    "role",
    "spki_sha256",
    "not_before",
    "not_after",
    "receipt_key",
    "payee_key",
    "hpke_key",
    "gpu_evidence",
    "config",
    "engine",
    "models",
];

/// Name, and where it and its value stand.
fn fields(encoded: &[u8]) -> Vec<(&'static str, std::ops::Range<usize>)> {
    let mut fields = vec![("the map", 0..1)];
    let mut at = 1;
    while at < encoded.len() {
        let name = NAMES[usize::from(encoded[at]) - 1];
        let value = match encoded[at + 1] {
            0..0x18 => 1,
            0x18 => 2,
            0x1a => 5,
            0x58 => 2 + usize::from(encoded[at + 2]),
            other => panic!("claims hold no {other:#x}"),
        };
        fields.push((name, at..at + 1 + value));
        at += 1 + value;
    }
    fields
}

/// By somebody between, who cannot make a quote for them.
#[test]
fn a_flipped_bit_in_any_claim() {
    let world = World::new();
    let valid = evidence(&world.tdx);
    let mut matrix = Matrix::default();
    for (name, range) in fields(&valid.claims) {
        for claims in flips(&valid.claims, range.clone()) {
            let quote = valid.quote.clone();
            matrix.add(name, world.judges(&Evidence { quote, claims }));
        }
        let mut claims = valid.claims.clone();
        claims.drain(range.clone());
        let quote = valid.quote.clone();
        matrix.add(format!("without {name}"), world.judges(&Evidence { quote, claims }));
        // The map's own count says that there is one less.
        let mut claims = valid.claims.clone();
        claims.drain(range);
        claims[0] = claims[0].wrapping_sub(1);
        let quote = valid.quote.clone();
        matrix.add(
            format!("without {name}, counted"),
            world.judges(&Evidence { quote, claims }),
        );
    }
    matrix.check("claims");
}

/// By a guest that is genuine and says something that it may not.
#[test]
fn claims_that_the_guest_itself_made() {
    let world = World::new();
    let mut matrix = Matrix::default();
    let mut add = |name: &str, edit: &dyn Fn(&mut Claims)| {
        let mut claims = claims();
        edit(&mut claims);
        matrix.add(name, world.judges(&evidence_of(&world.tdx, &claims)));
    };
    add("as they should be", &|_| {});
    add("the least", &|claims| {
        *claims = Claims::new(Role::Worker, SPKI, NOW, NOW + 1)
    });
    add("role gateway", &|claims| claims.role = Role::Gateway);
    add("role connect", &|claims| claims.role = Role::Connect);
    add("another key", &|claims| claims.spki_sha256 = Hex([0; 32]));
    add("from later on", &|claims| claims.not_before = NOW + 1);
    add("until now", &|claims| claims.not_after = NOW);
    add("for 24 hours", &|claims| claims.not_after = claims.not_before + 86_400);
    add("for more than 24 hours", &|claims| {
        claims.not_after = claims.not_before + 86_401
    });
    add("until before they begin", &|claims| {
        claims.not_after = claims.not_before
    });
    add("GPU evidence that is not there", &|claims| {
        claims.gpu_evidence = Some(Hex([8; 32]))
    });
    let mut more = Writer::new();
    more.map(5)
        .uint(1)
        .uint(2)
        .uint(2)
        .bytes(&SPKI)
        .uint(3)
        .uint(NOW)
        .uint(4)
        .uint(NOW + 1)
        .uint(12)
        .bytes(&[0; 32]);
    let more = more.finish();
    let quote = Some(world.tdx.quote(&report_data(Role::Worker, &SPKI, &more)));
    matrix.add(
        "a claim that is not known",
        world.judges(&Evidence { quote, claims: more }),
    );
    matrix.check("claims signed");
}

/// The bytes of the certificate's extension.
#[test]
fn a_flipped_bit_in_what_carries_them() {
    let world = World::new();
    let valid = evidence(&world.tdx);
    let encoded = valid.encode();
    let judged = |bytes: &[u8]| world.judges(&Evidence::decode(bytes)?);
    judged(&encoded).expect("it is valid");
    let quote_len = valid.quote.as_ref().map(Vec::len).expect("there is a quote");
    let head = 4;
    let quote = head + 3..head + 3 + quote_len;
    let claims = encoded.len() - valid.claims.len()..encoded.len();
    let parts = [
        ("tag", 0..3),
        ("array", 3..4),
        ("length of the quote", head..quote.start),
        ("length of the claims", quote.end..claims.start),
    ];
    let mut matrix = Matrix::default();
    for (name, range) in parts {
        for other in flips(&encoded, range.clone()) {
            matrix.add(name, judged(&other));
        }
        let mut other = encoded.clone();
        other.drain(range);
        matrix.add(format!("without {name}"), judged(&other));
    }
    let mut without = encoded.clone();
    without.drain(head..quote.end);
    matrix.add("without the quote", judged(&without));
    matrix.add("without the claims", judged(&encoded[..quote.end]));
    matrix.add("one byte more", judged(&[&encoded[..], &[0]].concat()));
    let mut keyed = valid.clone();
    keyed.quote = None;
    matrix.add("null in place of the quote", judged(&keyed.encode()));
    let mut long = valid.clone();
    long.claims = vec![0; 32 * 1024];
    matrix.add("more than 32 KiB", judged(&long.encode()));
    let mut long = valid;
    long.quote = Some(vec![0; 16 * 1024 + 1]);
    matrix.add("a quote of more than 16 KiB", judged(&long.encode()));
    matrix.check("evidence");
}

/// Evidence of one certificate shown with another key, for another role.
#[test]
fn evidence_that_was_copied() {
    let world = World::new();
    let valid = evidence(&world.tdx);
    let basis = Basis::new(&world.policy, &world.collateral, NOW);
    let judged = |role, spki| world.verifier().appraise_certificate(&valid, role, &spki, &basis);
    let mut matrix = Matrix::default();
    matrix.add("as it came", judged(Role::Worker, SPKI));
    matrix.add("another key", judged(Role::Worker, [0; 32]));
    matrix.add("as a gateway's", judged(Role::Gateway, SPKI));
    let other = SoftTdx::builder()
        .build()
        .quote(&user_report_data(Role::Worker, &[1; 32], &SPKI));
    let user = Evidence {
        quote: Some(other),
        claims: valid.claims.clone(),
    };
    matrix.add("a quote made for a user", world.judges(&user));
    let zeros = Evidence {
        quote: Some(world.tdx.quote(&[0; 64])),
        claims: valid.claims.clone(),
    };
    matrix.add("a quote made for nothing", world.judges(&zeros));
    matrix.check("binding");
}

/// The second quote, after the handshake.
#[test]
fn a_channel_that_is_another() {
    let mut world = World::new();
    let second_image = Td::of("second").image("second", &[Role::Worker]);
    world.policy.images.push(second_image);
    let first = world.judges(&evidence(&world.tdx)).expect("it is valid");
    let ours = Channel {
        role: Role::Worker,
        nonce: &[1; 32],
        exporter: &[2; 32],
        attester_spki: &SPKI,
        verifier_spki: &[3; 32],
    };
    let basis = Basis::new(&world.policy, &world.collateral, NOW);
    let judged = |tdx: &SoftTdx, theirs: &Channel<'_>| -> Result<Verdict, Refusal> {
        let quote = tdx.quote(&theirs.report_data());
        world.verifier().appraise_channel(&quote, &ours, &first, None, &basis)
    };
    let same = &world.tdx;
    let mut matrix = Matrix::default();
    matrix.add("as it should be", judged(same, &ours));
    matrix.add(
        "role",
        judged(
            same,
            &Channel {
                role: Role::Gateway,
                ..ours
            },
        ),
    );
    matrix.add(
        "nonce",
        judged(
            same,
            &Channel {
                nonce: &[0; 32],
                ..ours
            },
        ),
    );
    matrix.add(
        "exporter",
        judged(
            same,
            &Channel {
                exporter: &[0; 32],
                ..ours
            },
        ),
    );
    matrix.add(
        "attester's key",
        judged(
            same,
            &Channel {
                attester_spki: &[0; 32],
                ..ours
            },
        ),
    );
    matrix.add(
        "verifier's key",
        judged(
            same,
            &Channel {
                verifier_spki: &[0; 32],
                ..ours
            },
        ),
    );
    let reflected = Channel {
        attester_spki: ours.verifier_spki,
        verifier_spki: ours.attester_spki,
        ..ours
    };
    matrix.add("reflected", judged(same, &reflected));
    let certificate = report_data(Role::Worker, &SPKI, &claims().encode());
    let replayed = same.quote(&certificate);
    matrix.add(
        "the certificate's quote again",
        world
            .verifier()
            .appraise_channel(&replayed, &ours, &first, None, &basis),
    );
    matrix.add("from another platform", judged(&same.platform(1), &ours));
    matrix.add(
        "from another PPID",
        judged(&SoftTdx::builder().ppid([1; 16]).build(), &ours),
    );
    matrix.add(
        "from another instance",
        judged(&SoftTdx::builder().instance(Some([1; 16])).build(), &ours),
    );
    matrix.add(
        "from another image of the policy",
        judged(&SoftTdx::builder().image("second").build(), &ours),
    );
    matrix.add(
        "from an image of no policy",
        judged(&SoftTdx::builder().image("third").build(), &ours),
    );
    matrix.add(
        "from a guest of another form",
        judged(&SoftTdx::builder().form(Form::V5Td15).build(), &ours),
    );
    matrix.add("from a debug guest", judged(&SoftTdx::builder().debug().build(), &ours));
    matrix.add(
        "from another root",
        judged(&SoftTdx::builder().other_root().build(), &ours),
    );
    let elsewhere = Channel {
        attester_spki: &[4; 32],
        ..ours
    };
    let quote = same.quote(&elsewhere.report_data());
    matrix.add(
        "of a connection with another certificate",
        world
            .verifier()
            .appraise_channel(&quote, &elsewhere, &first, None, &basis),
    );
    let mut open = world.policy.clone();
    open.min_tier = attestation::Tier::Open;
    let basis = Basis::new(&open, &world.collateral, NOW);
    let keyed = Evidence {
        quote: None,
        claims: claims().encode(),
    };
    let keyed = world
        .verifier()
        .appraise_certificate(&keyed, Role::Worker, &SPKI, &basis)
        .expect("tier open needs no quote");
    let quote = same.quote(&ours.report_data());
    matrix.add(
        "after a certificate without a quote",
        world.verifier().appraise_channel(&quote, &ours, &keyed, None, &basis),
    );
    matrix.check("channel");
}
