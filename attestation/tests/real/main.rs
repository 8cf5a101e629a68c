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
