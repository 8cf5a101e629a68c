//! Chains that are not what they were: blocks that are taken back, sources on a fork, addresses that are used again.
//!
//! Names of chains are served by the test, and must answer while a gateway is waited for: hence the second thread.

use std::fs;

use billing::Nano;
use billing_ton::contract::Request;
use billing_ton_sim::Settings;
use reqwest::Method;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::payer::{Chain, Payer, decoded, until};
use super::settles::{self, UNIT};
use super::{BODY, Shop, nano};

/// A name of the chain's API behind which another server may be a moment later.
struct Name {
    url: String,
    there: watch::Sender<String>,
}

impl Name {
    async fn of(chain: &Chain) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (there, told) = watch::channel(chain.there().to_owned());
        tokio::spawn(async move {
            while let Ok((mut asker, _)) = listener.accept().await {
                let mut told = told.clone();
                tokio::spawn(async move {
                    let there = told.borrow_and_update().clone();
                    let Ok(mut server) = TcpStream::connect(there).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut asker, &mut server) => {}
                        // Who asked is answered by nobody, and asks again.
                        _ = told.changed() => {}
                    }
                });
            }
        });
        Self { url, there }
    }

    /// From here on another chain answers, whose newest block is not older than what was told before.
    fn is_now(&self, chain: &Chain, after: &Chain) {
        chain.is_not_behind(after);
        self.there.send(chain.there().to_owned()).expect("somebody listens");
    }
}

async fn shown(shop: &Shop, payer: &Payer) -> Value {
    let path = format!("channels/{}", payer.id.account);
    shop.operator(Method::GET, &path).await.json()
}

/// An amount as the admin API shows it, in nanoton.
fn digits(amount: &Value) -> u64 {
    amount
        .as_str()
        .expect("an amount")
        .parse::<Nano>()
        .expect("an amount")
        .get()
}

/// Asks, and must be served; what was charged.
async fn served(shop: &Shop, payment: &str, body: &str) -> u64 {
    let answer = shop.ask(payment, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"])
}

/// Costs about 4,000,000.
fn long() -> String {
    BODY.replace("\"model\":\"mock\"", "\"model\":\"fault/tokens-2000\"")
        .replace("\"max_tokens\":20", "\"max_tokens\":2000")
}

/// Once the gateway has signed its last take, what the contract pays for it, to the nanoton.
async fn closes(shop: &Shop, payer: &Payer, charged: u64) -> Value {
    let path = format!("channels/{}/close", payer.id.account);
    let mut closed = Value::Null;
    until("nothing runs", async || {
        let answer = shop.operator(Method::POST, &path).await;
        closed = answer.json();
        answer.status == 200
    })
    .await;
    let taken = &closed["settlement"]["take"]["totalClaimed"];
    assert_eq!(nano(taken), charged, "every nanoton: {closed}");
    let verified = shop.operator(Method::POST, "ledger/verify").await;
    assert_eq!(verified.json()["ok"], true, "{}", verified.text());
    closed["settlement"].clone()
}

/// The same, and the contract pays it.
async fn ends_paid(shop: &Shop, chain: &Chain, payer: &Payer, charged: u64) {
    let settlement = closes(shop, payer, charged).await;
    assert_eq!(
        chain.settle(payer, &settlement).await,
        None,
        "it was paid, and is no more"
    );
}

/// A settlement that was in a block, and then in none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_fork_takes_back_is_settled_all_the_same_and_once() {
    let chain = Chain::of(Settings {
        finality_lag: 3,
        ..Settings::for_development()
    })
    .await;
    let (shop, wallet) = settles::shop(&chain, "0.01");
    chain.fund(wallet, 2 * UNIT).await;
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, UNIT).await;
    // Nothing that comes now stays, until the settlement was among it.
    let charged = served(&shop, &payer.pays(Some(UNIT), true), &settles::long()).await;
    let is_sent = || shop.gateway.log().contains("what was signed is being settled");
    until("it is being settled", async || is_sent()).await;
    let mut forks = 0;
    until("its block was taken back", async || {
        forks += u32::from(chain.take_back() > 0);
        forks >= 20
    })
    .await;
    assert_eq!(chain.claimed(&payer).await, Some(0), "{}", shop.gateway.log());
    // It is still owed, and shown to the contract again.
    until("the contract paid it", async || {
        chain.claimed(&payer).await == Some(charged)
    })
    .await;
    until("nothing is left to settle", async || {
        let shown = shown(&shop, &payer).await;
        digits(&shown["claimed"]) == charged && digits(&shown["taken"]) == charged
    })
    .await;
    let more = served(&shop, &payer.pays(None, true), &settles::long()).await;
    until("the next is paid too", async || {
        chain.claimed(&payer).await == Some(charged + more)
    })
    .await;
    assert_eq!(chain.deposited(&payer).await, Some(UNIT));
}

