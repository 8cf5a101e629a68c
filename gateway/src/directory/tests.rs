use super::*;
use crate::config::KeyHash;

/// On loopback, with these keys in the file.
fn written(keys: &[(&str, &str)]) -> Written {
    Written {
        keys: keys.iter().map(|(name, secret)| Key::named(name, secret)).collect(),
        is_local: true,
        ..Written::nothing()
    }
}

async fn open(written: Written, store: &Store) -> Directory {
    Directory::open(written, Some(store), Arc::default(), Gauge::default())
        .await
        .expect("memory can be read")
}

async fn store() -> Store {
    Store::in_memory().await.expect("memory opens")
}

fn name(directory: &Directory, key: &str) -> Option<String> {
    directory.accounts.load().find(&KeyHash::of(key))?.name.clone()
}

#[tokio::test]
async fn a_change_is_in_force_when_it_returns() {
    let store = store().await;
    let directory = open(written(&[("filed", "sk-filed")]), &store).await;
    let made = directory.create("alice", &KeyEdit::default(), None, "ops").await;
    let secret = made.expect("a free name").secret.expect("it was made here");
    assert_eq!(name(&directory, secret.expose()).as_deref(), Some("alice"));
    assert_eq!(name(&directory, "sk-filed").as_deref(), Some("filed"));
    directory.revoke("alice", "ops").await.expect("it is there");
    assert_eq!(name(&directory, secret.expose()), None);
    let listed: Vec<String> = directory.list().into_iter().map(|key| key.name).collect();
    assert_eq!(listed, ["filed", "alice"]);
}

#[tokio::test]
async fn whoever_follows_the_database_sees_what_another_did() {
    let store = store().await;
    let (ours, other) = (open(written(&[]), &store).await, open(written(&[]), &store).await);
    let is_open = |directory: &Directory| directory.accounts.load().anonymous().is_some();
    assert!(is_open(&ours));
    let made = other.create("alice", &KeyEdit::default(), None, "ops").await;
    let secret = made.expect("a free name").secret.expect("it was made here");
    assert!(is_open(&ours), "nobody looked yet");
    let database = ours.database().expect("there is one");
    ours.look(database).await;
    assert!(!is_open(&ours));
    assert_eq!(name(&ours, secret.expose()).as_deref(), Some("alice"));
    other.revoke("alice", "ops").await.expect("it is there");
    ours.look(database).await;
    assert_eq!(name(&ours, secret.expose()), None);
    assert!(!is_open(&ours), "a gateway that had a key stays closed");
}

#[tokio::test]
async fn when_the_database_fails_the_last_keys_stay_and_it_is_told() {
    let store = store().await;
    let directory = open(written(&[]), &store).await;
    let made = directory.create("alice", &KeyEdit::default(), None, "ops").await;
    let secret = made.expect("a free name").secret.expect("it was made here");
    let database = directory.database().expect("there is one");
    directory.look(database).await;
    assert_eq!(directory.stale.get(), 0);
    store.close().await;
    directory.look(database).await;
    assert_eq!(directory.stale.get(), 1);
    assert_eq!(name(&directory, secret.expose()).as_deref(), Some("alice"));
    assert!(directory.accounts.load().anonymous().is_none());
    let error = directory
        .revoke("alice", "ops")
        .await
        .expect_err("nothing can be written");
    assert!(matches!(error, DirectoryError::Key(_)), "{error:?}");
}

#[tokio::test]
async fn only_a_gateway_of_this_machine_without_any_key_is_open() {
    let issuers = Written {
        has_issuers: true,
        ..written(&[])
    };
    for (what, written, expect) in [
        ("loopback", written(&[]), true),
        ("loopback with a key in the file", written(&[("a", "sk-a")]), false),
        ("loopback with an issuer", issuers, false),
        ("every interface", Written::nothing(), false),
    ] {
        let directory = open(written, &store().await).await;
        assert_eq!(directory.accounts.load().anonymous().is_some(), expect, "{what}");
    }
}

