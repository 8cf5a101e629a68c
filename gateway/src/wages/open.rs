//! From the section `workers.pay` to what is at work.

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use billing::{
    Nano,
    channel::{
        Caps, Purse, Slack,
        payer::{Books, PayerPolicy, Trust},
    },
};
use billing_ton::settler::{
    self, Settler,
    drive::{self, FileKeep, LoadError},
};

use super::{
    Payments, Shared, Wages,
    journal::{self, Folder, JournalError},
    state::State,
    written,
};
use crate::{
    chain_source::{ChainFrom, ChainSource, ChainSourceError},
    config::{Pay, Process},
    frames::Scribe,
    passphrase,
    wall_clock::unix_ms,
    wallet_file::{WalletError, WalletFile},
};

/// Why nobody is paid. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("what workers are paid can be kept nowhere; set data_dir")]
    Nowhere,
    #[error("workers.pay.chain cannot be used: {0}")]
    Source(String),
    #[error(transparent)]
    Chain(#[from] ChainSourceError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the payments that are under way cannot be read")]
    Load(#[from] LoadError),
    #[error("the payments that are under way are not those of this wallet; use the wallet that began them")]
    Settler(#[from] settler::JournalError),
    #[error(transparent)]
    Start(#[from] settler::StartError),
}

impl Wages {
    /// Takes up what was owed and signed before. The chain is asked later.
    pub(crate) async fn open(settings: &Pay, folder: Option<&Path>) -> Result<Self, OpenError> {
        let folder = Folder::of(folder.ok_or(OpenError::Nowhere)?);
        let network = settings.network();
        let named: Result<Vec<ChainFrom>, String> = settings.chain.iter().map(|text| ChainFrom::parse(text)).collect();
        let named = named.map_err(OpenError::Source)?;
        let key = settings.chain_api_key.as_ref().map(|key| key.expose().to_owned());
        let chain = ChainSource::with_key(&named, key, network)?;
        let file = WalletFile::read(settings.wallet_file.clone())?;
        let passphrase_file = settings.passphrase_file.clone();
        // To open it takes a second of one processor, on purpose.
        let opened = tokio::task::spawn_blocking(move || {
            let secret = file.open(&passphrase::Source {
                file: passphrase_file.as_deref(),
                environment: &Process,
            })?;
            Ok::<_, WalletError>((file.wallet(network), secret.seed()))
        });
        let (wallet, seed) = match opened.await {
            Ok(opened) => opened?,
            Err(_) => return Err(OpenError::Nowhere),
        };
        let lock = folder.lock()?;
        let signer = Arc::new(folder.signer()?);
        let policy = policy(settings);
        let (frames, payees, tombstones) = journal::open(&folder, &signer, policy, unix_ms())?;
        let keep = FileKeep(folder.payments());
        let account = wallet.account();
        let usual = settler::Settings::USUAL;
        let settler = match keep.load().await? {
            None => Settler::new(wallet, seed, usual)?,
            Some(journal) => Settler::restore(wallet, seed, usual, &journal)?,
        };
        let (drive, orders, news) = drive::prepare(settler, chain.sources().clone(), keep);
        let purse = Purse::new(Caps {
            exposure: settings.exposure_total,
            capital: settings.capital_total,
            capital_of_owner: settings.capital_of_owner,
            open_above: settings.open_above,
        });
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            policy,
            signer,
            wallet: account,
            chain,
            state: Mutex::new(State::new(purse, payees, tombstones)),
            scribe: OnceLock::new(),
            payments: Mutex::new(Some(Payments { drive, orders, news })),
            _lock: lock,
        });
        let weak = Arc::downgrade(&shared);
        let scribe = Scribe::begin(frames, move |thens| written(&weak, thens)).map_err(JournalError::Thread)?;
        drop(shared.scribe.set(scribe));
        tracing::info!(wallet = %billing_ton::address::raw(&account), "workers are paid from a wallet");
        Ok(Self(Some(shared)))
    }
}

fn policy(settings: &Pay) -> PayerPolicy {
    PayerPolicy {
        // Of each worker it is what it has shown.
        trust: Trust::Credit,
        exposure_cap: settings.exposure_cap,
        window: settings.window.min(settings.exposure_cap),
        top_up_below: settings.top_up_below,
        top_up_by: settings.deposit,
        tally_every: Nano::saturating(settings.window.get() / 4),
        cooperate_ms: 60_000,
        resend_ms: 3_000,
        tolerance: Slack {
            amount: settings.tolerance,
            ..Slack::OF_WORK
        },
        books: Books::Own,
    }
}