/// One source, first on one side of a fork, then on the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_that_a_fork_takes_back_is_named_and_nothing_is_lost_when_it_is_over() {
    let (true_one, fork) = (Chain::start().await, Chain::start().await);
    let name = Name::of(&true_one).await;
    let shop = Shop::open(&name.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&true_one, &offer, 1, 10_000_000).await;
    Payer::open(&fork, &offer, 1, 10_000_000).await;
    let mut charged = served(&shop, &payer.pays(Some(30_000_000), true), BODY).await;
    let more = Request::TopUp {
        query_id: 2,
        amount: Nano::saturating(20_000_000),
    };
    true_one.request(&payer, &more, 20_000_000).await;
    until("the gateway knows of the top-up", async || {
        digits(&shown(&shop, &payer).await["deposited"]) == 30_000_000
    })
    .await;
    while charged < 12_000_000 {
        charged += served(&shop, &payer.pays(None, true), &long()).await;
    }
    // The block of the top-up never was. More was served than this side can pay.
    name.is_now(&fork, &true_one);
    until("it is named", async || {
        shop.gateway.log().contains("the chain is said to be what it cannot be")
    })
    .await;
    // Up to what both sides of it showed, and no further.
    let mut answer = shop.ask(&payer.pays(None, true), &long()).await;
    while answer.status == 200 {
        charged += nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"]);
        answer = shop.ask(&payer.pays(Some(1_000_000_000), true), &long()).await;
    }
    assert!(
        answer.envelope().is(402, "insufficient_quota", "payment_required"),
        "{}",
        answer.text()
    );
    assert!((12_000_000..=30_000_000).contains(&charged), "{charged}");
    name.is_now(&true_one, &fork);
    ends_paid(&shop, &true_one, &payer, charged).await;
}

/// It costs its payer service, and the gateway a signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_a_source_makes_up_costs_nobody_what_was_earned() {
    let (true_one, liar) = (Chain::start().await, Chain::start().await);
    let name = Name::of(&true_one).await;
    let shop = Shop::open(&name.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&true_one, &offer, 1, UNIT).await;
    Payer::open(&liar, &offer, 1, UNIT).await.asks_to_close(&liar).await;
    let charged = served(&shop, &payer.pays(Some(100_000_000), true), &long()).await;
    name.is_now(&liar, &true_one);
    until(
        "the close is taken at its word, and what was earned is signed",
        async || {
            let shown = shown(&shop, &payer).await;
            shown["stage"] == "stopping" && digits(&shown["taken"]) == charged
        },
    )
    .await;
    name.is_now(&true_one, &liar);
    until("that it was not asked for is named", async || {
        shop.gateway.log().contains("the chain is said to be what it cannot be")
    })
    .await;
    let refused = shop.ask(&payer.pays(None, true), BODY).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "channel_refused"),
        "{}",
        refused.text()
    );
    ends_paid(&shop, &true_one, &payer, charged).await;
}

