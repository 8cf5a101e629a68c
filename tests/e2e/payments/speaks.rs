//! A payer speaks of its channel outside of requests, and closes it at once.

use billing::Nano;
use billing::channel::{Blob, Envelope, Notice, Standing};
use e2e::Answer;
use e2e::client::{client, request, send};

use super::payer::{Chain, Payer, decoded, until};
use super::{BODY, CHAT, Shop, nano};
use crate::flow::Flow;

const PATH: &str = "/mulberry/pay/v1/channel";

async fn say(shop: &Shop, payment: Option<&str>, body: String) -> Answer {
    let mut request = request(&format!("{}{PATH}", shop.gateway.url()), body);
    if let Some(payment) = payment {
        request = request.header("payment-signature", payment);
    }
    Answer::of(send(request).await).await
}

/// What the gateway answers to a notice; it must answer.
async fn told(shop: &Shop, payer: &Payer, notice: Notice) -> Vec<Notice> {
    let answer = say(shop, Some(&payer.pays(None, true)), payer.says(notice)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let envelopes: Vec<Envelope> = serde_json::from_slice(&answer.body).expect("a list of notices");
    assert!(envelopes.iter().all(|envelope| envelope.channel() == payer.id));
    envelopes.into_iter().map(|envelope| envelope.notice).collect()
}

const NOTHING: Standing = Standing {
    voucher: None,
    take: None,
    spent: Nano::ZERO,
    open: Nano::ZERO,
};

#[tokio::test]
async fn a_payer_asks_where_it_stands_and_closes_its_channel_at_once() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let check = |said: Vec<Notice>, expect: &[Notice]| assert_eq!(said, expect);
    check(told(&shop, &payer, payer.offers()).await, &[Notice::Accept {}]);
    let voucher = payer.voucher(10_000_000);
    let (spent, open) = (Nano::ZERO, Nano::ZERO);
    check(told(&shop, &payer, Notice::Voucher { voucher, spent, open }).await, &[]);

    let first = shop.ask(&payer.pays(None, true), BODY).await;
    assert_eq!(first.status, 200, "the voucher counts: {}", first.text());
    let charged = nano(&decoded(first.header("payment-response"))["extra"]["chargedAmount"]);
    let running = format!("{}{CHAT}", shop.gateway.url());
    let body = BODY.replace("\"mock\"", "\"fault/stall\",\"stream\":true");
    let mut running = Flow::begin(request(&running, body).header("payment-signature", payer.pays(None, true))).await;
    running.until(" am").await;
    let question = 7;
    let asked = || Notice::Reestablish {
        question,
        standing: NOTHING,
    };
    let said = told(&shop, &payer, asked()).await;
    let [Notice::Established { question: 7, standing }] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((standing.voucher, standing.spent.get()), (Some(voucher), charged));
    assert!(standing.open > Nano::ZERO && standing.take.is_none(), "{standing:?}");

    // While something runs nothing is signed, and nothing new begins.
    let close = || payer.says(Notice::Close { spent });
    let busy = say(&shop, Some(&payer.pays(None, true)), close()).await;
    assert!(
        busy.envelope().is(409, "invalid_request_error", "channel_in_use"),
        "{}",
        busy.text()
    );
    let refused = shop.ask(&payer.pays(None, true), BODY).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "channel_refused"),
        "{}",
        refused.text()
    );
    drop(running);
    until("nothing runs", async || {
        say(&shop, Some(&payer.pays(None, true)), close()).await.status == 200
    })
    .await;
    let last = told(&shop, &payer, Notice::Close { spent }).await;
    let [Notice::Take { take }] = last[..] else {
        panic!("{last:?}");
    };
    assert!(take.is_last && take.amount.get() > charged, "{take:?}");
    check(
        told(&shop, &payer, Notice::Close { spent }).await,
        &[Notice::Take { take }],
    );
    let said = told(&shop, &payer, asked()).await;
    let [Notice::Established { standing, .. }] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((standing.take, standing.spent), (Some(take), take.amount));
    // What the payer holds now closes the channel.
    let blob = Blob {
        network: payer.id.network,
        take,
        voucher: Some(voucher),
    };
    let blob = serde_json::to_value(blob).expect("plain");
    assert_eq!(chain.settle(&payer, &blob).await, None, "the contract is no more");
}

#[tokio::test]
async fn what_is_said_wrongly_is_named() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let other = Payer::open(&chain, &offer, 2, 1_000_000_000).await;
    let pays = payer.pays(None, true);
    let invalid = "invalid_request_error";
    let check = async |payment: Option<&str>, body: String, status: u16, kind: &str, code: &str| {
        let answer = say(&shop, payment, body).await;
        assert!(answer.envelope().is(status, kind, code), "{}", answer.text());
    };
    check(None, payer.says(payer.offers()), 401, invalid, "invalid_payment").await;
    // Who has seen a voucher on the chain says nothing with it.
    let voucher = payer.pays(Some(400_000), false);
    check(
        Some(&voucher),
        payer.says(payer.offers()),
        401,
        invalid,
        "invalid_payment",
    )
    .await;
    check(Some(&pays), other.says(other.offers()), 400, invalid, "invalid_payment").await;
    check(Some(&pays), "{}".to_owned(), 400, invalid, "invalid_payment").await;
    check(Some(&pays), "x".repeat(5000), 400, invalid, "invalid_payment").await;
    check(
        Some(&pays),
        payer.says(Notice::Accept {}),
        400,
        invalid,
        "invalid_payment",
    )
    .await;
    // Another channel's voucher in a notice about this one.
    let (spent, open) = (Nano::ZERO, Nano::ZERO);
    let voucher = other.voucher(400_000);
    let notice = payer.says(Notice::Voucher { voucher, spent, open });
    check(Some(&pays), notice, 401, invalid, "invalid_payment").await;
    let unopened = Payer::new(&offer, 3);
    let pays = unopened.pays(None, true);
    check(
        Some(&pays),
        unopened.says(unopened.offers()),
        503,
        "server_error",
        "chain_unavailable",
    )
    .await;
    let read = send(client().get(format!("{}{PATH}", shop.gateway.url()))).await;
    assert_eq!(read.status(), 405);
}
