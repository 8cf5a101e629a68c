//! Receipts of who pays by channel: what was signed is in them, and they add up to what the ledger says.

use std::process::{Command, Output};

use e2e::Answer;
use e2e::client::{client, get, send};
use e2e::process::mulberry;
use serde_json::Value;

use super::payer::{Chain, Payer, decoded};
use super::{BODY, Shop, nano};

/// The receipts of a request, as its payer gets them.
async fn receipts(shop: &Shop, payment: &str, id: &str) -> Vec<Value> {
    let url = format!("{}/v1/receipts/{id}", shop.gateway.url());
    let answer = Answer::of(send(client().get(url).header("payment-signature", payment)).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn receipts_name_the_voucher_and_add_up_to_the_ledger() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let mut lines = String::new();
    let (mut sum, mut charged) = (0, 0);
    for max in [400_000, 800_000, 1_200_000] {
        let pays = payer.pays(Some(max), true);
        let answer = shop.ask(&pays, BODY).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = decoded(answer.header("payment-response"));
        charged = nano(&said["extra"]["channelState"]["chargedCumulativeAmount"]);
        for receipt in receipts(&shop, &pays, answer.header("x-request-id")).await {
            let voucher = &receipt["voucher"];
            assert_eq!(voucher["channel"], payer.id.account.to_string(), "{receipt}");
            assert_eq!((&voucher["network"], nano(&voucher["max"])), (&"tvm:-217".into(), max));
            assert_eq!(nano(&voucher["charged"]), charged, "{receipt}");
            sum += nano(&receipt["amounts"]["total"]);
            lines.push_str(&format!("{receipt}\n"));
        }
    }
    assert_eq!(sum, charged, "to the nanoton");
    let shown = shop
        .operator(reqwest::Method::GET, &format!("channels/{}", payer.id.account))
        .await
        .json();
    let spent = shown["spent"].as_str().expect("an amount").replace('.', "");
    assert_eq!(spent.parse(), Ok(sum), "{shown}");

    let keys = Answer::of(get(&format!("{}/v1/receipts/keys", shop.gateway.url())).await).await;
    let keys = shop.world.file("keys.json", &keys.body);
    let verify = |lines: &str| {
        let file = shop.world.file("receipts.json", lines);
        let run = Command::new(mulberry())
            .arg("verify")
            .arg(file)
            .arg("--keys")
            .arg(&keys)
            .output();
        let Output { status, stdout, stderr } = run.expect("the binary starts");
        let told = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        (status.code(), told)
    };
    let (status, told) = verify(&lines);
    assert_eq!(status, Some(0), "{told}");
    assert!(
        told.contains(&format!("paid by the channel {} on tvm:-217", payer.id.account)),
        "{told}"
    );
    assert!(told.contains("0.001200000 signed by the payer's key"), "{told}");
    let forged = lines.replacen("\"max\":\"1200000\"", "\"max\":\"1200001\"", 1);
    let (status, told) = verify(&forged);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("voucher"), "{told}");
}
