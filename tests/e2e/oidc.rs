//! Tokens of an identity provider: believed when everything about them is right, and for nothing else.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::client::{chat, client, send};
use e2e::process::mulberry;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use issuer::{Issuer, Signer, sign_with_secret, unix_seconds};

mod issuer;
mod paying;

struct Provided {
    mock: Mock,
    gateway: Gateway,
    _world: World,
}

/// A gateway that believes one issuer; `more` stands in its entry.
fn provided(issuer: &str, more: &str) -> Provided {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\nkeys: [{{name: alice, secret: sk-alice}}]\noidc:\n  - {{issuer: '{issuer}', audience: mulberry, {more}}}\n",
        mock.url()
    ));
    Provided {
        mock,
        gateway,
        _world: world,
    }
}

impl Provided {
    async fn ask(&self, credential: &str, model: &str) -> Answer {
        let url = format!("{}/v1/chat/completions", self.gateway.url());
        let request = client().post(url).header("content-type", "application/json");
        Answer::of(send(request.bearer_auth(credential).body(chat(model))).await).await
    }

    /// Usage by key, as the operator sees it.
    fn keys(&self) -> String {
        let shown = Command::new(mulberry())
            .args(["usage", "--by", "key", "--database"])
            .arg(self.gateway.database())
            .output()
            .expect("the binary has started before");
        assert!(shown.status.success(), "{shown:?}");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Refused with 401, by a message with these words and nothing of the token.
    async fn refuses(&self, what: &str, token: &str, words: &str) {
        let answer = self.ask(token, "mock").await;
        let error = answer.envelope();
        assert!(
            error.is(401, "invalid_request_error", "invalid_api_key"),
            "{what}: {error:?}"
        );
        assert!(error.message.contains(words), "{what}: {}", error.message);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!error.message.contains(part), "{what} is echoed: {}", error.message);
            assert!(!self.gateway.log().contains(part), "{what} is logged");
        }
    }
}

/// Claims with some of them changed; null removes one.
fn with(claims: &Value, changes: Value) -> Value {
    let mut changed = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            changed.as_object_mut().expect("an object").remove(name);
        } else {
            changed[name] = value.clone();
        }
    }
    changed
}

#[tokio::test]
async fn right_tokens_are_believed() {
    let issuer = Issuer::start().await;
    let rsa = Signer::new("rsa", Algorithm::RS256);
    let pss = Signer::new("pss", Algorithm::PS256);
    let p256 = Signer::new("p256", Algorithm::ES256);
    let p384 = Signer::new("p384", Algorithm::ES384);
    issuer.publish(&[&rsa, &pss, &p256, &p384]);
    let provided = provided(
        &issuer.url(),
        "name_claim: email, models: [fault/tag-small], rules: [{claim: realm_access.roles, value: research, models: ['*'], limits: {requests_per_minute: 3}}, {claim: scope, value: batch, models: [mock]}]",
    );
    let alice = with(&issuer.claims("1"), json!({"email": "alice@example.com"}));
    for signer in [&rsa, &pss, &p256, &p384] {
        let answer = provided.ask(&signer.sign(&alice), "fault/tag-small").await;
        assert_eq!(answer.status, 200, "{}: {}", signer.kid, answer.text());
    }
    // Only one published key goes with the algorithm.
    let unnamed = p256.sign_as(Algorithm::ES256, None, &alice);
    assert_eq!(provided.ask(&unnamed, "fault/tag-small").await.status, 200);
    // The audience may be one of several; the clocks may differ by a minute.
    let several = with(
        &alice,
        json!({"aud": ["other", "mulberry"], "nbf": unix_seconds() + 30, "exp": unix_seconds() - 30}),
    );
    assert_eq!(provided.ask(&p256.sign(&several), "fault/tag-small").await.status, 200);
    assert_eq!(
        provided.ask("sk-alice", "fault/tag-small").await.status,
        200,
        "keys go on"
    );

    let refused = provided.ask(&rsa.sign(&alice), "mock").await.envelope();
    assert!(refused.is(403, "permission_error", "model_not_allowed"), "{refused:?}");
    let batch = with(&alice, json!({"scope": "openid batch"}));
    assert_eq!(provided.ask(&rsa.sign(&batch), "mock").await.status, 200);

    // Limits are the subject's, whatever the token.
    let researcher = with(
        &issuer.claims("2"),
        json!({"email": "bob@example.com", "realm_access": {"roles": ["research"]}}),
    );
    for signer in [&rsa, &p256, &p384] {
        let answer = provided.ask(&signer.sign(&researcher), "fault/tag-anything").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "3");
    }
    let error = provided
        .ask(&pss.sign(&researcher), "fault/tag-anything")
        .await
        .envelope();
    assert!(error.is(429, "requests", "rate_limit_exceeded"), "{error:?}");
    let namesake = with(&researcher, json!({"sub": "3"}));
    assert_eq!(
        provided.ask(&rsa.sign(&namesake), "fault/tag-anything").await.status,
        200,
        "another subject"
    );

    let url = format!("{}/v1/models", provided.gateway.url());
    let listed = Answer::of(send(client().get(url).bearer_auth(rsa.sign(&alice))).await).await;
    assert_eq!(listed.status, 200);
    let all_named = || {
        let keys = provided.keys();
        ["oidc:alice@example.com", "oidc:bob@example.com"]
            .iter()
            .all(|name| keys.contains(name))
    };
    assert!(eventually(SOON, all_named).await, "{}", provided.keys());
    assert_eq!(issuer.fetches(), 1, "the keys were fetched at start and stayed");
}

