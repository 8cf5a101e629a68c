//! A client that pays by channel: the payer is written here, the chain is simulated, the gateway a real process.

mod clocks;
mod closing;
mod five;
mod forks;
pub(crate) mod payer;
mod reach;
mod receipts;
mod rogue;
mod settles;
mod sidecar;
mod speaks;
mod streams;
mod troubles;

use std::fs;

use billing::channel::Network;
use e2e::client::{client, get, request, send};
use e2e::{Answer, Gateway, Mock, World};
use serde_json::{Value, json};

pub(crate) use payer::decoded;
use payer::{Chain, Payer, until};

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"mock","messages":[{"role":"user","content":"hello"}],"max_tokens":20}"#;

/// A gateway that is paid, and a mock behind it.
struct Shop {
    gateway: Gateway,
    yaml: String,
    world: World,
    mock: Mock,
}

impl Shop {
    /// A request of [`BODY`] is held for about 0.0003 GRAM and costs less.
    fn open(chain: &str) -> Self {
        Self::in_world(World::new(), chain, "")
    }

    /// With more in the section `payments`.
    fn in_world(world: World, chain: &str, more: &str) -> Self {
        let mock = world.mock(&[]);
        let yaml = format!(
            "data_dir: {}\n\
             keys: [{{name: alice, secret: sk-alice}}]\n\
             backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
             models: [{{name: '*', routes: [{{backend: only}}], price: {{currency: TON, prompt: 1, completion: 2}}}}]\n\
             ledger: {{currency: TON, node: shop-1}}\n\
             payments:\n\
             \x20 network: -217\n\
             \x20 chain: ['{chain}/api/v2']\n\
             \x20 payout: '{}'\n\
             \x20 follow: 200ms\n\
             \x20 min_close_delay: 1h\n\
             {more}",
            world.dir().join("data").display(),
            mock.url(),
            payer::PAYOUT,
        );
        Self {
            gateway: world.gateway(&yaml),
            yaml,
            world,
            mock,
        }
    }

    async fn ask(&self, payment: &str, body: &str) -> Answer {
        let url = format!("{}{CHAT}", self.gateway.url());
        let request = request(&url, body.to_owned()).header("payment-signature", payment);
        Answer::of(send(request).await).await
    }

    /// What the gateway offers to who asks without credentials.
    async fn offer(&self) -> Value {
        let url = format!("{}{CHAT}", self.gateway.url());
        let refused = Answer::of(send(request(&url, BODY.to_owned())).await).await;
        assert!(
            refused.envelope().is(402, "insufficient_quota", "payment_required"),
            "{}",
            refused.text()
        );
        decoded(refused.header("payment-required"))
    }

    async fn operator(&self, method: reqwest::Method, path: &str) -> Answer {
        let token = fs::read_to_string(self.world.dir().join("data/admin.token")).expect("it was made at the start");
        let url = format!("{}/admin/v1/{path}", self.gateway.admin_url());
        Answer::of(send(client().request(method, url).bearer_auth(token.trim())).await).await
    }
}

fn nano(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no amount"))
}

#[tokio::test]
async fn a_channel_pays_from_the_first_request_to_its_last_take() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    assert_eq!(
        (&offer["network"], &offer["scheme"], &offer["payTo"]),
        (&"tvm:-217".into(), &"batch-settlement".into(), &payer::PAYOUT.into())
    );
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let first = shop.ask(&payer.pays(Some(400_000), true), BODY).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let said = decoded(first.header("payment-response"));
    let charged = nano(&said["extra"]["chargedAmount"]);
    assert!(charged > 0, "{said}");
    assert_eq!(said["extra"]["channelState"]["balance"], "1000000000", "{said}");
    assert_eq!(said["extra"]["voucherState"]["signedMaxClaimable"], "400000", "{said}");
    assert_eq!(nano(&said["extra"]["channelState"]["chargedCumulativeAmount"]), charged);

    // The access proof alone is enough while the voucher covers what is asked.
    let mut refused = shop.ask(&payer.pays(None, true), BODY).await;
    for _ in 0..1_000 {
        if refused.status != 200 {
            break;
        }
        refused = shop.ask(&payer.pays(None, true), BODY).await;
    }
    assert!(
        refused.envelope().is(402, "insufficient_quota", "payment_required"),
        "{}",
        refused.text()
    );
    let required = decoded(refused.header("payment-required"));
    let required = nano(&required["accepts"][0]["extra"]["requiredCumulative"]);
    assert!(required > 400_000);
    let raised = shop.ask(&payer.pays(Some(required), true), BODY).await;
    assert_eq!(raised.status, 200, "{}", raised.text());

    // Killed in the middle: what was charged and promised is there.
    shop.gateway.kill();
    shop.gateway = shop.world.gateway(&shop.yaml);
    let again = shop.ask(&payer.pays(Some(required + 400_000), true), BODY).await;
    assert_eq!(again.status, 200, "{}", again.text());

    let channel = format!("channels/{}", payer.id.account);
    // What is signed now the contract pays, to the nanoton, and the channel goes on.
    let signed = shop
        .operator(reqwest::Method::POST, &format!("{channel}/settle"))
        .await
        .json();
    assert_eq!(
        (&signed["stage"], &signed["spent"]),
        (&"open".into(), &signed["taken"]),
        "{signed}"
    );
    let taken = nano(&signed["settlement"]["take"]["totalClaimed"]);
    assert_eq!(chain.settle(&payer, &signed["settlement"]).await, Some(taken));
    let on = shop.ask(&payer.pays(None, true), BODY).await;
    assert_eq!(on.status, 200, "{}", on.text());
    let spent = nano(&decoded(on.header("payment-response"))["extra"]["channelState"]["chargedCumulativeAmount"]);

    let mut closed = Value::Null;
    until("nothing runs", async || {
        let answer = shop.operator(reqwest::Method::POST, &format!("{channel}/close")).await;
        closed = answer.json();
        answer.status == 200
    })
    .await;
    assert_eq!(closed["stage"], "closed", "{closed}");
    assert_eq!(closed["spent"], closed["taken"], "every nanoton: {closed}");
    assert_eq!(nano(&closed["settlement"]["take"]["totalClaimed"]), spent, "{closed}");
    assert_eq!(
        chain.settle(&payer, &closed["settlement"]).await,
        None,
        "the contract is no more"
    );
    let ended = shop.ask(&payer.pays(None, true), BODY).await;
    assert!(
        ended.envelope().is(402, "insufficient_quota", "channel_refused"),
        "{}",
        ended.text()
    );
    let verified = shop.operator(reqwest::Method::POST, "ledger/verify").await;
    assert_eq!(verified.json()["ok"], true, "{}", verified.text());
}

