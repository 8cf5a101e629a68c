//! What was earned goes to the chain by itself, where the gateway has a wallet for the gas.

use std::fs;

use billing::channel::Account;
use e2e::World;
use serde_json::Value;

use super::payer::{Chain, PAYOUT, Payer, decoded, until};
use super::{BODY, Shop, nano};
use crate::channels::{PASSPHRASE, document};

pub(super) const UNIT: u64 = 1_000_000_000;

/// A gateway that signs what it earned as soon as it is anything worth its gas, and a wallet that pays for it.
pub(super) fn shop(chain: &Chain, above: &str) -> (Shop, Account) {
    let world = World::new();
    let wallet = document(&world, &["wallet", "create", "--wallet", "gas.json"]);
    let wallet = wallet["raw"].as_str().expect("an address").parse().expect("a raw one");
    let passphrase = world.file("gas.passphrase", PASSPHRASE);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    let more = format!(
        "\x20 wallet_file: {}\n\x20 passphrase_file: {}\n\x20 watch: {}\n\x20 settle: {{above: {above}}}\n",
        world.dir().join("gas.json").display(),
        passphrase.display(),
        world.dir().join("settlements").display(),
    );
    (Shop::in_world(world, &chain.url, &more), wallet)
}

/// Of 20,000 tokens at most, so that what it costs is more than the gas.
pub(super) fn long() -> String {
    BODY.replace("\"model\":\"mock\"", "\"model\":\"fault/tokens-20000\"")
        .replace("\"max_tokens\":20", "\"max_tokens\":20000")
}

#[tokio::test]
async fn what_was_earned_is_settled_by_itself_and_closed_with_the_last_take() {
    let chain = Chain::start().await;
    let (shop, wallet) = shop(&chain, "0.01");
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, UNIT).await;
    let ask = async || {
        let answer = shop.ask(&payer.pays(Some(UNIT), true), &long()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        nano(&decoded(answer.header("payment-response"))["extra"]["channelState"]["chargedCumulativeAmount"])
    };
    let charged = ask().await;
    assert!(charged > 10_000_000, "{charged}");
    // Without coins it says how much to send where, and waits.
    let address = wallet.to_string();
    until("it says that the wallet is empty", async || {
        shop.gateway.log().contains("the wallet cannot settle what was signed")
    })
    .await;
    assert_eq!(chain.claimed(&payer).await, Some(0), "{address}");
    // Whoever watches has it all the same.
    let file = shop.world.dir().join("settlements").join(format!(
        "{}.json",
        payer.id.account.to_string().strip_prefix("0:").expect("workchain 0")
    ));
    let read = || -> Value { serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON") };
    assert_eq!(nano(&read()["take"]["totalClaimed"]), charged);

    chain.fund(wallet, 2 * UNIT).await;
    let payee: Account = PAYOUT.parse().expect("an address");
    until("the contract paid what was charged", async || {
        chain.claimed(&payer).await == Some(charged)
    })
    .await;
    until("the payee has it", async || {
        chain.balance(payee).await >= u128::from(charged) / 2
    })
    .await;
    let charged = ask().await;
    until("the next is paid too", async || {
        chain.claimed(&payer).await == Some(charged)
    })
    .await;

    // The last take is paid by itself too, and the contract is no more.
    let last = ask().await;
    let channel = format!("channels/{}/close", payer.id.account);
    until("nothing runs", async || {
        shop.operator(reqwest::Method::POST, &channel).await.status == 200
    })
    .await;
    until("the contract is gone", async || chain.claimed(&payer).await.is_none()).await;
    assert_eq!(
        (nano(&read()["take"]["totalClaimed"]), &read()["take"]["close"]),
        (last, &true.into())
    );
    let verified = shop.operator(reqwest::Method::POST, "ledger/verify").await;
    assert_eq!(verified.json()["ok"], true, "{}", verified.text());
}
