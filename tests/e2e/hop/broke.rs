//! A gateway that pays workers from a wallet without coins.

use billing::Nano;
use billing_ton::address;
use e2e::wait::eventually;

use super::{NETWORK, SETTLED, Site, amount, sum, until};
use crate::attested::{TOKEN, digest};
use crate::channels::document;

/// The worker works on credit, somebody is told how much to send where, and nothing of what was earned is lost.
#[tokio::test]
async fn a_worker_of_a_gateway_without_coins_works_on_credit_and_is_paid_when_they_come() {
    let workers = format!("{{name: box, join_token_sha256: {}}}", digest(TOKEN));
    let mut site = Site::with_coins(&workers, "", 0).await;
    let worker = site.worker().await;
    site.serve(10).await;
    let logs = |site: &Site| format!("{}\n---\n{}", site.gateway.log(), worker.log());
    let is_told = || {
        site.gateway
            .log()
            .contains("the wallet that pays workers needs somebody")
    };
    assert!(eventually(SETTLED, is_told).await, "{}", logs(&site));
    // Nobody waits for it.
    site.serve(5).await;
    until(
        "all of it is owed",
        || logs(&site),
        async || site.owed().await == site.earned,
    )
    .await;
    assert_eq!(site.wage().await["quarantined"], false);

    let wallet = document(&site.ground.world, &["wallet", "address"]);
    let wallet = address::parse(wallet["address"].as_str().expect("an address"), NETWORK).expect("one of ours");
    let coins = Nano::saturating(50 * Nano::UNIT);
    site.chain.chain.fund(wallet, coins).expect("it is not halted");
    site.opened(|| logs(&site)).await;
    until(
        "all that was earned is in the channel, and both books say the same",
        || logs(&site),
        async || {
            let wage = site.wage().await;
            amount(&wage["owed"]) == 0
                && amount(&wage["channel"]["spent"]) == site.earned
                && sum(&site.books()) == site.earned
        },
    )
    .await;
    let channel = site.channel().await;
    until(
        "what the worker signed is settled",
        || logs(&site),
        async || {
            site.chain
                .claimed(&channel)
                .await
                .is_some_and(|claimed| claimed >= 30_000_000)
        },
    )
    .await;
    assert!(site.chain.claimed(&channel).await <= Some(site.earned));
}
