//! `mulberry channel close`: whatever is due next until the rest is back.

use billing::channel::{Settlement, Signer};
use billing_ton::{
    chain::Status,
    contract::{Operation, Request, Settle},
    wallet::{Mode, Payment},
};
use serde_json::json;

use super::{
    BoxError, ChannelCommandError, Counter, Seen, confirm, delay, ended, look_alone, short, tell, tell_elsewhere, time,
    write,
};
use crate::{
    chain_source::ChainSource,
    cli::{channel::WayArgs, key::Output},
    commands::wallet,
    layers::rescue::Chain,
    passphrase::Passphrase,
    payer::{
        parting,
        shelf::{Kept, Lock, Slate, Stage},
        till::{SENDING, Till},
    },
};

#[derive(Debug, thiserror::Error)]
#[error(
    "only the wallet {payer} can ask to close this channel, and the wallet here is {ours}; use --link, and open the link in that wallet"
)]
struct NotPayer {
    payer: String,
    ours: String,
}

/// What is due.
enum Due {
    /// Start the clock.
    Request,
    /// It has run out.
    Finish,
    /// It runs until then, in Unix seconds.
    Wait(u32),
}

pub(super) async fn run(counter: &Counter, channel: Option<&str>, way: &WayArgs) -> Result<(), BoxError> {
    let kept = counter.pick(channel)?;
    // Nobody signs while it closes.
    let lock = kept.lock()?;
    let source = counter.source(kept.id.network)?;
    let (state, seen, mut slate) = look_alone(&source, &kept, &lock).await?;
    let on_chain = match seen {
        Seen::Open(on_chain) => on_chain,
        Seen::Absent if slate.stage == Stage::Over => {
            return done(
                counter,
                &kept,
                "closed",
                "The channel is closed: what was left went back to the payer.\n",
            );
        }
        Seen::Absent if slate.stage > Stage::New => return Err(ChannelCommandError::Unshown.into()),
        Seen::Absent => return Err(ChannelCommandError::Unopened.into()),
    };
    let due = match on_chain.close_at {
        None => Due::Request,
        Some(close_at) if state.head.time >= close_at => Due::Finish,
        Some(close_at) => Due::Wait(close_at),
    };
    let (operation, body) = match due {
        Due::Wait(close_at) => {
            let text = format!(
                "The channel is closing; the rest can be fetched from {} on: run `mulberry channel close {}` then.\n",
                time(close_at),
                kept.name
            );
            return done(counter, &kept, "closing", &text);
        }
        Due::Request => (Operation::RequestClose, Request::RequestClose { query_id: 0 }),
        Due::Finish => (Operation::FinishClose, Request::FinishClose { query_id: 0 }),
    };
    let bring = source.prices().await?.bring(operation);
    let rest = on_chain.deposited.saturating_sub(on_chain.claimed);
    if counter.output == Output::Text && !way.is_elsewhere() || way.dry_run {
        let cost = short(bring.saturating_add(SENDING));
        let text = match due {
            Due::Finish => format!(
                "This fetches {} GRAM (TON) and the reserve for rent, to {}, and takes at most {cost} for gas.\n",
                short(rest),
                wallet::shown(kept.terms.payer, kept.id.network)
            ),
            _ => format!(
                "{} channel {}: the payee has {} to take what you signed for, at most {} GRAM (TON) \
                 more, and then the rest of {} is yours.\n\
                 Nothing can be paid in any more, and nothing more is signed. It takes at most {cost} for gas.\n",
                match kept.payee_url {
                    Some(_) => {
                        "This asks the payee for its last signature, with which the rest is back at once.\n\
                         Where it gives none, it starts the clock of the"
                    }
                    None => "This starts the clock of the",
                },
                kept.name,
                delay(kept.terms.close_delay_s),
                short(slate.signed().min(on_chain.deposited).saturating_sub(on_chain.claimed)),
                short(rest),
            ),
        };
        write(&text)?;
    }
    if way.dry_run {
        return Ok(());
    }
    let payment = Payment {
        to: kept.id.account,
        amount: bring,
        bounce: true,
        mode: Mode::FeesApart,
        body: Some(body.encode()),
        init: None,
    };
    if !way.is_elsewhere() {
        check_payer(counter, &kept, &due)?;
        confirm(way)?;
    }
    if way.is_elsewhere() {
        slate.reach(Stage::Leaving);
        kept.write_slate(&slate)?;
        return tell_elsewhere(&kept, &payment, None, way);
    }
    let file = counter.wallet_file()?;
    let passphrase = counter
        .passphrase()
        .existing(&format!("the wallet {}", file.path().display()))?;
    let secret = file.open_with(&passphrase)?;
    let till = counter.till(&source, &file, &secret);
    // Who cannot open the wallet has not left.
    slate.reach(Stage::Leaving);
    kept.write_slate(&slate)?;
    if let (Due::Request, Some(url)) = (&due, &kept.payee_url) {
        match part(&kept, &passphrase, url, &mut slate).await {
            Ok(settlement) => return together(counter, &source, &kept, &lock, &till, &settlement).await,
            Err(error) => tell(&format!(
                "{} does not close with us: {}; the clock is started instead",
                url,
                Chain(&*error)
            ))?,
        }
    }
    match due {
        Due::Finish => {
            till.pay(payment, |state| {
                matches!(state.status, Status::Nonexistent | Status::Uninitialised)
            })
            .await?;
            ended(&kept, &lock)?;
            let text = format!("Closed: {} GRAM (TON) and the reserve are back.\n", short(rest));
            done(counter, &kept, "closed", &text)
        }
        _ => {
            till.pay(
                payment,
                |state| matches!(Seen::of(&kept, state), Ok(Seen::Open(on_chain)) if on_chain.close_at.is_some()),
            )
            .await?;
            requested(counter, &source, &kept, &lock).await
        }
    }
}