#[tokio::test]
async fn wrong_tokens_are_not() {
    let issuer = Issuer::start().await;
    let rsa = Signer::new("rsa", Algorithm::RS256);
    let p256 = Signer::new("p256", Algorithm::ES256);
    issuer.publish(&[&rsa, &p256]);
    let provided = provided(&issuer.url(), "name_claim: sub");
    let good = issuer.claims("alice");
    let token = rsa.sign(&good);
    assert_eq!(provided.ask(&token, "mock").await.status, 200, "the true capture");

    let now = unix_seconds();
    for (what, changes, words) in [
        ("another audience", json!({"aud": "other"}), "another audience"),
        ("a longer audience", json!({"aud": "mulberry2"}), "another audience"),
        ("no audience", json!({"aud": null}), "another audience"),
        (
            "an audience of another make",
            json!({"aud": {"mulberry": true}}),
            "another audience",
        ),
        (
            "another issuer",
            json!({"iss": "https://other.example"}),
            "does not know",
        ),
        (
            "an issuer with a slash",
            json!({"iss": format!("{}/", issuer.url())}),
            "does not know",
        ),
        ("no issuer", json!({"iss": null}), "does not know"),
        ("expired", json!({"exp": now - 61}), "expired on"),
        ("no expiry", json!({"exp": null}), "no expiry"),
        ("an expiry in words", json!({"exp": "never"}), "cannot be read"),
        ("not yet", json!({"nbf": now + 3600}), "not valid yet"),
        ("no name", json!({"sub": null}), "no claim 'sub'"),
        ("a name with a line end", json!({"sub": "a\nb"}), "no claim 'sub'"),
    ] {
        provided.refuses(what, &rsa.sign(&with(&good, changes)), words).await;
    }

    // Signatures.
    let impostor = Signer::new("rsa", Algorithm::RS256);
    provided
        .refuses("another's key under the same name", &impostor.sign(&good), "signature")
        .await;
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let other = rsa.sign(&with(&good, json!({"sub": "root"})));
    let (other_message, _) = other.rsplit_once('.').expect("three parts");
    provided
        .refuses("another's claims", &format!("{other_message}.{signature}"), "signature")
        .await;
    provided
        .refuses(
            "half a signature",
            &format!("{message}.{}", &signature[..100]),
            "signature",
        )
        .await;
    provided
        .refuses("no signature", &format!("{message}.AAAA"), "signature")
        .await;

    // Algorithms: none, a shared secret made of the public key, and one that is not the key's.
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let claims = message.split_once('.').expect("two parts").1;
    provided
        .refuses(
            "alg none with something behind",
            &format!("{none}.{claims}.AAAA"),
            "cannot be read",
        )
        .await;
    provided
        .refuses("alg none", &format!("{none}.{claims}."), "Incorrect API key")
        .await;
    let modulus = rsa.jwk()["n"].as_str().expect("a modulus").to_owned();
    for secret in [modulus.as_bytes(), rsa.jwk().to_string().as_bytes(), b"".as_slice()] {
        provided
            .refuses(
                "HS256 with what is public",
                &sign_with_secret("rsa", secret, &good),
                "algorithm",
            )
            .await;
    }
    provided
        .refuses(
            "PS256 with a key for RS256",
            &rsa.sign_as(Algorithm::PS256, Some("rsa"), &good),
            "a key (kid)",
        )
        .await;
    provided
        .refuses(
            "ES256 under the name of the RSA key",
            &p256.sign_as(Algorithm::ES256, Some("rsa"), &good),
            "a key (kid)",
        )
        .await;
    provided
        .refuses(
            "a key that nobody published",
            &rsa.sign_as(Algorithm::RS256, Some("new"), &good),
            "a key (kid)",
        )
        .await;
    provided
        .refuses("no JSON", "eyJhbGciOiJSUzI1NiJ9.bm8.c2ln", "cannot be read")
        .await;
    provided.refuses("no token", "sk-unknown", "Incorrect API key").await;
    assert_eq!(provided.mock.log().len(), 1, "the upstream saw the good one only");
}

