//! A source of the chain that makes channels up.

use e2e::World;

use super::payer::{Chain, Payer, decoded};
use super::{BODY, Shop, nano};

/// What one source may be believed for, and what each channel has by its word.
const ABOVE: u64 = 50_000_000;
const DEPOSIT: u64 = 20_000_000;

/// Costs about 4,000,000.
fn long() -> String {
    BODY.replace("\"model\":\"mock\"", "\"model\":\"fault/tokens-2000\"")
        .replace("\"max_tokens\":20", "\"max_tokens\":2000")
}

/// It is asked first, and has a chain of its own, on which everybody is rich.
#[tokio::test]
async fn a_source_that_lies_is_believed_for_what_was_set_over_all_channels_together() {
    let (rogue, honest) = (Chain::start().await, Chain::start().await);
    let both = format!("{}/api/v2', '{}", rogue.url, honest.url);
    let shop = Shop::in_world(World::new(), &both, "\x20 two_sources_above: \"0.05\"\n");
    let offer = shop.offer().await["accepts"][0].clone();
    let (mut opened, mut served) = (0, 0);
    for seed in 1..=5 {
        let payer = Payer::open(&rogue, &offer, seed, DEPOSIT).await;
        let mut answer = shop.ask(&payer.pays(Some(DEPOSIT), true), BODY).await;
        if answer.status != 200 {
            assert!(
                answer.envelope().is(503, "server_error", "chain_unavailable"),
                "{}",
                answer.text()
            );
            continue;
        }
        opened += 1;
        // All of it, as whoever has the source would.
        while answer.status == 200 {
            served += nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"]);
            answer = shop.ask(&payer.pays(None, true), &long()).await;
        }
        assert!(
            answer.envelope().is(402, "insufficient_quota", "payment_required"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(opened, ABOVE / DEPOSIT, "so many are within what was set");
    assert!((1..=ABOVE).contains(&served), "{served}");
}
