//! `mulberry connect doctor`: is this gateway believed, and if not, what is to be done?
//!
//! It makes one connection, as far as the verdict over it, and sends no request.

use std::{io::Write as _, process::ExitCode, time::Duration};

use attestation::{Anchor, Verdict};
use backends::serve::BoxError;
use tokio::time::{Instant, sleep, timeout_at};

use super::{accept, endpoint};
use crate::{
    cli::connect::ConnectArgs,
    commands::usage::plain,
    config::{KeyDigest, Timestamp},
    connect::{Gateway, Link, acceptance::Acceptance, link::Why},
    layers::rescue::Chain,
};

/// Collateral that is missing is fetched meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &ConnectArgs, gateway: Gateway) -> Result<ExitCode, BoxError> {
    let (text, is_well) = match Acceptance::new(&accept(args), &gateway) {
        Ok(acceptance) => examine(acceptance, gateway).await,
        Err(error) => (format!("FAULT  {}\n", Chain(&error)), false),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(acceptance: Acceptance, gateway: Gateway) -> (String, bool) {
    let place = gateway.address.as_str().to_owned();
    let link = Link::new(gateway, endpoint(&acceptance));
    let keeping = tokio::spawn(acceptance.keep());
    let until = Instant::now() + PATIENCE;
    let verdict = loop {
        let why = match link.open().await {
            Ok(opened) => match opened.up.attested() {
                Some(attested) => break Ok((attested, KeyDigest(*opened.up.peer.spki_sha256()))),
                None => continue,
            },
            Err(error) => error.why(),
        };
        if !why.may_pass() || timeout_at(until, sleep(AGAIN)).await.is_err() {
            break Err(why);
        }
    };
    keeping.abort();
    match verdict {
        Ok((attested, key)) => (good(&place, attested.verdict(), key), true),
        Err(why) => (bad(&place, &why), false),
    }
}

fn good(place: &str, verdict: &Verdict, key: KeyDigest) -> String {
    let mut text = format!("ok     {place} proved itself on this connection\n");
    let mut say = |line: String| {
        text.push_str("       ");
        text.push_str(&line);
        text.push('\n');
    };
    say(format!("tier {}: {}", verdict.tier(), verdict.tier().promise()));
    if let Some(image) = verdict.image() {
        say(format!("it runs the image '{}' of your policy", plain(image)));
    } else {
        say(format!(
            "it is known by its key {key}, and proves nothing of its machine"
        ));
    }
    if let Some(tcb) = verdict.tcb() {
        let advisories = if tcb.advisories.is_empty() {
            "no advisories".to_owned()
        } else {
            tcb.advisories.join(", ")
        };
        say(format!(
            "its platform's firmware: {:?}, {}",
            tcb.status,
            plain(&advisories)
        ));
    }
    if verdict.anchor() == Some(Anchor::Development) {
        say("DANGER: under a development trust anchor, no hardware vouches for any of this".to_owned());
    }
    let until = Timestamp::from_unix_seconds(verdict.expires());
    say(format!(
        "the verdict stands until {until}; mulberry connect asks again before"
    ));
    text
}

fn bad(place: &str, why: &Why) -> String {
    let fix = match &*why.code {
        "gateway_unreachable" => "check the address and port (`attested_listen` there), and the firewalls between",
        "gateway_key" => "if that is the gateway you mean (it logs its key_sha256 at start), write that key before @",
        "quote_missing" | "tier_too_low" | "certificate_without_evidence" => {
            "run the gateway in a TDX guest with evidence, or, if you trust its owner, name its key: --gateway KEY@HOST:PORT"
        }
        "image_unknown" | "image_role" => {
            "if you have reason to trust what runs there, add its measurements to the policy: mulberry attest policy init --role gateway"
        }
        "collateral_missing" => "check --collateral, and that its service can be reached from here",
        "anchor_mismatch" | "chain_untrusted" => {
            "its evidence is under another root: software evidence needs --danger-development-trust-anchor"
        }
        "handshake_failed" | "handshake_slow" => {
            "check that the port is `attested_listen` and that nothing between ends TLS"
        }
        _ => "see docs/attestation.md for the code; nothing was sent to it",
    };
    format!(
        "FAULT  {place} is not used: {}\n       code {}\n       fix: {fix}\n",
        plain(&why.sentence),
        why.code
    )
}
