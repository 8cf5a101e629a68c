//! A payer: its wallet on the simulated chain, its channel, and what it signs.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use billing::{
    Nano,
    channel::{
        Access, Account, Blob, Channel, ChannelId, ClaimedVoucher, Envelope, Keys, Network, Notice, Signer, Terms,
        Voucher,
        x402::{ChannelConfig, Kind, Offer, Payload, Payment, Version, encode},
    },
};
use billing_ton::{
    Chain as _, Seed, Wallet,
    chain::{Cursor, Status},
    contract::{self, Request, Settle, State},
    wallet::{Batch, Mode, Payment as Coins},
};
use billing_ton_sim::{DEVELOPMENT, Settings, Simulated, http};
use serde_json::Value;
use tokio::net::TcpListener;

/// Where the gateway's earnings go.
pub(crate) const PAYOUT: &str = "0:2222222222222222222222222222222222222222222222222222222222222222";

/// Waits for what the chain will show.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + e2e::wait::SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A header as JSON.
pub(crate) fn decoded(header: &str) -> Value {
    let json = STANDARD
        .decode(header)
        .unwrap_or_else(|error| panic!("{header:?}: {error}"));
    serde_json::from_slice(&json).expect("it is JSON")
}

#[expect(
    clippy::disallowed_methods,
    reason = "an access proof is of a moment, and the gateway has this clock too"
)]
fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("the test writes amounts")
}

/// Serves toncenter's API in a thread of its own: it answers while a test waits for a process, too.
pub(crate) fn front(chain: Simulated) -> SocketAddr {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            tell.send(address).expect("the test waits");
            http::serve(listener, chain, std::future::pending()).await
        })
    });
    told.recv().expect("it listens")
}

/// A chain of its own, with toncenter's API.
pub(crate) struct Chain {
    pub(crate) url: String,
    chain: Simulated,
}

impl Chain {
    pub(crate) async fn start() -> Self {
        Self::of(Settings::for_development()).await
    }

    pub(crate) async fn of(settings: Settings) -> Self {
        let chain = Simulated::in_memory(settings).expect("a chain can be made");
        let url = format!("http://{}", front(chain.clone()));
        Self { url, chain }
    }

    /// Where its API listens.
    pub(crate) fn there(&self) -> &str {
        self.url.strip_prefix("http://").expect("a URL")
    }

    /// No more blocks.
    pub(crate) fn halt(&self) {
        self.chain.halt();
    }

    /// And blocks again.
    pub(crate) fn resume(&self) {
        self.chain.resume().expect("it is in memory");
    }

    /// All that is not final never happened. How many blocks it were.
    pub(crate) fn take_back(&self) -> u32 {
        self.chain.take_back(u32::MAX).expect("it is in memory")
    }

    /// Makes blocks until it has as many as the other.
    pub(crate) fn is_not_behind(&self, other: &Self) {
        let most = other.chain.tick().expect("it is not halted").head.seqno;
        while self.chain.tick().expect("it is not halted").head.seqno <= most {}
    }

    /// Gives an account coins out of nothing, and waits until it has them.
    pub(crate) async fn fund(&self, account: Account, amount: u64) {
        let before = self.balance(account).await;
        self.chain.fund(account, nano(amount)).expect("it is not halted");
        until("the account has coins", async || self.balance(account).await > before).await;
    }

    /// Where an account's history is.
    async fn newest(&self, account: Account) -> Option<Cursor> {
        self.chain.account(account).await.expect("it answers").last
    }

    pub(crate) async fn balance(&self, account: Account) -> u128 {
        self.chain.account(account).await.expect("it answers").balance
    }

    /// What the channel's contract says was paid in.
    pub(crate) async fn deposited(&self, payer: &Payer) -> Option<u64> {
        let state = self.chain.account(payer.id.account).await.expect("it answers");
        match &state.status {
            Status::Active { data, .. } => Some(State::decode_boc(data).expect("its state").on_chain.deposited.get()),
            _ => None,
        }
    }

