//! What was signed goes where it is worth something: to its contract, through a wallet of ours that pays the gas, and into
//! a folder, for whoever watches.
//!
//! It is shown to the contract again and again until the chain says that it was paid, and costs nothing once it was.
//! Nothing here stops a request: without coins, chain or disk it is said, and tried again.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use billing::{
    Nano,
    channel::{Account, OnChain, Settlement},
};
use billing_ton::{
    Chain as Source,
    chain::ChainError,
    contract::{BadPrices, Prices},
    durable,
    settler::{
        self,
        drive::{self, Drive, FileKeep, News, Orders},
    },
    sources::Sources,
};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    cashing::{self, SettlerError, job, operation, unpaid},
    config::{self, Process},
    layers::rescue::Chain,
    passphrase,
    wallet_file::{WalletError, WalletFile, private_folder},
};

/// What the wallet has begun, in the data directory.
const JOURNAL: &str = "payments.settler.json";
/// A settlement of which the chain shows nothing is wanted again: the settler may have declined it.
const AGAIN: Duration = Duration::from_secs(60);

/// Why what is signed cannot be settled from here. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettlingError {
    #[error("payments.watch names '{}', which cannot be used as a folder", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("payments.wallet_file needs data_dir, where it is kept what was sent")]
    Nowhere,
    #[error("payments.wallet_file cannot be used")]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Settler(#[from] SettlerError),
}

/// A settler that is ready to run.
pub(super) struct Settling {
    drive: Drive<FileKeep>,
    orders: Orders,
    news: mpsc::Receiver<News>,
}

impl Settling {
    /// `None` where no wallet is named.
    pub(super) async fn open(
        settings: &config::Payments,
        folder: Option<&Path>,
        sources: &Sources,
    ) -> Result<Option<Self>, SettlingError> {
        if let Some(path) = &settings.watch {
            private_folder(path).map_err(|source| SettlingError::Folder {
                path: path.clone(),
                source,
            })?;
        }
        let Some(path) = &settings.wallet_file else {
            return Ok(None);
        };
        let journal = folder.ok_or(SettlingError::Nowhere)?.join(JOURNAL);
        let file = WalletFile::read(path.clone())?;
        let secret = file.open(&passphrase::Source {
            file: settings.passphrase_file.as_deref(),
            environment: &Process,
        })?;
        let wallet = file.wallet(settings.network.0);
        tracing::info!(wallet = %wallet.account(), "settlements are paid for by a wallet");
        let (settler, keep) = cashing::settler(&journal, wallet, secret.seed()).await?;
        let (drive, orders, news) = drive::prepare(settler, sources.clone(), keep);
        Ok(Some(Self { drive, orders, news }))
    }

    /// Where orders go, and what must run for it.
    pub(super) fn start(self) -> (Orders, impl Future<Output = ()>) {
        let Self { drive, orders, news } = self;
        let work = async move {
            let settle = async {
                if let Err(error) = drive.run().await {
                    tracing::error!(cause = %Chain(&error), "nothing is settled by itself any more; what is signed is told all the same");
                }
            };
            tokio::join!(settle, hear(news));
        };
        (orders, work)
    }
}

/// What comes of payments.
async fn hear(mut news: mpsc::Receiver<News>) {
    while let Some(news) = news.recv().await {
        match news {
            News::Accepted(_) => {}
            News::Done(key, _) => {
                tracing::info!(channel = %key.channel, "settled: the contract shows the payment");
            }
            News::Declined(key, why) => {
                tracing::warn!(channel = %key.channel, cause = %why, "a settlement is not sent");
            }
            News::GaveUp(key, why) => {
                tracing::warn!(channel = %key.channel, cause = %why, "a settlement is not sent");
            }
            News::Unsure(channel, cause) => tracing::warn!(%channel, cause, "a settlement waits for the chain"),
            News::Alert(settler::Alert::Recovered) => tracing::info!("the wallet is well again"),
            // It goes on by itself.
            News::Alert(settler::Alert::Expired) => {
                tracing::info!("a message of the wallet came to nothing; it is made anew");
            }
            News::Alert(alert) => {
                tracing::warn!(cause = %alert, "the wallet cannot settle what was signed");
            }
        }
    }
}

/// Why a settlement waits. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(super) enum BringError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the first source of the chain does not tell its prices")]
    NoPrices,
    #[error(transparent)]
    Prices(#[from] BadPrices),
}

/// Hands out what was signed, each once, and again where it brought nothing.
pub(super) struct Cashier {
    orders: Option<Orders>,
    folder: Option<PathBuf>,
    /// What was wanted last of each channel.
    wanted: HashMap<Account, (Take, Instant)>,
    /// What was written last.
    written: HashMap<Account, Take>,
}

/// How much is taken, and whether that is the last.
type Take = (Nano, bool);

impl Cashier {
    pub(super) fn new(orders: Option<Orders>, folder: Option<PathBuf>) -> Self {
        Self {
            orders,
            folder,
            wanted: HashMap::new(),
            written: HashMap::new(),
        }
    }

    /// Takes a settlement of a channel that stands so.
    pub(super) async fn bring(
        &mut self,
        sources: &Sources,
        settlement: &Settlement,
        on_chain: &OnChain,
    ) -> Result<(), BringError> {
        self.write(settlement).await;
        let Some(orders) = &self.orders else { return Ok(()) };
        let channel = settlement.channel().account;
        let take = (settlement.take().amount(), settlement.take().is_last());
        let left = unpaid(settlement, on_chain);
        let is_wanted = self
            .wanted
            .get(&channel)
            .is_some_and(|(wanted, at)| *wanted == take && at.elapsed() < AGAIN);
        if left.is_zero() && !take.1 || is_wanted {
            return Ok(());
        }
        let chain = &**sources.first();
        let prices = Prices::read(&parameter(chain, 21).await?, &parameter(chain, 25).await?)?;
        let operation = operation(settlement);
        // What is not worth its gas makes nobody ask for the prices again at once.
        self.wanted.insert(channel, (take, Instant::now()));
        if left <= prices.least(operation) {
            // More is signed, or the payer closes by itself.
            return Ok(());
        }
        tracing::info!(%channel, %left, "what was signed is being settled");
        // Where it has stopped, that was said.
        let _stopped = orders.want(job(settlement, operation, &prices)).await;
        Ok(())
    }

    pub(super) fn forget(&mut self, channel: &Account) {
        self.wanted.remove(channel);
        self.written.remove(channel);
    }

    async fn write(&mut self, settlement: &Settlement) {
        let Some(folder) = &self.folder else { return };
        let channel = settlement.channel().account;
        let take = (settlement.take().amount(), settlement.take().is_last());
        if self.written.get(&channel) == Some(&take) {
            return;
        }
        let path = folder.join(format!("{}.json", billing::receipt::to_hex(&channel.hash)));
        let text = serde_json::to_vec(&settlement.claim()).map_err(io::Error::other);
        let written = match text {
            Ok(text) => tokio::task::spawn_blocking(move || durable::replace(&path, &text)).await,
            Err(error) => Ok(Err(error)),
        };
        match written.map_err(io::Error::other).flatten() {
            Ok(()) => {
                self.written.insert(channel, take);
            }
            Err(error) => tracing::warn!(%channel, %error, "a settlement cannot be written for the watch"),
        }
    }
}

async fn parameter(chain: &dyn Source, index: u32) -> Result<Vec<u8>, BringError> {
    chain.config_parameter(index).await?.ok_or(BringError::NoPrices)
}
