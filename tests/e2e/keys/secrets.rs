//! A secret is in the answer that makes it, and its hash in one column; neither is anywhere else.

use std::fs;

use super::*;

#[tokio::test]
async fn neither_a_secret_nor_its_hash_is_in_any_text() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "log: {level: trace}\n"));
    let mut secrets = vec![create(&gateway, "alice").await];
    let rotated = admin(&gateway, Method::POST, "keys/alice/rotate", json!({"grace": "1h"})).await;
    secrets.push(rotated.json()["secret"].as_str().expect("it has one").to_owned());
    secrets.push(secret(&key(&gateway, false, &["create", "bob"])));
    secrets.push(secret(&key(&gateway, true, &["rotate", "bob"])));
    let brought = "sk-brought-0123456789";
    let answer = admin(
        &gateway,
        Method::POST,
        "keys",
        json!({"name": "carol", "sha256": sha256(brought)}),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(answer.json().get("secret").is_none(), "{}", answer.text());
    secrets.push(brought.to_owned());
    for secret in &secrets {
        ask(&gateway, secret).await;
    }
    // A body that is refused may hold a key where its hash should be.
    let wrong = json!({"name": "dave", "sha256": brought});
    let refused = admin(&gateway, Method::POST, "keys", wrong).await;
    admin(&gateway, Method::DELETE, "keys/alice", Value::Null).await;
    let mut texts = vec![gateway.log(), refused.text()];
    for path in ["keys", "keys/alice", "audit", "requests", "config", "status"] {
        texts.push(admin(&gateway, Method::GET, path, Value::Null).await.text());
    }
    texts.push(
        Answer::of(e2e::client::get(&format!("{}/metrics", gateway.admin_url())).await)
            .await
            .text(),
    );
    for args in [&["list"][..], &["list", "--output", "json"], &["show", "bob"]] {
        texts.push(stdout(&key(&gateway, false, args)));
        texts.push(stdout(&key(&gateway, true, args)));
    }
    for file in fs::read_dir(gateway.data_dir()).expect("it is there") {
        let path = file.expect("it is readable").path();
        texts.push(String::from_utf8_lossy(&fs::read(&path).expect("it is readable")).into_owned());
    }
    for secret in &secrets {
        let hash = sha256(secret);
        for (nth, text) in texts.iter().enumerate() {
            let lower = text.to_lowercase();
            assert!(!text.contains(secret.as_str()), "a secret in text {nth}");
            assert!(!lower.contains(&hash[..16]), "a hash in text {nth}");
        }
    }
}
