//! Real quotes and Intel's real collateral, through the whole of appraisal, at the times at which they held.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test that panics has failed and says where; what was skipped is said too"
)]

mod captures;
mod convert;

use attestation::{
    Basis, Claims, Collateral, CollateralSet, Expected, Image, PlatformMode, Policy, Quote, Refusal, Role, Standing,
    TrustAnchor, Verdict, Verifier,
};
use convert::date;

const TABLE: &str = include_str!("table.txt");

#[test]
fn real_samples_come_out_as_the_table_says() {
    let mut ran = 0;
    let mut wrong = Vec::new();
    for line in TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .skip(1)
    {
        let mut columns = line.split_whitespace();
        let mut column = || columns.next().expect("a line has five columns");
        let (quote, collateral, at, policy) = (column(), column(), column(), column());
        let expect = columns.collect::<Vec<_>>().join(" ");
        let Some(padded) = captures::quote(quote) else {
            eprintln!("skipped, ../shared/samples is not here: {line}");
            continue;
        };
        let quote = Quote::unpadded(&padded).expect("a quote");
        let result = check(quote, collateral, date(at), policy);
        let got = match &result {
            Ok(verdict) => shown(verdict),
            Err(refusal) => refusal.code().to_owned(),
        };
        if got != expect {
            wrong.push(format!("{line}\n  got {got}: {result:?}"));
        }
        ran += 1;
    }
    eprintln!("{ran} lines of the table ran");
    assert!(ran > 0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(bytes: &[u8], collateral: &str, now: u64, policy: &str) -> Result<Verdict, Refusal> {
    let mut set = CollateralSet::new(TrustAnchor::Intel);
    if let Some(parts) = captures::collateral(collateral) {
        let collateral = Collateral::parse(parts)?;
        // It is taken in when it held, and found in the set when the quote comes.
        set.insert(collateral.clone(), collateral.expires())?;
    }
    let quote = Quote::parse(bytes)?;
    let policy = policy_of(&quote, policy);
    let claims = Claims::new(Role::Worker, [7; 32], now, now + 3600);
    let expected = Expected {
        role: Role::Worker,
        report_data: &quote.report().report_data.0,
        claims: &claims,
        gpu: None,
    };
    Verifier::new(TrustAnchor::Intel).appraise(bytes, &expected, &Basis::new(&policy, &set, now))
}

fn policy_of(quote: &Quote<'_>, text: &str) -> Policy {
    let mut policy = Policy::of(vec![Image::of("real", &[Role::Worker], quote.report())]);
    for word in text.split(',').skip(1) {
        if let Some(rest) = word.strip_prefix('+') {
            let (status, days) = rest.split_once(':').expect("STATUS:DAYS");
            policy.tcb.statuses.push(standing(status));
            policy.tcb.grace_days = days.parse().expect("days");
        } else if let Some(advisory) = word.strip_prefix('-') {
            policy.tcb.rejected_advisories.push(advisory.to_owned());
        } else if let Some(min) = word.strip_prefix(">=") {
            policy.tcb.min_evaluation = min.parse().expect("a number");
        } else if let Some(ppid) = word.strip_prefix("ppid:") {
            policy.platforms.mode = PlatformMode::Listed;
            policy.platforms.ppid.push(ppid.parse().expect("a PPID"));
        } else {
            panic!("{word} is in no policy");
        }
    }
    assert_eq!(Policy::from_json(&policy.canonical()).expect("a policy"), policy);
    policy
}

fn standing(name: &str) -> Standing {
    serde_json::from_value(name.into()).expect("a status of Intel's")
}

fn shown(verdict: &Verdict) -> String {
    let tcb = verdict.tcb().expect("a quote was appraised");
    let mut words = vec![verdict.tier().to_string(), tcb.status.to_string()];
    words.extend(tcb.advisories.iter().cloned());
    words.join(" ")
}

#[test]
fn our_root_is_the_one_that_dcap_qvl_ships() {
    let own = TrustAnchor::Intel;
    assert_eq!(own.root_der(), captures::intel_root());
}

#[test]
fn a_flipped_bit_of_a_real_quote_is_never_accepted() {
    let padded = captures::quote("tdx_quote").expect("a sample of the crate");
    let quote = Quote::unpadded(&padded).expect("a quote");
    let now = date("2025-06-25");
    // Every 7th byte of what is signed, keys and signatures; the PEM text behind them is checked as certificates.
    let end = quote.len() - quote_chain(quote).len();
    for at in (0..end).step_by(7) {
        let mut other = quote.to_vec();
        other[at] ^= 1;
        let result = check(&other, "tdx_quote", now, "exact");
        assert!(result.is_err(), "byte {at} may be anything");
    }
}

fn quote_chain(quote: &[u8]) -> &[u8] {
    let parsed = Quote::parse(quote).expect("a quote");
    parsed.signature().pck_chain.expect("it holds a chain")
}