#[tokio::test]
async fn keys_that_change_are_fetched_once_for_all() {
    let issuer = Issuer::start().await;
    let old = Signer::new("old", Algorithm::ES256);
    let new = Signer::new("new", Algorithm::ES256);
    issuer.publish(&[&old]);
    let provided = provided(&issuer.url(), "");
    let (old_token, new_token) = (old.sign(&issuer.claims("alice")), new.sign(&issuer.claims("alice")));
    assert_eq!(provided.ask(&old_token, "mock").await.status, 200);
    let start = Instant::now();

    issuer.publish(&[&new]);
    // The keys are ten seconds old at least before an unknown name makes the gateway ask again.
    provided
        .refuses("a key that is too new", &new_token, "a key (kid)")
        .await;
    assert_eq!(issuer.fetches(), 1);
    // Not a wait for something to happen, but the clock itself: what comes before it has passed is refused.
    tokio::time::sleep_until((start + Duration::from_secs(10)).into()).await;
    let many = join_all((0..32).map(|_| provided.ask(&new_token, "mock"))).await;
    let statuses: Vec<u16> = many.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200; 32], "all wait for the one fetch");
    assert_eq!(issuer.fetches(), 2, "one fetch for all");
    provided
        .refuses("a key that was withdrawn", &old_token, "a key (kid)")
        .await;

    // An issuer that is down changes nothing for those whose keys are known.
    issuer.go_down(true);
    let another = new.sign(&issuer.claims("bob"));
    assert_eq!(provided.ask(&another, "mock").await.status, 200);
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let issuer = Issuer::start().await;
    let signer = Signer::new("k", Algorithm::ES256);
    issuer.publish(&[&signer]);
    issuer.go_down(true);
    let world = World::new();
    let mock = world.mock(&[]);
    // No keys of its own either: nobody is anonymous beside an issuer.
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}'}}]\noidc: [{{issuer: '{}', audience: mulberry}}]\n",
        mock.url(),
        issuer.url()
    ));
    let provided = Provided {
        mock,
        gateway,
        _world: world,
    };
    let token = signer.sign(&issuer.claims("alice"));
    let answer = provided.ask(&token, "mock").await;
    let error = answer.envelope();
    assert!(error.is(503, "server_error", "issuer_unavailable"), "{error:?}");
    assert_eq!(answer.header("retry-after"), "5");
    let url = format!("{}/v1/chat/completions", provided.gateway.url());
    let nobody = Answer::of(e2e::client::post(&url, chat("mock")).await).await;
    assert_eq!(nobody.status, 401, "{}", nobody.text());
    assert!(provided.mock.log().is_empty());
    let is_told = eventually(SOON, || provided.gateway.log().contains("could not be fetched"));
    assert!(is_told.await, "the operator is told");

    issuer.go_down(false);
    let believed = async {
        while provided.ask(&token, "mock").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, believed).await.is_ok(), "the issuer is back");
}