    /// What the channel's contract says it paid out; `None` where there is none.
    pub(crate) async fn claimed(&self, payer: &Payer) -> Option<u64> {
        let state = self.chain.account(payer.id.account).await.expect("it answers");
        match &state.status {
            Status::Active { data, .. } => Some(State::decode_boc(data).expect("its state").on_chain.claimed.get()),
            _ => None,
        }
    }

    async fn send(&self, seed: u8, coins: Coins) {
        let seed = Seed::from_bytes([seed; 32]);
        let wallet = Wallet::new(DEVELOPMENT, seed.public_key());
        let state = self.chain.account(wallet.account()).await.expect("it answers");
        let seqno = wallet.standing(&state).expect("it is our wallet").seqno;
        let until = u32::try_from(now_s()).expect("before 2106") + 60;
        let batch = Batch::new(vec![coins]).expect("one payment");
        let signed = wallet.sign(&seed, seqno, until, &batch).expect("it is its key");
        self.chain.send(&signed.message).await.expect("it is taken");
    }

    /// Lets the payer send a request to its channel, with so much beside what it costs.
    pub(crate) async fn request(&self, payer: &Payer, request: &Request, amount: u64) {
        let coins = Coins {
            to: payer.id.account,
            amount: nano(amount + 200_000_000),
            bounce: true,
            mode: Mode::FeesApart,
            body: Some(request.encode()),
            init: None,
        };
        self.send(payer.seed, coins).await;
    }

    /// Hands a settlement to the contract; says what the contract then says it paid out, or `None` where it is no more.
    pub(crate) async fn settle(&self, payer: &Payer, blob: &Value) -> Option<u64> {
        let before = self.claimed(payer).await;
        let blob: Blob = serde_json::from_value(blob.clone()).expect("a settlement");
        let voucher = blob.voucher.expect("something was taken");
        let settle = Request::Settle(Settle {
            query_id: 2,
            close: blob.take.is_last,
            take: blob.take.amount,
            max: voucher.max,
            payee_signature: blob.take.signature,
            voucher_signature: Some(voucher.signature),
        });
        self.send(
            payer.seed,
            Coins {
                to: payer.id.account,
                amount: nano(100_000_000),
                bounce: true,
                mode: Mode::FeesApart,
                body: Some(settle.encode()),
                init: None,
            },
        )
        .await;
        until("it was settled", async || self.claimed(payer).await != before).await;
        self.claimed(payer).await
    }
}

pub(crate) struct Payer {
    pub(crate) id: ChannelId,
    seed: u8,
    signer: Signer,
    terms: Terms,
    keys: Keys,
    offer: Offer,
}

impl Payer {
    /// With a channel on these terms that nobody opened.
    pub(crate) fn new(offer: &Value, seed: u8) -> Self {
        let offer: Offer = serde_json::from_value(offer.clone()).expect("an offer");
        let signer = Signer::from_seed(&[seed; 32]).expect("a seed");
        let wallet = Wallet::new(DEVELOPMENT, Seed::from_bytes([seed; 32]).public_key());
        let terms = Terms {
            network: DEVELOPMENT,
            close_delay_s: offer.extra.withdraw_delay,
            fee_bps: offer.extra.fee_bps,
            salt: u128::from(seed) << 100,
            payer: wallet.account(),
            payee: offer.pay_to,
            fee_dest: offer.extra.fee_dest,
        };
        let keys = Keys {
            payer: signer.public(),
            payee: offer.extra.receiver_authorizer,
        };
        let network: Network = DEVELOPMENT;
        Self {
            id: ChannelId {
                network,
                account: contract::account(&terms, &keys),
            },
            seed,
            signer,
            terms,
            keys,
            offer,
        }
    }

