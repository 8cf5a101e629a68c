//! `mulberry channel list` and `show`

use billing::channel::OnChain;
use serde_json::{Value, json};

use super::{BoxError, Counter, Seen, delay, look, short, shown, time, write};
use crate::{
    chain_source::ChainSource,
    cli::key::Output,
    commands::{
        columns::{self, Column, table},
        wallet,
    },
    payer::shelf::{Kept, Slate, Stage},
};

#[derive(Debug, thiserror::Error)]
enum ViewError {
    #[error("no channel was opened here on {0}; `mulberry channel open` opens one")]
    None(String),
}

/// In a word.
fn state(seen: &Seen, slate: &Slate) -> &'static str {
    match (seen, slate.stage) {
        (Seen::Open(on_chain), _) if on_chain.close_at.is_some() => "closing",
        (Seen::Open(_), Stage::Leaving) => "leaving",
        (Seen::Open(_), _) => "open",
        (Seen::Absent, Stage::Over) => "closed",
        (Seen::Absent, Stage::New) => "not paid in",
        (Seen::Absent, _) => "not shown",
    }
}

fn document(kept: &Kept, seen: &Seen, slate: &Slate) -> Value {
    let on_chain = seen.on_chain();
    json!({
        "name": kept.name,
        "network": kept.id.network.to_string(),
        "channel": shown(kept.id.account, kept.id.network),
        "raw": kept.id.account.to_string(),
        "state": state(seen, slate),
        "payee": wallet::shown(kept.terms.payee, kept.id.network),
        "payer": wallet::shown(kept.terms.payer, kept.id.network),
        "payee_url": kept.payee_url,
        "deposited": slate.deposited,
        "claimed": slate.claimed,
        "signed": slate.signed(),
        "charged": slate.charged,
        "at_risk": slate.at_risk(),
        "close_at": on_chain.and_then(|on_chain| on_chain.close_at),
        "close_delay_s": kept.terms.close_delay_s,
        "fee_bps": kept.terms.fee_bps,
    })
}

pub(super) async fn list(counter: &Counter) -> Result<(), BoxError> {
    let network = counter.wallet.network;
    let all = counter.shelf.all()?;
    let all: Vec<Kept> = all.into_iter().filter(|kept| kept.id.network == network).collect();
    let is_json = counter.output == Output::Json;
    if all.is_empty() && !is_json {
        return Err(ViewError::None(wallet::name(network)).into());
    }
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    if !all.is_empty() {
        let source = counter.source(network)?;
        for kept in &all {
            let (_, seen, slate) = look(&source, kept).await?;
            documents.push(document(kept, &seen, &slate));
            rows.push([
                kept.name.clone(),
                state(&seen, &slate).to_owned(),
                slate.deposited.to_string(),
                slate.claimed.to_string(),
                slate.charged.to_string(),
                slate.at_risk().to_string(),
                kept.payee_url.clone().unwrap_or_default(),
            ]);
        }
    }
    if is_json {
        return write(&format!("{:#}\n", json!({ "object": "list", "data": documents })));
    }
    write(&table(
        &[
            Column::Text("NAME"),
            Column::Text("STATE"),
            Column::Number("PAID IN"),
            Column::Number("TAKEN"),
            Column::Number("USED"),
            Column::Number("AT RISK"),
            Column::Text("PAYEE"),
        ],
        &rows,
    ))
}

pub(super) async fn show(counter: &Counter, named: Option<&str>) -> Result<(), BoxError> {
    let kept = counter.pick(named)?;
    let source = counter.source(kept.id.network)?;
    tell(counter, &source, &kept).await
}

/// One channel, as the chain tells it now.
pub(super) async fn tell(counter: &Counter, source: &ChainSource, kept: &Kept) -> Result<(), BoxError> {
    let (account, seen, slate) = look(source, kept).await?;
    if counter.output == Output::Json {
        let mut document = document(kept, &seen, &slate);
        document["block"] = account.head.seqno.into();
        document["sources"] = json!(source.names());
        return write(&format!("{document:#}\n"));
    }
    write(&columns::list(&[
        (
            "channel",
            format!("{} ({})", kept.name, shown(kept.id.account, kept.id.network)),
        ),
        ("network", wallet::name(kept.id.network)),
        ("state", state(&seen, &slate).to_owned()),
        ("paid in", format!("{} GRAM (TON)", slate.deposited)),
        ("taken", format!("{} by the payee so far", slate.claimed)),
        ("signed", format!("{} may be taken in all", slate.signed())),
        ("used", format!("{} as the payee's receipts say", slate.charged)),
        ("at risk", format!("{} signed and not used", slate.at_risk())),
        ("payee", wallet::shown(kept.terms.payee, kept.id.network)),
        ("payer", wallet::shown(kept.terms.payer, kept.id.network)),
        ("as of", source.as_of(account.head)),
    ]))?;
    write(&format!("\n{}\n", advice(kept, &seen, &slate, account.head.time)))
}

/// What it means, and what can be done.
fn advice(kept: &Kept, seen: &Seen, slate: &Slate, now: u32) -> String {
    let name = &kept.name;
    match (seen, slate.stage) {
        (Seen::Open(OnChain { close_at: Some(at), .. }), _) if now >= *at => {
            format!("The delay is over: `mulberry channel close {name}` fetches the rest.")
        }
        (
            Seen::Open(OnChain {
                close_at: Some(at),
                deposited,
                claimed,
            }),
            _,
        ) => {
            let more = slate.signed().min(*deposited).saturating_sub(*claimed);
            format!(
                "It is closing. Until {} the payee may take at most {} GRAM (TON) more; from then on `mulberry channel close {name}` fetches the rest.",
                time(*at),
                short(more)
            )
        }
        (Seen::Open(on_chain), _) => {
            let sure = on_chain.deposited.saturating_sub(slate.signed().max(on_chain.claimed));
            format!(
                "{} GRAM (TON) are yours whatever the payee does; `mulberry channel close {name}` gets back what is left, at the latest {} after you ask.",
                short(sure),
                delay(kept.terms.close_delay_s)
            )
        }
        (Seen::Absent, Stage::Over) => {
            "It is over: what was left went back to the payer. Never pay into this address again; open a new channel."
                .to_owned()
        }
        (Seen::Absent, Stage::Open | Stage::Leaving) => {
            format!(
                "The source does not show the channel, though it was there. It is over, or the source does not know it yet: look again in some minutes with `mulberry channel show {name}`, or ask another one with --chain."
            )
        }
        (Seen::Absent, Stage::New) => {
            format!(
                "Nothing was paid in yet; `mulberry channel topup {name} AMOUNT` does, or the link that `open` printed."
            )
        }
    }
}
