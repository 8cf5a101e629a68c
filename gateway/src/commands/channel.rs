//! `mulberry channel`: a payer's channels, from the first payment to the rest.
//!
//! Every command that pays says first what it does and what that costs, asks, and reads from the contract whether it
//! had its effect.

use std::io::{self, Read as _};

use backends::serve::BoxError;
use billing::{
    Nano,
    channel::{Account, Network, OnChain},
};
use billing_ton::{
    address::{Bounce, Friendly},
    chain::{AccountState, Head},
    keyfile::Secret,
    wallet::Payment,
};
use tycho_types::boc::Boc;

use super::{
    place::{tell, write},
    qr,
    wallet::name as network_name,
};
use crate::{
    chain_source::ChainSource,
    cli::{
        channel::{ChannelArgs, ChannelCommand, WayArgs},
        key::Output,
        wallet::WalletFlags,
    },
    config::{Process, Timestamp},
    home,
    on_chain::{self, Stranger},
    passphrase::Source,
    payer::{
        shelf::{Kept, Lock, Shelf, ShelfError, Slate, Stage},
        till::Till,
    },
    terminal::{self, AskError},
    wallet_file::{self, WalletFile},
    worker::income::journal::Folder,
};

mod close;
mod earned;
mod open;
mod page;
mod paid;
mod settle;
mod top_up;
mod view;

#[derive(Debug, thiserror::Error)]
enum ChannelCommandError {
    #[error("the channel is on {channel}, and --network says {named}; say --network {channel}")]
    Network { channel: String, named: String },
    #[error("nothing was done; there is nobody to ask at a terminal, so say with --yes that it is meant")]
    Unasked,
    #[error("nothing was done")]
    Unconfirmed,
    #[error(transparent)]
    Stranger(#[from] Stranger),
    #[error("the channel is over; it must never be paid into again, so open a new one")]
    Over,
    #[error("the channel is closing, and nothing can be paid in; open a new one")]
    Closing,
    #[error("nothing was ever paid into the channel")]
    Unopened,
    #[error(
        "the source does not show the channel, though it was there: it is over, or the source does not know it yet; look again \
         in some minutes, or ask another one with --chain"
    )]
    Unshown,
    #[error("cannot read '{path}'")]
    Read { path: String, source: io::Error },
}

pub(super) async fn run(args: ChannelArgs) -> Result<(), BoxError> {
    let earnings = args.worker_folder.map(Folder::new);
    let shelf = Shelf::new(args.channels, home::data(&Process))?;
    let desk = Counter {
        shelf,
        wallet: args.wallet,
        chain: args.chain,
        output: args.output,
    };
    if let Some(folder) = earnings {
        return earned::run(&desk, &folder, &args.command).await;
    }
    match args.command {
        ChannelCommand::Open(args) => open::run(&desk, args).await,
        ChannelCommand::Topup { channel, amount, way } => top_up::run(&desk, &channel, amount, &way).await,
        ChannelCommand::List { gateway_config: None } => view::list(&desk).await,
        ChannelCommand::List {
            gateway_config: Some(config),
        } => paid::list(config, desk.output).await,
        ChannelCommand::Show { channel } => view::show(&desk, channel.as_deref()).await,
        ChannelCommand::Settle { settlement, way } => {
            let path = settlement.unwrap_or_else(|| "-".into());
            settle::run(&desk, &path, &way).await
        }
        ChannelCommand::Close { channel, way } => close::run(&desk, channel.as_deref(), &way).await,
        ChannelCommand::Export { channel } => settle::export(&desk, channel.as_deref()),
    }
}

/// What all of these commands were given.
struct Counter {
    shelf: Shelf,
    wallet: WalletFlags,
    chain: crate::cli::chain::ChainFlags,
    output: Output,
}

impl Counter {
    fn source(&self, network: Network) -> Result<ChainSource, BoxError> {
        let key = self.chain.chain_api_key_file.as_deref();
        Ok(ChainSource::new(&self.chain.chain, key, network, &Process)?)
    }

    /// A channel of the network that was named.
    fn pick(&self, named: Option<&str>) -> Result<Kept, BoxError> {
        let kept = self.shelf.pick(named)?;
        let (channel, named) = (kept.id.network, self.wallet.network);
        if channel != named {
            return Err(ChannelCommandError::Network {
                channel: network_name(channel),
                named: network_name(named),
            }
            .into());
        }
        Ok(kept)
    }

    fn wallet_file(&self) -> Result<WalletFile, BoxError> {
        let path = wallet_file::place(self.wallet.wallet.clone(), &Process)?;
        Ok(WalletFile::read(path)?)
    }

    fn passphrase(&self) -> Source<'_> {
        Source {
            file: self.wallet.passphrase_file.as_deref(),
            environment: &Process,
        }
    }

    fn till<'a>(&self, source: &'a ChainSource, file: &WalletFile, secret: &Secret) -> Till<'a> {
        let wallet = file.wallet(self.wallet.network);
        Till {
            source,
            shown: super::wallet::shown(wallet.account(), wallet.network()),
            seed: secret.seed(),
            wallet,
        }
    }
}

/// What a chain says of a channel.
enum Seen {
    /// Nothing there but coins perhaps.
    Absent,
    Open(OnChain),
}

