//! The demo's client: a channel to the gateway, and `mulberry connect` in front of it that pays every request from there.

use std::{path::Path, sync::Arc, time::Duration};

use attestation_ratls::Endpoint;
use backends::serve::BoxError;
use billing::{
    Nano,
    channel::{Settlement, Signer, Terms, x402::Offer},
};
use billing_store::{By, Location, Store};
use billing_ton::Seed;
use tokio::net::TcpListener;

use super::coins::{Coins, NETWORK};
use crate::{
    config::Process,
    connect::{self, AppKeys, Cashier, Gateway, Guard, Link, Payment, Settings, acceptance::Acceptance},
    identity,
    passphrase::Source,
    payer::{
        parting,
        shelf::{Kept, Lock, Shelf, Slate, Stage},
        teller::{Limits, Teller},
        terms,
    },
    payments::key,
    tls,
    trust::TrustSettings,
    wall_clock::unix_ms,
};

/// What is paid in: one coin.
pub(super) const DEPOSIT: Nano = Nano::saturating(Nano::UNIT);
/// As `mulberry connect --pay` has them.
const LIMITS: Limits = Limits {
    exposure: Nano::saturating(Nano::UNIT / 2),
    window: Nano::saturating(Nano::UNIT / 10),
    day: DEPOSIT,
};
/// As long as the demo's gateway waits for its clients.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who pays: a client with a channel.
pub(super) struct Patron {
    pub(super) kept: Kept,
    signer: Arc<Signer>,
}

/// The sidecar, before it serves.
pub(super) struct Sidecar {
    link: Arc<Link>,
    acceptance: Acceptance,
    payment: Payment,
}

impl Patron {
    /// Opens a channel on the gateway's terms, and pays in.
    pub(super) async fn open(coins: &Coins, offer: Offer, url: String) -> Result<Self, BoxError> {
        let wanted = terms::choose(&[offer], NETWORK)?;
        let terms = Terms {
            network: NETWORK,
            close_delay_s: wanted.close_delay_s,
            fee_bps: wanted.fee_bps,
            salt: u128::from_be_bytes(tls::random().ok_or("this system has no randomness")?),
            payer: coins.client.wallet.account(),
            payee: wanted.payee,
            fee_dest: wanted.fee_dest,
        };
        let passphrase = {
            let file = coins.passphrase();
            let source = Source {
                file: Some(&file),
                environment: &Process,
            };
            source.existing("the demo's channel")?
        };
        let seed = Seed::generate()?;
        let shelf = Shelf::new(Some(coins.channels()), None)?;
        let name = Some("demo".to_owned());
        let kept = shelf.keep(name, &terms, &seed, wanted.payee_key, Some(url), &passphrase)?;
        coins.pay_in(&kept, DEPOSIT).await?;
        Ok(Self {
            kept,
            signer: Arc::new(Signer::from_seed(seed.reveal())?),
        })
    }

    /// What pays for requests to this gateway, believed by `trust` or by its key.
    pub(super) fn sidecar(&self, coins: &Coins, trust: &TrustSettings, gateway: Gateway) -> Result<Sidecar, BoxError> {
        let acceptance = Acceptance::new(trust, &gateway)?;
        let endpoint = Endpoint {
            trust: acceptance.trust().clone(),
            identities: None,
            alpn: Vec::new(),
            clock: identity::clock(),
        };
        let lock = self.kept.lock()?;
        let teller = Teller::open(self.kept.clone(), lock, self.signer.clone(), LIMITS, unix_ms())?;
        let (cashier, desk) = Cashier::open(self.kept.clone(), teller).ok_or("no payer can be begun")?;
        Ok(Sidecar {
            link: Link::new(gateway, endpoint),
            acceptance,
            payment: Payment {
                cashier,
                desk,
                source: coins.source()?,
                keys: AppKeys::Stay,
            },
        })
    }

    /// Closes together with the gateway: what it takes is paid, and the rest comes back at once.
    pub(super) async fn close(&self, coins: &Coins) -> Result<Settlement, BoxError> {
        let (_lock, mut slate) = self.leave()?;
        let url = self.kept.payee_url.as_deref().ok_or("the gateway has no address")?;
        let settlement = parting::part(&self.kept, &self.signer, url, &mut slate).await?;
        coins.close(&coins.client, &settlement).await?;
        Ok(settlement)
    }

    /// The same for a gateway that has ended already, from its ledger and with its key, as only its operator can.
    pub(super) async fn close_for(&self, coins: &Coins, ledger: &Location, key: &Path) -> Result<Settlement, BoxError> {
        let (_lock, mut slate) = self.leave()?;
        let by = By {
            actor: "demo",
            at_ms: unix_ms(),
        };
        let store = Store::open(ledger).await?;
        let signer = key::read_or_make(key)?;
        let take = store.channels().close(&self.kept.id, &signer, by).await?;
        store.close().await;
        slate.take = Some(take);
        self.kept.write_slate(&slate)?;
        let settlement = slate.settlement(&self.kept).ok_or("there is no take")??;
        coins.close(&coins.client, &settlement).await?;
        Ok(settlement)
    }

    /// Nothing more is signed from here on.
    fn leave(&self) -> Result<(Lock, Slate), BoxError> {
        let lock = self.kept.lock()?;
        let mut slate = self.kept.slate()?;
        slate.reach(Stage::Leaving);
        self.kept.write_slate(&slate)?;
        Ok((lock, slate))
    }
}

impl Sidecar {
    /// To see how its channel stands.
    pub(super) fn cashier(&self) -> Cashier {
        self.payment.cashier.clone()
    }

    /// Serves apps until `stop`, then ends what is open, and has written down what was paid.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) {
        let keeping = tokio::spawn(self.acceptance.keep());
        let settings = Settings {
            listener,
            patience: PATIENCE,
        };
        let guard = Guard { danger_open: false };
        connect::run(settings, self.link, guard, Some(self.payment), stop, hurry).await;
        keeping.abort();
    }
}