#[tokio::test]
async fn keys_from_a_file_and_from_an_address() {
    let issuer = Issuer::start().await;
    let signer = Signer::new("k", Algorithm::ES256);
    issuer.publish(&[&signer]);
    let world = World::new();
    let file = world.file("jwks.json", json!({"keys": [signer.jwk()]}).to_string());
    // Not a URL: nothing could be discovered there.
    let claims = with(&issuer.claims("alice"), json!({"iss": "urn:example:issuer"}));
    for source in [
        format!("jwks_file: '{}'", file.display()),
        format!("jwks_url: '{}/keys'", issuer.url()),
    ] {
        let provided = provided("urn:example:issuer", &source);
        let answer = provided.ask(&signer.sign(&claims), "mock").await;
        assert_eq!(answer.status, 200, "{source}: {}", answer.text());
        assert!(
            eventually(SOON, || provided.keys().contains("oidc:alice")).await,
            "{}",
            provided.keys()
        );
    }

    let refused = |more: &str| {
        world.gateway_error(&format!(
            "backends: [{{name: only, url: 'http://127.0.0.1:9'}}]\noidc: [{{issuer: 'urn:x', audience: mulberry, {more}}}]\n"
        ))
    };
    let empty = world.file("empty.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    let said = refused(&format!("jwks_file: '{}'", empty.display()));
    assert!(said.contains("no key that can verify a token"), "{said}");
    let no_keys = world.file("no.json", "{}");
    let said = refused(&format!("jwks_file: '{}'", no_keys.display()));
    assert!(said.contains("not a JSON Web Key Set"), "{said}");
    let said = refused("jwks_url: 'http://id.example/keys'");
    assert!(said.contains("use https"), "{said}");
}

#[tokio::test]
async fn a_file_of_keys_that_changes_is_read_again() {
    let issuer = Issuer::start().await;
    let (old, new) = (Signer::new("k", Algorithm::ES256), Signer::new("k", Algorithm::ES256));
    let keys = World::new();
    let of = |signer: &Signer| json!({"keys": [signer.jwk()]}).to_string();
    let file = keys.file("jwks.json", of(&old));
    let provided = provided("urn:x", &format!("jwks_file: '{}'", file.display()));
    let claims = with(&issuer.claims("alice"), json!({"iss": "urn:x"}));
    let (old_token, new_token) = (old.sign(&claims), new.sign(&claims));
    assert_eq!(provided.ask(&old_token, "mock").await.status, 200);
    provided
        .refuses("a key that is not in the file yet", &new_token, "signature")
        .await;

    // Broken first: that changes nothing.
    keys.file("jwks.json", "{");
    assert!(eventually(SOON, || provided.gateway.log().contains("not a JSON Web Key Set")).await);
    assert_eq!(provided.ask(&old_token, "mock").await.status, 200);
    keys.file("jwks.json", of(&new));
    assert!(eventually(SOON, || provided.gateway.log().contains("configuration reloaded")).await);
    assert_eq!(provided.ask(&new_token, "mock").await.status, 200);
    provided
        .refuses("a token that was believed under the old file", &old_token, "signature")
        .await;
}