/// A source that does not know of a channel, as one that lags or has lost its disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_a_source_hides_is_not_served_and_not_given_up() {
    let (true_one, empty) = (Chain::start().await, Chain::start().await);
    let name = Name::of(&true_one).await;
    let shop = Shop::open(&name.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&true_one, &offer, 1, UNIT).await;
    let mut charged = served(&shop, &payer.pays(Some(100_000_000), true), BODY).await;
    name.is_now(&empty, &true_one);
    until("nothing is served for what may not be there", async || {
        let refused = shop.ask(&payer.pays(None, true), BODY).await;
        if refused.status == 200 {
            charged += nano(&decoded(refused.header("payment-response"))["extra"]["chargedAmount"]);
            return false;
        }
        refused.envelope().is(503, "server_error", "chain_unavailable")
    })
    .await;
    assert_eq!(shown(&shop, &payer).await["stage"], "open", "one read ends nothing");
    name.is_now(&true_one, &empty);
    until("it is served again", async || {
        let answer = shop.ask(&payer.pays(None, true), BODY).await;
        if answer.status == 200 {
            charged += nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"]);
        }
        answer.status == 200
    })
    .await;
    ends_paid(&shop, &true_one, &payer, charged).await;
}

/// What was signed for the first could be played again for the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_at_an_address_that_was_used_before_is_never_taken() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, UNIT).await;
    let charged = served(&shop, &payer.pays(Some(100_000_000), true), BODY).await;
    let settlement = closes(&shop, &payer, charged).await;
    assert_eq!(chain.settle(&payer, &settlement).await, None, "the contract is no more");
    // The same code, terms and keys, so the same address; and all that is in it is the payer's.
    let again = Payer::open(&chain, &offer, 1, UNIT).await;
    assert_eq!(again.id, payer.id);
    let refused = async |shop: &Shop, says: &str| {
        let mut answer = shop.ask(&again.pays(Some(200_000_000), true), BODY).await;
        until("it is refused for good", async || {
            answer = shop.ask(&again.pays(Some(200_000_000), true), BODY).await;
            assert_ne!(answer.status, 200, "{}", answer.text());
            answer.status == 402
        })
        .await;
        assert!(
            answer.envelope().is(402, "insufficient_quota", "channel_refused"),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains(says), "{}", answer.text());
    };
    refused(&shop, "Open another one").await;
    // A gateway that lost its records and has its key knows it by the chain.
    shop.gateway.kill();
    let restored = shop.world.dir().join("restored");
    fs::create_dir(&restored).expect("it is new");
    fs::copy(shop.world.dir().join("data/payee.key"), restored.join("payee.key")).expect("it was made at the start");
    shop.gateway = shop.world.gateway(&shop.yaml.replace("/data\n", "/restored\n"));
    refused(&shop, "before").await;
    // Another salt is another channel.
    let other = Payer::open(&chain, &offer, 2, UNIT).await;
    assert!(served(&shop, &other.pays(Some(100_000_000), true), BODY).await > 0);
}

/// Messages wait for blocks that do not come, and then do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_goes_on_again_is_taken_up_where_it_stood() {
    let chain = Chain::start().await;
    let (shop, wallet) = settles::shop(&chain, "0.01");
    chain.fund(wallet, 2 * UNIT).await;
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, UNIT).await;
    chain.halt();
    let charged = served(&shop, &payer.pays(Some(UNIT), true), &settles::long()).await;
    until("it is signed", async || {
        digits(&shown(&shop, &payer).await["taken"]) == charged
    })
    .await;
    assert_eq!(chain.claimed(&payer).await, Some(0));
    chain.resume();
    until("the contract paid it", async || {
        chain.claimed(&payer).await == Some(charged)
    })
    .await;
    let late = Payer::open(&chain, &offer, 2, UNIT).await;
    assert!(served(&shop, &late.pays(Some(100_000_000), true), BODY).await > 0);
}
