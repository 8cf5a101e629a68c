//! Many requests, streaming and not, and then not a nanoton is anywhere but where it belongs.
//!
//! `MULBERRY_PAID_REQUESTS` says how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use billing_ton::contract::Remittance;
use e2e::wait::measured;
use tokio::task::JoinSet;

use super::ask::{Answered, App, CLIENT, Seen, WORKER};
use super::named;
use super::site::{DEPOSIT, Engine, Site, until};
use crate::channels::document;

const AT_A_TIME: usize = 16;

/// Asks so often, so many at a time; what came of it, all of which must be whole.
async fn serve(app: &App, requests: u64) -> Vec<Answered> {
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (app, next) = (app.clone(), next.clone());
        clients.spawn(async move {
            let mut answered = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return answered;
                }
                match app.ask(number).await {
                    Seen::Whole(whole) => answered.push(whole),
                    other => panic!("request {number}: {other:?}"),
                }
            }
        });
    }
    clients.join_all().await.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_nanoton_is_in_all_books_and_on_the_chain() {
    let requests = named("MULBERRY_PAID_REQUESTS", 1_000);
    let mut site = Site::open(Engine::llama).await;
    let began = Instant::now();
    let answered = serve(&site.app(), requests).await;
    let took = began.elapsed();
    assert_eq!(answered.len() as u64, requests);

    // By what each answer says that it used, reckoned here.
    let front: u64 = answered.iter().map(|one| CLIENT.of(one.usage)).sum();
    let back: u64 = answered.iter().map(|one| WORKER.of(one.usage)).sum();
    for one in &answered {
        let charged = one.said.map(|said| said.charged);
        assert!(
            charged.is_none_or(|charged| charged == CLIENT.of(one.usage)),
            "{one:?} and not {}",
            CLIENT.of(one.usage)
        );
    }
    assert!(answered.iter().filter(|one| one.said.is_some()).count() as u64 >= requests / 2);
    assert_eq!(site.front_agrees().await, front, "{}", site.logs());
    assert_eq!(site.back_agrees().await, back, "{}", site.logs());

    let client = e2e::client::client();
    let token = std::fs::read_to_string(site.world().dir().join("data/admin.token")).expect("it was made");
    let (mut sum, mut lines) = (0, String::new());
    for one in &answered {
        for receipt in site.receipts(&client, token.trim(), &one.id).await {
            let total = receipt["amounts"]["total"].as_str().expect("an amount");
            sum += total.parse::<u64>().expect("digits");
            lines.push_str(&format!("{receipt}\n"));
        }
    }
    assert_eq!((sum, lines.lines().count() as u64), (front, requests), "the receipts");
    site.verify(&lines).await;

    let payer = document(site.world(), &["wallet", "address"]);
    let payer = payer["raw"].as_str().expect("an address").to_owned();
    assert_eq!(site.settle().await, [front, back]);
    // The rest is the payer's, with what is left of the contract's reserve for rent.
    let mut rest = 0;
    until(
        "the payer has the rest",
        || site.logs(),
        async || {
            let remittances = site.remittances(&payer, &site.front).await.into_iter();
            let refunds = remittances.filter(|(what, _)| matches!(what, Remittance::Refund { .. }));
            rest = refunds.map(|(_, amount)| amount).sum();
            rest > 0
        },
    )
    .await;
    let reserve = rest.checked_sub(DEPOSIT - front).expect("all of the rest");
    assert!((1..=20_000_000).contains(&reserve), "{reserve}");
    measured(
        "paid::thousand",
        &format!("{requests} requests took {took:?}; {front} nanoton of the app, {back} of the worker"),
    );
}
