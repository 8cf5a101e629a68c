//! The demo's coins: a simulated chain in its folder, and the accounts of those who pay and are paid on it.
//!
//! The chain runs the real contracts; its coins are made here, and worth nothing. The client and the gateway each begin
//! with some. What the gateway and the worker earn goes to accounts that nobody pays gas from, so that what lies there is
//! what they got.

use std::{
    collections::BTreeSet,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use attestation::Hex;
use backends::serve::BoxError;
use billing::{
    Nano,
    channel::{Account, Network, Settlement},
};
use billing_ton::{
    Chain as _, Seed, Wallet,
    chain::Status,
    contract::{Operation, RENT_RESERVE, Remittance, Request, state_init},
    keyfile::{self, Hardness, Purpose, Secret},
    transaction::{Happened, Inbound},
    wallet::{Mode, Payment},
};
use billing_ton_sim::{DEVELOPMENT, Simulated};
use tokio::net::TcpListener;
use tycho_types::{boc::Boc, models};

use crate::{
    cashing,
    chain_source::{ChainFrom, ChainSource, simulated},
    commands::wallet::shown,
    key_file, on_chain,
    payer::{shelf::Kept, till::Till},
    tls,
};

pub(super) const NETWORK: Network = DEVELOPMENT;
/// What the client and the gateway begin with.
pub(super) const BEGIN: Nano = Nano::saturating(5 * Nano::UNIT);
/// How long a channel's payee has to settle, in seconds: the least that gateways take.
pub(super) const DELAY_S: u32 = 3600;

/// The chain, and who has an account on it.
pub(super) struct Coins {
    chain: Simulated,
    folder: PathBuf,
    url: String,
    pub(super) client: Person,
    /// It pays the worker, and the gas for it.
    pub(super) gateway: Person,
    /// Where the gateway is paid.
    pub(super) earnings: Account,
    /// Where the worker is.
    pub(super) payout: Account,
}

/// Somebody with a wallet.
pub(super) struct Person {
    seed: Seed,
    pub(super) wallet: Wallet,
}

impl Person {
    fn new() -> Result<Self, BoxError> {
        let seed = Seed::generate()?;
        let wallet = Wallet::new(NETWORK, seed.public_key());
        Ok(Self { seed, wallet })
    }
}

impl Coins {
    /// Begins the chain, makes the wallets, and answers as toncenter does for as long as the process lives.
    pub(super) async fn begin(folder: &Path) -> Result<Self, BoxError> {
        let folder = folder.join("coins");
        DirBuilder::new().mode(0o700).create(&folder)?;
        let chain = simulated(&folder.join("chain"), NETWORK)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/api/v2", listener.local_addr()?);
        tokio::spawn(billing_ton_sim::http::serve(
            listener,
            chain.clone(),
            std::future::pending(),
        ));
        let coins = Self {
            chain,
            url,
            client: Person::new()?,
            gateway: Person::new()?,
            earnings: Person::new()?.wallet.account(),
            payout: Person::new()?.wallet.account(),
            folder,
        };
        for person in [&coins.client, &coins.gateway] {
            coins.chain.fund(person.wallet.account(), BEGIN)?;
        }
        let words: [u8; 16] = tls::random().ok_or("this system has no randomness")?;
        let words = Hex(words).to_string();
        key_file::keep(&coins.passphrase(), &words)?;
        // It lives as long as the demo: what makes guessing slow would only make the start slow.
        let secret = Secret::Seed(coins.gateway.seed.clone());
        keyfile::create(
            &coins.wallet_file(),
            Purpose::Wallet,
            &secret,
            words.as_bytes(),
            Hardness::LEAST,
        )?;
        Ok(coins)
    }

    /// Of both the gateway's wallet and the client's channel.
    pub(super) fn passphrase(&self) -> PathBuf {
        self.folder.join("passphrase")
    }

    fn wallet_file(&self) -> PathBuf {
        self.folder.join("gateway.json")
    }

    /// Where the client keeps its channel.
    pub(super) fn channels(&self) -> PathBuf {
        self.folder.join("channels")
    }

    /// What the worker earns is written there.
    pub(super) fn earned(&self) -> PathBuf {
        self.folder.join("earned")
    }

    /// The gateway's part of the configuration. Where it has a worker, it pays that too.
    pub(super) fn yaml(&self, has_worker: bool) -> Result<String, BoxError> {
        let chain = serde_json::to_string(&self.url)?;
        let mut text = format!(
            "payments: {{network: {}, chain: [{chain}], payout: \"{}\", follow: 1s, min_close_delay: {DELAY_S}s}}\n",
            NETWORK.0, self.earnings,
        );
        if has_worker {
            text.push_str(&format!(
                "workers: {{pay: {{network: {}, chain: [{chain}], follow: 300ms, wallet_file: {}, passphrase_file: {}, deposit: 1, top_up_below: 0.3, exposure_cap: 0.2, window: 0.1, open_above: 0.000000001, matures_after: 100ms, settle_least: 0.02}}}}\n",
                NETWORK.0,
                serde_json::to_string(&self.wallet_file())?,
                serde_json::to_string(&self.passphrase())?,
            ));
        }
        Ok(text)
    }

    pub(super) fn source(&self) -> Result<ChainSource, BoxError> {
        let from = [ChainFrom::Toncenter(self.url.clone())];
        Ok(ChainSource::with_key(&from, None, NETWORK)?)
    }

    fn till<'a>(&self, source: &'a ChainSource, person: &Person) -> Till<'a> {
        Till {
            source,
            wallet: person.wallet.clone(),
            seed: person.seed.clone(),
            shown: shown(person.wallet.account(), NETWORK),
        }
    }

    /// The client's first payment into a channel: it brings the contract along, and what that keeps for rent.
    pub(super) async fn pay_in(&self, kept: &Kept, amount: Nano) -> Result<(), BoxError> {
        let source = self.source()?;
        let bring = source.prices().await?.bring(Operation::TopUp);
        let payment = Payment {
            to: kept.id.account,
            amount: amount.saturating_add(RENT_RESERVE).saturating_add(bring),
            bounce: true,
            mode: Mode::FeesApart,
            body: Some(Request::TopUp { query_id: 0, amount }.encode()),
            init: Some(state_init(&kept.terms, &kept.keys)),
        };
        let id = kept.id;
        let till = self.till(&source, &self.client);
        till.pay(payment, move |state| {
            on_chain::read(state, &id).is_ok_and(|state| state.is_some_and(|state| state.on_chain.deposited >= amount))
        })
        .await?;
        Ok(())
    }

    /// Shows a last settlement to its contract, which pays the payee and gives `person` the rest.
    pub(super) async fn close(&self, person: &Person, settlement: &Settlement) -> Result<(), BoxError> {
        let source = self.source()?;
        let job = cashing::job(settlement, cashing::operation(settlement), &source.prices().await?);
        let payment = Payment {
            to: job.channel,
            amount: job.amount,
            bounce: true,
            mode: Mode::FeesApart,
            body: Some(job.body),
            init: None,
        };
        let till = self.till(&source, person);
        till.pay(payment, |state| {
            matches!(state.status, Status::Nonexistent | Status::Uninitialised)
        })
        .await?;
        Ok(())
    }

    /// What channels paid to an account, as far as `is_meant`.
    pub(super) async fn received(
        &self,
        account: Account,
        is_meant: impl Fn(&Remittance) -> bool,
    ) -> Result<Nano, BoxError> {
        let mut sum = Nano::ZERO;
        for told in self.chain.transactions(account, None, usize::MAX).await? {
            if let Some(Inbound::Internal { amount, body, .. }) = Happened::read(&account, &told)?.inbound
                && Remittance::decode(&body).is_ok_and(|remittance| is_meant(&remittance))
            {
                sum = sum.saturating_add(amount);
            }
        }
        Ok(sum)
    }

    /// What lies at an account.
    pub(super) async fn balance(&self, account: Account) -> Result<Nano, BoxError> {
        let balance = self.chain.account(account).await?.balance;
        let balance = u64::try_from(balance).ok().and_then(Nano::new);
        Ok(balance.ok_or("a balance is more than all coins")?)
    }

    /// All that ever took part: whom the wallets paid, besides those that are known.
    pub(super) async fn accounts(&self) -> Result<BTreeSet<Account>, BoxError> {
        let mut all = BTreeSet::from([self.earnings, self.payout]);
        for person in [&self.client, &self.gateway] {
            let account = person.wallet.account();
            all.insert(account);
            for told in self.chain.transactions(account, None, usize::MAX).await? {
                let happened = Happened::read(&account, &told)?;
                all.extend(happened.outbound.iter().map(|sent| sent.to));
            }
        }
        Ok(all)
    }

    /// What the chain took for gas and forwarding, by each of the account's own transactions.
    pub(super) async fn burnt(&self, account: Account) -> Result<Nano, BoxError> {
        let mut sum = 0_u128;
        for told in self.chain.transactions(account, None, usize::MAX).await? {
            let transaction: models::Transaction = Boc::decode(&told.cell)?.parse()?;
            sum += transaction.total_fees.tokens.into_inner();
            // What carried a message here was paid where it came from, and is the chain's once it has arrived.
            if let Some(message) = transaction.load_in_msg()?
                && let models::MsgInfo::Int(info) = message.info
            {
                sum += info.fwd_fee.into_inner();
            }
        }
        let sum = u64::try_from(sum).ok().and_then(Nano::new);
        Ok(sum.ok_or("the fees are more than all coins")?)
    }
}
