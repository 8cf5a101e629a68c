//! The keys of LiteLLM, by their hashes: clients keep theirs.

use super::*;

#[tokio::test]
async fn the_same_client_with_the_same_key_gets_the_same_models() {
    let world = World::new();
    let mock = world.mock(&[]);
    let models =
        "models: [{name: mock, routes: [{backend: only}]}, {name: other, routes: [{backend: only, model: mock}]}]\n";
    let gateway = world.gateway(&yaml(&mock, models));
    let rows = json!([
        {"token": sha256("sk-litellm-alice"), "key_alias": "alice", "models": ["mock"], "user_id": "u1", "spend": 3.5},
        {"token": sha256("sk-litellm-bob"), "key_alias": "bob", "models": [], "blocked": true},
        {"token": sha256("sk-litellm-eve"), "key_alias": "eve", "expires": "whenever"},
    ]);
    let file = world.file("keys.json", rows.to_string()).display().to_string();
    let imported = key(&gateway, true, &["import", "litellm", &file]);
    assert!(imported.status.success(), "{}", stderr(&imported));
    for part in ["2 keys imported", "eve: its `expires` cannot be read", "spend: 1 keys"] {
        assert!(stdout(&imported).contains(part), "no {part:?} in {}", stdout(&imported));
    }
    let begun = Instant::now();
    while ask(&gateway, "sk-litellm-alice").await.status != 200 || nobody(&gateway).await.status == 200 {
        assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
    }
    let url = format!("{}/v1/chat/completions", gateway.url());
    let other = send(request(&url, chat("other")).bearer_auth("sk-litellm-alice")).await;
    assert_eq!(other.status(), 403);
    for closed in ["sk-litellm-bob", "sk-litellm-eve"] {
        assert!(is_unknown(&ask(&gateway, closed).await), "{closed}");
    }
    // Again: nothing is made twice.
    let again = key(&gateway, true, &["import", "litellm", &file, "--output", "json"]);
    let again: Value = serde_json::from_slice(&again.stdout).expect("it is JSON");
    assert_eq!(again["created"], json!([]), "{again}");
    assert_eq!(again["skipped"].as_array().map(Vec::len), Some(3), "{again}");
    // One by one, through the gateway.
    let one = key(
        &gateway,
        false,
        &["create", "carol", "--sha256", &sha256("sk-litellm-carol")],
    );
    assert!(one.status.success() && stdout(&one).is_empty(), "{}", stderr(&one));
    assert_eq!(ask(&gateway, "sk-litellm-carol").await.status, 200);
    let twice = key(
        &gateway,
        false,
        &["create", "dave", "--sha256", &sha256("sk-litellm-carol")],
    );
    assert!(
        stderr(&twice).contains("known already, as 'carol'"),
        "{}",
        stderr(&twice)
    );
}

#[test]
fn a_file_of_another_make_is_refused() {
    let world = World::new();
    let config = world.file(
        "mulberry.yaml",
        "backends: [{name: only, url: 'http://127.0.0.1:1'}]\ndata_dir: data\n",
    );
    for text in ["model_list: []\n", "{}", "a,b\n1,2\n"] {
        let file = world.file("keys.txt", text).display().to_string();
        let ended = run(&config, "null", &["import", "litellm", &file]);
        assert_eq!(ended.status.code(), Some(1), "{text}");
        assert!(stderr(&ended).contains("neither JSON"), "{}", stderr(&ended));
    }
    let missing = run(&config, "null", &["import", "litellm", "/nowhere/keys.csv"]);
    assert!(stderr(&missing).contains("/nowhere/keys.csv"), "{}", stderr(&missing));
}