    /// With a channel that is on the chain.
    pub(crate) async fn open(chain: &Chain, offer: &Value, seed: u8, deposit: u64) -> Self {
        let payer = Self::new(offer, seed);
        chain.fund(payer.terms.payer, 10 * Nano::UNIT).await;
        let told = chain.newest(payer.terms.payee).await;
        let body = Request::TopUp {
            query_id: 1,
            amount: nano(deposit),
        };
        chain
            .send(
                seed,
                Coins {
                    to: payer.id.account,
                    amount: nano(deposit + 200_000_000),
                    bounce: true,
                    mode: Mode::FeesApart,
                    body: Some(body.encode()),
                    init: Some(contract::state_init(&payer.terms, &payer.keys)),
                },
            )
            .await;
        until("the channel is on the chain", async || {
            let state = chain.chain.account(payer.id.account).await.expect("it answers");
            match &state.status {
                Status::Active { data, .. } => {
                    State::decode_boc(data).is_ok_and(|state| state.on_chain.deposited == nano(deposit))
                }
                _ => false,
            }
        })
        .await;
        // Before that nobody can tell whether it is the first of its address.
        until("the payee was told", async || {
            chain.newest(payer.terms.payee).await != told
        })
        .await;
        payer
    }

    fn payment(&self, max: Option<u64>, is_shown: bool) -> Payment {
        let (signer, keys, id) = (&self.signer, &self.keys, &self.id);
        let voucher = max.map(|max| {
            Voucher::sign(signer, keys, id, nano(max))
                .expect("it is the payer's key")
                .claim()
        });
        let access = is_shown.then(|| Access::sign(signer, keys, id, now_s()).expect("it is the payer's key"));
        Payment {
            x402_version: Version,
            accepted: self.offer.clone(),
            payload: Payload {
                kind: Kind,
                channel_config: ChannelConfig::new(&self.terms, keys),
                voucher,
                access,
            },
        }
    }

    /// Up to so much may be taken.
    pub(crate) fn voucher(&self, max: u64) -> ClaimedVoucher {
        let voucher = Voucher::sign(&self.signer, &self.keys, &self.id, nano(max));
        voucher.expect("it is the payer's key").claim()
    }

    /// The same as one signs it who is on another network.
    pub(crate) fn voucher_on(&self, network: Network, max: u64) -> ClaimedVoucher {
        let id = ChannelId { network, ..self.id };
        let voucher = Voucher::sign(&self.signer, &self.keys, &id, nano(max));
        voucher.expect("it is the payer's key").claim()
    }

    /// Asks the contract to close, and waits until it has heard of it.
    pub(crate) async fn asks_to_close(&self, chain: &Chain) {
        let body = Request::RequestClose { query_id: 3 }.encode();
        chain
            .send(
                self.seed,
                Coins {
                    to: self.id.account,
                    amount: nano(100_000_000),
                    bounce: true,
                    mode: Mode::FeesApart,
                    body: Some(body),
                    init: None,
                },
            )
            .await;
        until("it is closing", async || {
            let state = chain.chain.account(self.id.account).await.expect("it answers");
            match &state.status {
                Status::Active { data, .. } => {
                    State::decode_boc(data).is_ok_and(|state| state.on_chain.close_at.is_some())
                }
                _ => false,
            }
        })
        .await;
    }

    /// What it says of itself at first.
    pub(crate) fn offers(&self) -> Notice {
        let (id, keys, terms) = (self.id, self.keys, self.terms);
        Notice::offer(&Channel { id, keys, terms })
    }

    /// A notice as it crosses the wire.
    pub(crate) fn says(&self, notice: Notice) -> String {
        serde_json::to_string(&Envelope::new(&self.id, notice)).expect("plain")
    }

    /// The header of a request: with a voucher up to `max`, and with an access proof.
    pub(crate) fn pays(&self, max: Option<u64>, is_shown: bool) -> String {
        encode(&self.payment(max, is_shown))
    }

    /// A header with a voucher and an access proof, in which something is changed.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut json = serde_json::to_value(self.payment(Some(500_000), true)).expect("plain");
        change(&mut json);
        encode(&json)
    }
}