/// The payee's last take, with our voucher.
async fn part(kept: &Kept, passphrase: &Passphrase, url: &str, slate: &mut Slate) -> Result<Settlement, BoxError> {
    let signer = Signer::from_seed(kept.open(passphrase)?.reveal())?;
    let settlement = parting::part(kept, &signer, url, slate).await?;
    let (taken, used) = (settlement.take().amount(), slate.charged);
    if taken > used {
        tell(&format!(
            "the payee takes {} GRAM (TON), and our records have {} that were used; compare its receipts",
            short(taken),
            short(used)
        ))?;
    }
    Ok(settlement)
}

/// Closes with what both have signed.
async fn together(
    counter: &Counter,
    source: &ChainSource,
    kept: &Kept,
    lock: &Lock,
    till: &Till<'_>,
    settlement: &Settlement,
) -> Result<(), BoxError> {
    let payment = Payment {
        to: kept.id.account,
        amount: source.prices().await?.bring(Operation::Close),
        bounce: true,
        mode: Mode::FeesApart,
        body: Some(Request::Settle(Settle::of(settlement, 0)).encode()),
        init: None,
    };
    till.pay(payment, |state| {
        matches!(state.status, Status::Nonexistent | Status::Uninitialised)
    })
    .await?;
    let slate = ended(kept, lock)?;
    let taken = settlement.take().amount();
    let text = format!(
        "Closed with the payee: it has {} GRAM (TON) in all; {} and the reserve are back.\n",
        short(taken),
        short(slate.deposited.saturating_sub(taken))
    );
    done(counter, kept, "closed", &text)
}

/// Only the payer's account can start the clock; anybody can end it.
fn check_payer(counter: &Counter, kept: &Kept, due: &Due) -> Result<(), BoxError> {
    let ours = counter.wallet_file()?.wallet(kept.id.network).account();
    if matches!(due, Due::Finish) || ours == kept.terms.payer {
        return Ok(());
    }
    Err(NotPayer {
        payer: wallet::shown(kept.terms.payer, kept.id.network),
        ours: wallet::shown(ours, kept.id.network),
    }
    .into())
}

async fn requested(counter: &Counter, source: &ChainSource, kept: &Kept, lock: &Lock) -> Result<(), BoxError> {
    let (_, seen, _) = look_alone(source, kept, lock).await?;
    let close_at = seen.on_chain().and_then(|on_chain| on_chain.close_at);
    let when = close_at.map_or_else(|| "the end of the delay".to_owned(), time);
    let text = format!(
        "The clock runs: the rest can be fetched from {when} on, with `mulberry channel close {}`.\n",
        kept.name
    );
    done(counter, kept, "closing", &text)
}

fn done(counter: &Counter, kept: &Kept, state: &str, text: &str) -> Result<(), BoxError> {
    if counter.output == Output::Json {
        let told = json!({ "name": kept.name, "state": state });
        tell(text.trim_end())?;
        return write(&format!("{told:#}\n"));
    }
    write(text)
}
