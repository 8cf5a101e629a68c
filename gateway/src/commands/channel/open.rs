//! `mulberry channel open`

use billing::{
    Nano,
    channel::{Account, Terms},
};
use billing_ton::{
    Seed, address,
    contract::{self, BadTerms, Operation, RENT_RESERVE, Request},
    wallet::{Mode, Payment},
};
use serde_json::json;

use super::{
    BoxError, ChannelCommandError, Counter, Seen, confirm, delay, look, short, shown, tell, tell_elsewhere, write,
};
use crate::{
    cli::{channel::OpenArgs, key::Output},
    commands::{columns::list, wallet},
    payer::{
        shelf::Kept,
        terms::{self, Wanted},
        till::SENDING,
    },
    tls,
};

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(
        "name the wallet that pays and gets the rest with --payer ADDRESS, or make one here with `mulberry wallet create`"
    )]
    NoPayer,
    #[error("--payer is no address")]
    Payer(#[source] address::AddressError),
    #[error("the payee's terms do not work out")]
    Terms(#[source] BadTerms),
    #[error("no secure random bytes can be had from this system")]
    Random,
    #[error("the amount is more than can be paid in")]
    TooMuch,
}

pub(super) async fn run(counter: &Counter, args: OpenArgs) -> Result<(), BoxError> {
    let network = counter.wallet.network;
    let offers = match (&args.to, &args.terms) {
        (Some(url), _) => terms::ask(url).await?,
        (None, Some(path)) => terms::read(path)?,
        (None, None) => Vec::new(),
    };
    let wanted = terms::choose(&offers, network)?;
    let source = counter.source(network)?;
    let bring = source.prices().await?.bring(Operation::TopUp);
    let value = args
        .amount
        .checked_add(RENT_RESERVE)
        .and_then(|sum| sum.checked_add(bring));
    let value = value.ok_or(OpenError::TooMuch)?;
    let wallet = match &args.payer {
        None => Some(counter.wallet_file()?),
        Some(_) => None,
    };
    let payer = match (&wallet, &args.payer) {
        (Some(file), _) => file.wallet(network).account(),
        (None, Some(text)) => address::parse(text, network).map_err(OpenError::Payer)?,
        (None, None) => return Err(OpenError::NoPayer.into()),
    };
    let salt = u128::from_be_bytes(tls::random().ok_or(OpenError::Random)?);
    let terms = Terms {
        network,
        close_delay_s: wanted.close_delay_s,
        fee_bps: wanted.fee_bps,
        salt,
        payer,
        payee: wanted.payee,
        fee_dest: wanted.fee_dest,
    };
    contract::check_terms(&terms).map_err(OpenError::Terms)?;
    let is_json = counter.output == Output::Json;
    if !is_json || args.way.dry_run {
        plan(counter, &terms, &wanted, args.amount, bring)?;
    }
    if args.way.dry_run {
        return Ok(());
    }
    if !args.way.is_elsewhere() {
        confirm(&args.way)?;
    }
    // The wallet's passphrase is that of the channel's key too: it is tried before anything is written.
    let passphrase = match &wallet {
        Some(file) if !args.way.is_elsewhere() => counter
            .passphrase()
            .existing(&format!("the wallet {}", file.path().display()))?,
        _ => counter.passphrase().new_one("the channel's key")?,
    };
    let secret = match &wallet {
        Some(file) if !args.way.is_elsewhere() => Some(file.open_with(&passphrase)?),
        _ => None,
    };
    let seed = Seed::generate()?;
    let kept = counter
        .shelf
        .keep(args.name, &terms, &seed, wanted.payee_key, args.to, &passphrase)?;
    // Read back before anything is paid: without its key a channel is worth nothing until the delay is over.
    kept.open(&passphrase)?;
    let payment = payment(&kept, args.amount, value);
    let (Some(file), Some(secret)) = (&wallet, &secret) else {
        tell(&format!(
            "the channel is kept as {}, at {}; pay into it from the wallet {} with this {}, then look with `mulberry channel show {}`",
            kept.name,
            shown(kept.id.account, network),
            wallet::shown(payer, network),
            if args.way.page { "page" } else { "link" },
            kept.name
        ))?;
        return tell_elsewhere(&kept, &payment, Some(args.amount), &args.way);
    };
    let till = counter.till(&source, file, secret);
    let amount = args.amount;
    let paid = till
        .pay(
            payment,
            |state| matches!(Seen::of(&kept, state), Ok(Seen::Open(on_chain)) if on_chain.deposited >= amount),
        )
        .await;
    if let Err(error) = paid {
        tell(&format!(
            "the channel is kept as {}; once the reason is gone, open it with `mulberry channel topup {} {}`",
            kept.name,
            kept.name,
            short(amount)
        ))?;
        return Err(error.into());
    }
    opened(counter, &source, &kept).await
}

/// The first payment: it brings the contract along, and what the contract keeps for rent.
pub(super) fn payment(kept: &Kept, amount: Nano, value: Nano) -> Payment {
    Payment {
        to: kept.id.account,
        amount: value,
        bounce: true,
        mode: Mode::FeesApart,
        body: Some(Request::TopUp { query_id: 0, amount }.encode()),
        init: Some(contract::state_init(&kept.terms, &kept.keys)),
    }
}

fn plan(counter: &Counter, terms: &Terms, wanted: &Wanted, amount: Nano, bring: Nano) -> Result<(), BoxError> {
    let network = counter.wallet.network;
    let person = |account: Account| wallet::shown(account, network);
    if counter.output == Output::Json {
        let plan = json!({
            "network": network.to_string(),
            "payer": person(terms.payer),
            "payee": person(terms.payee),
            "amount": amount,
            "rent_reserve": RENT_RESERVE,
            "gas_at_most": bring,
            "sending_at_most": SENDING,
            "close_delay_s": terms.close_delay_s,
            "fee_bps": terms.fee_bps,
        });
        return write(&format!("{plan:#}\n"));
    }
    let fee = match wanted.fee_bps {
        0 => "none".to_owned(),
        bps => format!(
            "{}.{:02} % of what the payee takes, out of its share, to {}",
            bps / 100,
            bps % 100,
            person(terms.fee_dest)
        ),
    };
    let wait = delay(terms.close_delay_s);
    write("This opens a payment channel, in GRAM (TON):\n\n")?;
    write(&list(&[
        ("pay in", format!("{} from {}", short(amount), person(terms.payer))),
        ("to", person(terms.payee)),
        (
            "reserve",
            format!("{} for rent; it comes back at the end", short(RENT_RESERVE)),
        ),
        (
            "gas",
            format!(
                "at most {}; what is not needed comes back",
                short(bring.saturating_add(SENDING))
            ),
        ),
        ("fee", fee),
    ]))?;
    write(&format!(
        "\nNothing is at risk by opening it: the payee can take only what you sign for, later, request by request.\n\
         The rest comes back at once when the payee agrees to close, and otherwise {wait} after you ask for it.\n"
    ))
}

async fn opened(counter: &Counter, source: &crate::chain_source::ChainSource, kept: &Kept) -> Result<(), BoxError> {
    let (state, seen, _) = look(source, kept).await?;
    let on_chain = *seen.on_chain().ok_or(ChannelCommandError::Unopened)?;
    let address = shown(kept.id.account, kept.id.network);
    if counter.output == Output::Json {
        let facts = json!({
            "name": kept.name,
            "network": kept.id.network.to_string(),
            "channel": address,
            "raw": kept.id.account.to_string(),
            "deposited": on_chain.deposited,
            "block": state.head.seqno,
        });
        return write(&format!("{facts:#}\n"));
    }
    write(&format!(
        "\nOpen: {} GRAM (TON) are in the channel {} ({address}), says {}.\n\
         See it with: mulberry channel show {}\n",
        short(on_chain.deposited),
        kept.name,
        source.as_of(state.head),
        kept.name
    ))
}