impl Seen {
    /// Of a channel whose address follows from these terms and keys.
    fn of(kept: &Kept, state: &AccountState) -> Result<Self, ChannelCommandError> {
        match on_chain::read(state, &kept.id)? {
            None => Ok(Self::Absent),
            Some(state) => Ok(Self::Open(state.on_chain)),
        }
    }

    fn on_chain(&self) -> Option<&OnChain> {
        match self {
            Self::Absent => None,
            Self::Open(on_chain) => Some(on_chain),
        }
    }
}

/// Looks at a channel, and writes down what is new about it, unless somebody pays from it just now, who does that.
async fn look(source: &ChainSource, kept: &Kept) -> Result<(AccountState, Seen, Slate), BoxError> {
    match kept.lock() {
        Ok(lock) => look_alone(source, kept, &lock).await,
        Err(ShelfError::InUse(_)) => {
            let state = source.account(kept.id.account).await?;
            let seen = Seen::of(kept, &state)?;
            let slate = noted(&kept.slate()?, &seen, state.head);
            Ok((state, seen, slate))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same for who has the channel to itself.
async fn look_alone(source: &ChainSource, kept: &Kept, _lock: &Lock) -> Result<(AccountState, Seen, Slate), BoxError> {
    let state = source.account(kept.id.account).await?;
    let seen = Seen::of(kept, &state)?;
    let known = kept.slate()?;
    let slate = noted(&known, &seen, state.head);
    if slate != known {
        kept.write_slate(&slate)?;
    }
    Ok((state, seen, slate))
}

/// Our own message ended the channel, and the chain shows it.
fn ended(kept: &Kept, _lock: &Lock) -> Result<Slate, BoxError> {
    let mut slate = kept.slate()?;
    slate.reach(Stage::Over);
    kept.write_slate(&slate)?;
    Ok(slate)
}

fn noted(known: &Slate, seen: &Seen, head: Head) -> Slate {
    let mut slate = known.clone();
    match seen {
        Seen::Open(on_chain) => {
            slate.deposited = slate.deposited.max(on_chain.deposited);
            slate.claimed = slate.claimed.max(on_chain.claimed);
            slate.absence.shown(head);
            slate.reach(Stage::Open);
            if on_chain.close_at.is_some() {
                slate.reach(Stage::Leaving);
            }
        }
        // Its end cannot be taken back: one read of it is not enough.
        Seen::Absent if slate.stage > Stage::New && slate.stage < Stage::Over => {
            if slate.absence.is_gone(head) {
                slate.reach(Stage::Over);
            }
        }
        Seen::Absent => {}
    }
    slate
}

/// A channel's address: coins that it does not take come back.
fn shown(account: Account, network: Network) -> String {
    Friendly::new(account, network, Bounce::Back).to_string()
}

/// Without the zeros at its end.
fn short(amount: Nano) -> String {
    let text = amount.to_string();
    let text = text.trim_end_matches('0');
    text.trim_end_matches('.').to_owned()
}

fn time(unix_s: u32) -> String {
    Timestamp::from_unix_seconds(unix_s.into()).to_string()
}

fn delay(seconds: u32) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds.into())).to_string()
}

/// Asks whether what was just said is meant.
fn confirm(way: &WayArgs) -> Result<(), ChannelCommandError> {
    if way.yes {
        return Ok(());
    }
    let answer = terminal::ask("Do it? Type `yes`: ").map_err(|error| match error {
        AskError::NoTerminal | AskError::Background => ChannelCommandError::Unasked,
        _ => ChannelCommandError::Unconfirmed,
    })?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(ChannelCommandError::Unconfirmed)
    }
}

/// A payment as a link that wallet programs open.
fn link(payment: &Payment, network: Network) -> String {
    let bag = |cell| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE, Boc::encode(cell));
    let mut link = format!(
        "ton://transfer/{}?amount={}",
        shown(payment.to, network),
        payment.amount.get()
    );
    if let Some(body) = &payment.body {
        link.push_str(&format!("&bin={}", bag(body)));
    }
    if let Some(init) = &payment.init {
        let cell = tycho_types::cell::CellBuilder::build_from(init).expect("two references and five bits");
        link.push_str(&format!("&init={}", bag(&cell)));
    }
    link
}

/// How another wallet makes this payment: at the gateway's page, or by a link.
fn tell_elsewhere(kept: &Kept, payment: &Payment, amount: Option<Nano>, way: &WayArgs) -> Result<(), BoxError> {
    if way.page {
        tell_text(&page::address(kept, amount)?, way)
    } else {
        tell_text(&link(payment, kept.id.network), way)
    }
}

fn tell_text(link: &str, way: &WayArgs) -> Result<(), BoxError> {
    if way.qr {
        write(&qr::draw(link)?)?;
    }
    write(&format!("{link}\n"))
}

/// A file, or standard input.
fn read(path: &std::path::Path, at_most: u64) -> Result<Vec<u8>, ChannelCommandError> {
    let mut bytes = Vec::new();
    let read = if path == std::path::Path::new("-") {
        io::stdin().lock().take(at_most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(at_most).read_to_end(&mut bytes))
    };
    read.map_err(|source| ChannelCommandError::Read {
        path: path.display().to_string(),
        source,
    })?;
    Ok(bytes)
}