#[tokio::test]
async fn who_needs_no_key_is_charged_where_the_file_says_so_and_only_there() {
    let account = AccountId::default_organisation();
    let payer = |directory: &Directory| {
        let accounts = directory.accounts.load();
        let anonymous = accounts
            .anonymous()?
            .admit("127.0.0.1", None)
            .expect("it is this machine");
        let payer = anonymous.payer.as_ref()?;
        assert_eq!(payer.key, None, "there is no key that could bound it");
        Some(payer.organisation.clone())
    };
    let charged = Written {
        anonymous: Some(account.clone()),
        ..written(&[])
    };
    for (what, written, expect) in [
        ("the file names nobody", written(&[]), None),
        ("the file names an account", charged.clone(), Some(account.clone())),
        (
            "no request is served without a key",
            Written {
                keys: written(&[("a", "sk-a")]).keys,
                ..charged.clone()
            },
            None,
        ),
    ] {
        assert_eq!(payer(&open(written, &store().await).await), expect, "{what}");
    }
    // The first key of the database ends it.
    let store = store().await;
    let directory = open(charged, &store).await;
    let made = directory.create("alice", &KeyEdit::default(), None, "ops").await;
    made.expect("a free name");
    assert_eq!(payer(&directory), None);
}

#[tokio::test]
async fn a_key_that_is_in_the_file_too_is_not_changed_in_vain_and_ends_when_it_is_revoked() {
    let store = store().await;
    let sha256 = Sha256(*KeyHash::of("sk-both").as_bytes());
    let before = open(written(&[]), &store).await;
    let made = before.create("alice", &KeyEdit::default(), Some(sha256), "ops").await;
    made.expect("a free name");
    let directory = open(written(&[("filed", "sk-both")]), &store).await;
    assert_eq!(name(&directory, "sk-both").as_deref(), Some("filed"));
    let rotated = directory.rotate("alice", Duration::ZERO, "ops").await;
    assert!(matches!(rotated, Err(DirectoryError::Resting { .. })), "{rotated:?}");
    let updated = directory.update("alice", &KeyEdit::default(), "ops").await;
    assert!(matches!(updated, Err(DirectoryError::Resting { .. })), "{updated:?}");
    directory.revoke("alice", "ops").await.expect("it is there");
    assert_eq!(name(&directory, "sk-both"), None, "it was said to be revoked");
}

#[tokio::test]
async fn who_takes_the_last_key_out_of_the_file_opens_nothing() {
    let config = |keys: Vec<Key>| {
        let backend = "backends: [{name: b, url: 'http://127.0.0.1:1'}]";
        let config = Config::parse(backend, "m.yaml", &crate::config::Process).expect("it is whole");
        Config { keys, ..config }
    };
    let directory = Directory::open(written(&[("a", "sk-a")]), None, Arc::default(), Gauge::default());
    let directory = directory.await.expect("there is nothing to read");
    directory.configure(&config(Vec::new()));
    assert_eq!(name(&directory, "sk-a"), None);
    assert!(
        directory.accounts.load().anonymous().is_none(),
        "whoever had the key would stay in"
    );
    directory.configure(&config(vec![Key::named("b", "sk-b")]));
    assert_eq!(name(&directory, "sk-b").as_deref(), Some("b"));
    directory.configure(&config(Vec::new()));
    assert!(directory.accounts.load().anonymous().is_none());
}

#[test]
fn a_grace_ends_at_a_whole_second() {
    for (now_ms, grace_ms, expect) in [
        (10_000, 0, 0),
        (10_000, 1000, 1000),
        (10_001, 1000, 1999),
        (10_999, 1, 1),
        (10_000, 1, 1000),
    ] {
        let found = whole_seconds(now_ms, Duration::from_millis(grace_ms));
        assert_eq!(found, expect, "{now_ms} {grace_ms}");
        assert!(grace_ms == 0 || (now_ms + found) % 1000 == 0);
    }
}