#[tokio::test]
async fn whoever_is_not_the_payer_is_named_and_refused() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let voucher = payer.pays(Some(400_000), false);
    let first = shop.ask(&voucher, BODY).await;
    assert_eq!(first.status, 200, "a new voucher lets its request in: {}", first.text());
    let check = async |payment: String, status: u16, kind: &str, code: &str, word: &str| {
        let refused = shop.ask(&payment, BODY).await;
        assert!(refused.envelope().is(status, kind, code), "{word}: {}", refused.text());
        assert!(refused.text().contains(word), "{word}: {}", refused.text());
    };
    let invalid = "invalid_request_error";
    // A stranger who saw the voucher on the chain.
    check(voucher, 401, invalid, "invalid_payment", "access proof").await;
    check(
        payer.with(|payment| payment["accepted"]["network"] = "tvm:-3".into()),
        400,
        invalid,
        "invalid_payment",
        "tvm:-3",
    )
    .await;
    check("bm8=".to_owned(), 400, invalid, "invalid_payment", "PAYMENT-SIGNATURE").await;
    let other = payer.with(|payment| payment["payload"]["channelConfig"]["salt"] = "00".repeat(16).into());
    check(other, 401, invalid, "invalid_payment", "is for the channel").await;
    let forged = payer.with(|payment| payment["payload"]["voucher"]["maxClaimableAmount"] = "900000".into());
    check(forged, 401, invalid, "invalid_payment", "did not sign this voucher").await;
    // Signed for the same address on another network.
    let abroad = payer.with(|payment| {
        let voucher = payer.voucher_on(Network::TESTNET, 900_000);
        payment["payload"]["voucher"] = serde_json::to_value(voucher).expect("plain");
    });
    check(abroad, 401, invalid, "invalid_payment", "did not sign this voucher").await;
    // Wider than amounts are, or none at all.
    for amount in [
        json!("9223372036854775808"),
        json!("18446744073709551616"),
        json!("340282366920938463463374607431768211456"),
        json!("-1"),
        json!("1.5"),
        json!("1e9"),
        json!(""),
        json!(400_000),
    ] {
        let wide = payer.with(|payment| payment["payload"]["voucher"]["maxClaimableAmount"] = amount);
        check(wide, 400, invalid, "invalid_payment", "PAYMENT-SIGNATURE").await;
    }
    let old = payer.with(|payment| payment["payload"]["access"]["at"] = 1_000.into());
    check(old, 401, invalid, "invalid_payment", "good for 300 s").await;
    let cheap = payer.with(|payment| payment["payload"]["channelConfig"]["withdrawDelay"] = 60.into());
    check(cheap, 402, "insufficient_quota", "channel_refused", "close delay").await;
    // One that nobody opened.
    let unopened = Payer::new(&offer, 2);
    check(
        unopened.pays(Some(400_000), true),
        503,
        "server_error",
        "chain_unavailable",
        "no channel at this address",
    )
    .await;
    // Who pays in next to nothing is told the least.
    let tiny = Payer::open(&chain, &offer, 4, 10_000).await;
    check(
        tiny.pays(Some(10_000), true),
        503,
        "server_error",
        "chain_unavailable",
        "0.010000000 or more",
    )
    .await;
    // Beyond the deposit a voucher covers the deposit, and the answer says how much to pay in.
    let poor = Payer::open(&chain, &offer, 3, 10_000_000).await;
    let large = BODY.replace("\"max_tokens\":20", "\"max_tokens\":20000");
    let refused = shop.ask(&poor.pays(Some(1_000_000_000), true), &large).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "payment_required") && refused.text().contains("into it"),
        "{}",
        refused.text()
    );
    // A key rules where both are sent.
    let url = format!("{}{CHAT}", shop.gateway.url());
    let both = request(&url, BODY.to_owned())
        .bearer_auth("sk-alice")
        .header("payment-signature", payer.pays(None, true));
    let both = Answer::of(send(both).await).await;
    assert_eq!(both.status, 200, "{}", both.text());
    assert!(
        !both.headers.contains_key("payment-response"),
        "nothing is taken from the channel"
    );
    let models = get(&format!("{}/v1/models", shop.gateway.url())).await;
    assert_eq!(models.status(), 402);
}
