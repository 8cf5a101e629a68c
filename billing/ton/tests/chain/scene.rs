//! A chain whose clock is the test's, with wallets that have coins.

use std::{io, sync::Arc, time::Duration};

use billing::{
    Nano,
    channel::{Account, ChannelId, Keys, Network, OnChain, Tag, Terms, signed_bytes},
};
use billing_ton::{
    Chain, Seed, Wallet,
    chain::Status,
    contract::{self, Prices, Settle, State},
    settler::{
        Journal, Settings, Settler,
        drive::{self, Drive, Keep, News, Orders},
    },
    sources::Sources,
};
use billing_ton_sim::{Settings as ChainSettings, Simulated};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

pub(crate) const UNIT: u64 = Nano::UNIT;

pub(crate) fn nano(nano: u64) -> Nano {
    Nano::saturating(nano)
}

/// A chain, and a task that makes a block each second of the test's time.
pub(crate) struct Scene {
    pub(crate) chain: Simulated,
    blocks: tokio::task::JoinHandle<()>,
}

/// Somebody with a wallet.
pub(crate) struct Party {
    pub(crate) seed: Seed,
    pub(crate) wallet: Wallet,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        let chain = Simulated::in_memory(ChainSettings::for_tests(seed)).expect("in memory");
        let ticking = chain.clone();
        let blocks = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                ticking.advance(1).expect("it runs");
                ticking.tick().expect("it runs");
            }
        });
        Self { chain, blocks }
    }

    pub(crate) fn network(&self) -> Network {
        self.chain.network()
    }

    /// A wallet that was sent coins, and does not exist yet.
    pub(crate) fn party(&self, byte: u8, coins: u64) -> Party {
        let seed = Seed::from_bytes([byte; 32]);
        let wallet = Wallet::new(self.network(), seed.public_key());
        if coins > 0 {
            self.chain.fund(wallet.account(), nano(coins)).expect("it runs");
        }
        Party { seed, wallet }
    }

    pub(crate) async fn prices(&self) -> Prices {
        prices_of(&self.chain).await
    }

    pub(crate) async fn balance(&self, account: Account) -> u64 {
        let state = self.chain.account(account).await.expect("an answer");
        u64::try_from(state.balance).expect("little")
    }

    /// What a channel says of itself; `None` where there is none.
    pub(crate) async fn channel(&self, account: Account) -> Option<OnChain> {
        match self.chain.account(account).await.expect("an answer").status {
            Status::Active { data, .. } => Some(State::decode_boc(&data).expect("a channel").on_chain),
            _ => None,
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.blocks.abort();
    }
}

impl Party {
    pub(crate) fn account(&self) -> Account {
        self.wallet.account()
    }

    /// A settler of this wallet that goes on where `keep` ended.
    pub(crate) fn settler(
        &self,
        chain: impl Into<Sources>,
        keep: Memory,
    ) -> (Drive<Memory>, Orders, mpsc::Receiver<News>) {
        let settler = match keep.text() {
            None => Settler::new(self.wallet.clone(), self.seed.clone(), Settings::USUAL).expect("its own key"),
            Some(text) => {
                let journal = Journal::from_json(&text).expect("what was written");
                Settler::restore(self.wallet.clone(), self.seed.clone(), Settings::USUAL, &journal).expect("its own")
            }
        };
        drive::prepare(settler, chain, keep)
    }
}

/// A disk. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Option<String>>>);

impl Memory {
    pub(crate) fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Keep for Memory {
    fn keep<'a>(&'a mut self, journal: &'a Journal) -> BoxFuture<'a, io::Result<()>> {
        async {
            // A disk takes its time, in which a crash may come.
            tokio::time::sleep(Duration::from_millis(20)).await;
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal.to_json());
            Ok(())
        }
        .boxed()
    }
}

/// A channel between two parties; both sign with the keys of their wallets.
pub(crate) struct Channel {
    pub(crate) terms: Terms,
    pub(crate) keys: Keys,
    pub(crate) id: ChannelId,
}

pub(crate) const CLOSE_DELAY_S: u32 = 3600;

impl Channel {
    pub(crate) fn between(payer: &Party, payee: &Party, salt: u128) -> Self {
        let network = payer.wallet.network();
        let terms = Terms {
            network,
            close_delay_s: CLOSE_DELAY_S,
            fee_bps: 0,
            salt,
            payer: payer.account(),
            payee: payee.account(),
            fee_dest: payee.account(),
        };
        let keys = Keys {
            payer: payer.seed.public_key(),
            payee: payee.seed.public_key(),
        };
        let account = contract::account(&terms, &keys);
        Self {
            terms,
            keys,
            id: ChannelId { network, account },
        }
    }

    pub(crate) fn settle(&self, payer: &Party, payee: &Party, take: u64, close: bool) -> Settle {
        let signed = |party: &Party, tag| party.seed.sign(&signed_bytes(tag, &self.id, nano(take)));
        Settle {
            query_id: 0,
            close,
            take: nano(take),
            max: nano(take),
            payee_signature: signed(payee, if close { Tag::Close } else { Tag::Take }),
            voucher_signature: Some(signed(payer, Tag::Voucher)),
        }
    }
}

/// Reads news until one is wanted; the others are kept for the error.
pub(crate) async fn until(news: &mut mpsc::Receiver<News>, is_wanted: impl Fn(&News) -> bool) -> News {
    let mut seen = Vec::new();
    let hour = tokio::time::sleep(Duration::from_secs(4 * 3600));
    tokio::pin!(hour);
    loop {
        tokio::select! {
            news = news.recv() => match news {
                Some(news) if is_wanted(&news) => return news,
                Some(news) => seen.push(news),
                None => panic!("it stopped; there was {seen:?}"),
            },
            () = &mut hour => panic!("nothing came in hours; there was {seen:?}"),
        }
    }
}

/// What a chain asks for gas and forwarding now.
pub(crate) async fn prices_of(chain: &dyn Chain) -> Prices {
    let parameter = async |index| {
        let answer = chain.config_parameter(index).await.expect("an answer");
        answer.expect("each chain has it")
    };
    Prices::read(&parameter(21).await, &parameter(25).await).expect("prices")
}
