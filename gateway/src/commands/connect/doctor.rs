//! `mulberry connect doctor`: is this gateway believed, and if not, what is to be done?
//!
//! It makes one connection, as far as the verdict over it, and sends no request. Of a channel that pays it says what is
//! written down of it and what the chain shows; its key stays closed.

use std::{io::Write as _, process::ExitCode, time::Duration};

use attestation::{Anchor, Verdict};
use backends::serve::BoxError;
use tokio::time::{Instant, sleep, timeout_at};

use super::{accept, endpoint, pick, registrar};
use crate::{
    chain_source::ChainSource,
    cli::connect::{ConnectArgs, PayArgs},
    commands::usage::plain,
    config::{KeyDigest, Process, Timestamp},
    connect::{Gateway, Link, acceptance::Acceptance, link::Why},
    layers::rescue::Chain,
    on_chain,
    payer::{shelf::Stage, teller::DAY_MS},
    wall_clock::unix_ms,
};

/// Collateral that is missing is fetched meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &ConnectArgs, gateway: Gateway) -> Result<ExitCode, BoxError> {
    let (mut text, mut is_well) = match governed(args, &gateway).await {
        Ok(acceptance) => examine(acceptance, gateway).await,
        Err(error) => (format!("FAULT  {}\n", Chain(&*error)), false),
    };
    if let Some(named) = &args.pay.pay {
        match channel(&args.pay, named).await {
            Ok(line) => text.push_str(&format!("ok     {line}\n")),
            Err(error) => {
                text.push_str(&format!("FAULT  {}\n", Chain(&*error)));
                is_well = false;
            }
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// By the policy, as far as the registry leaves it.
async fn governed(args: &ConnectArgs, gateway: &Gateway) -> Result<Acceptance, BoxError> {
    let acceptance = Acceptance::new(&accept(args), gateway)?;
    let registrar = registrar(args).await?;
    if gateway.key.is_none() {
        registrar.govern(acceptance.trust());
    }
    Ok(acceptance)
}

/// Why a channel pays for nothing.
#[derive(Debug, thiserror::Error)]
enum Unpaying {
    #[error("the channel {0} is not on the chain; pay in with `mulberry channel topup {0} AMOUNT`")]
    Absent(String),
    #[error("the channel {0} is closing or closed; open another one with `mulberry channel open`")]
    Over(String),
}

/// How the channel stands, in a line.
async fn channel(args: &PayArgs, named: &str) -> Result<String, BoxError> {
    let kept = pick(args, named)?;
    let slate = kept.slate()?;
    let chain = &args.chain;
    let source = ChainSource::new(
        &chain.chain,
        chain.chain_api_key_file.as_deref(),
        kept.id.network,
        &Process,
    )?;
    let state = on_chain::read(&source.account(kept.id.account).await?, &kept.id)?;
    let name = kept.name;
    let on_chain = state.ok_or_else(|| Unpaying::Absent(name.clone()))?.on_chain;
    if slate.stage >= Stage::Leaving || on_chain.close_at.is_some() {
        return Err(Unpaying::Over(name).into());
    }
    let limits = args.limits();
    let from = slate.day.filter(|day| day.number == unix_ms().div_euclid(DAY_MS));
    let today = slate.charged.saturating_sub(from.map_or(slate.charged, |day| day.from));
    Ok(format!(
        "the channel {name} has {} GRAM (TON), of which {} are used; {} are signed and not used, and at most {} ever will be; {} of today's budget are left",
        on_chain.deposited,
        slate.charged,
        slate.at_risk(),
        limits.exposure,
        limits.day.saturating_sub(today)
    ))
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
