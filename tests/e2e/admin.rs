//! The admin API: who may, and what it tells.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::client::{chat, client, get, post, request, send};
use e2e::raw::exchange_and_close;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const GOVERNED: [(&str, &str); 15] = [
    ("GET", "status"),
    ("GET", "upstreams"),
    ("GET", "models"),
    ("GET", "usage"),
    ("GET", "requests"),
    ("GET", "config"),
    ("POST", "reload"),
    ("POST", "drain"),
    ("GET", "keys"),
    ("POST", "keys"),
    ("GET", "keys/alice"),
    ("PATCH", "keys/alice"),
    ("DELETE", "keys/alice"),
    ("POST", "keys/alice/rotate"),
    ("GET", "audit"),
];

async fn told(gateway: &Gateway, path: &str) -> Value {
    let answer = Answer::of(send(gateway.admin(Method::GET, path)).await).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// What waits for the next start must not move the token that the operator holds.
#[tokio::test]
async fn the_token_outlives_a_file_that_names_another_folder_or_no_listener() {
    let world = World::new();
    let mock = world.mock(&[]);
    let backends = format!("backends: [{{name: a, url: '{}'}}]\n", mock.url());
    let gateway = world.gateway(&backends);
    let other = world.dir().join("other");
    fs::create_dir(&other).expect("a folder can be made");
    for (key, line) in [
        ("data_dir", format!("data_dir: {}\n", other.display())),
        ("data_dir", "data_dir: null\n".to_owned()),
        ("admin_listen", "admin_listen: null\n".to_owned()),
    ] {
        gateway.rewrite(&format!("{backends}{line}"));
        let answer = gateway.reload().await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        assert_eq!(answer.json()["needs_restart"], json!([key]));
        told(&gateway, "status").await;
    }
    let made = fs::read_dir(&other).expect("it is there").count();
    assert_eq!(made, 0, "nothing is written where the gateway does not live yet");
}

#[tokio::test]
async fn nothing_is_told_without_a_token() {
    let world = World::new();
    let mock = world.mock(&[]);
    let mut gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let token = gateway.admin_token();
    let wrong = [
        String::new(),
        "Bearer ".to_owned(),
        format!("Bearer {}", &token[1..]),
        format!("Basic {token}"),
        token.clone(),
    ];
    for (method, path) in GOVERNED {
        for value in &wrong {
            let url = format!("{}/admin/v1/{path}", gateway.admin_url());
            let method = method.parse::<Method>().expect("it is a method");
            let request = client().request(method, url).header("authorization", value);
            let envelope = Answer::of(send(request).await).await.envelope();
            assert!(
                envelope.is(401, "invalid_request_error", "invalid_admin_token"),
                "{path} {envelope:?}"
            );
        }
    }
    assert!(gateway.is_running());
    for path in ["livez", "readyz", "metrics"] {
        let answer = get(&format!("{}/{path}", gateway.admin_url())).await;
        assert_eq!(answer.status(), 200, "{path}");
    }
    let nowhere = send(gateway.admin(Method::GET, "nothing")).await;
    assert_eq!(nowhere.status(), 404);
}

#[tokio::test]
async fn the_token_is_made_once_and_only_its_owner_can_read_it() {
    let world = World::new();
    let mock = world.mock(&[]);
    let yaml = format!("backends: [{{name: a, url: '{}'}}]\n", mock.url());
    let gateway = world.gateway(&yaml);
    let path = gateway.data_dir().join("admin.token");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = gateway.admin_token();
    assert!(!gateway.log().contains(&token));

    let again = world.gateway(&format!("{yaml}data_dir: {}\n", gateway.data_dir().display()));
    let url = format!("{}/admin/v1/status", again.admin_url());
    assert_eq!(send(client().get(&url).bearer_auth(&token)).await.status(), 200);

    // A token of the configuration takes its place, at once.
    again.rewrite(&format!(
        "{yaml}data_dir: {}\nadmin: {{tokens: [{{name: ops, secret: of-the-operators}}]}}\n",
        gateway.data_dir().display()
    ));
    again.signal("HUP");
    assert!(eventually(SOON, || again.log().contains("configuration reloaded")).await);
    assert_eq!(send(client().get(&url).bearer_auth(&token)).await.status(), 401);
    assert_eq!(
        send(client().get(&url).bearer_auth("of-the-operators")).await.status(),
        200
    );
}

#[tokio::test]
async fn it_tells_how_things_stand() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "keys: [{{name: alice, secret: sk-alice}}]\nbackends:\n  - {{name: good, url: '{}'}}\n  - {{name: lost, url: 'http://127.0.0.1:9', health: {{interval: 100ms}}}}\nmodels:\n  - {{name: m, routes: [{{backend: good, model: mock}}], price: {{prompt: 2.50, completion: 10}}}}\n",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asked = Answer::of(send(request(&url, chat("m")).bearer_auth("sk-alice")).await).await;
    assert_eq!(asked.status, 200, "{}", asked.text());

    let status = told(&gateway, "status").await;
    assert_eq!(
        (&status["phase"], &status["in_flight"]),
        (&json!("serving"), &json!(0)),
        "{status}"
    );

    let mut last = Value::Null;
    for _ in 0..100 {
        last = told(&gateway, "upstreams").await["data"][1].clone();
        if last["in_use"] == false {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        (&last["health"], &last["why"]),
        (&json!("down"), &json!("its health check fails"))
    );
    let models = told(&gateway, "models").await;
    assert_eq!(models["data"][0]["price"]["prompt"], "2.5", "{models}");

    let mut requests = Value::Null;
    for _ in 0..100 {
        requests = told(&gateway, "requests?limit=5").await["data"].clone();
        if requests[0].is_object() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        (&requests[0]["key"], &requests[0]["status"]),
        (&json!("alice"), &json!(200)),
        "{requests}"
    );
    let usage = told(&gateway, "usage?by=key").await;
    assert_eq!(
        (&usage["data"][0]["group"], &usage["data"][0]["requests"]),
        (&json!("alice"), &json!(1))
    );
    let config = told(&gateway, "config").await;
    let yaml = config["yaml"].as_str().unwrap_or_default();
    assert!(yaml.contains("sha256: \"***\"") && !yaml.contains("sk-alice"), "{yaml}");

    for path in ["usage?by=colour", "usage?day=1", "requests?limit=many"] {
        let answer = Answer::of(send(gateway.admin(Method::GET, path)).await).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_clients_api_is_there_for_who_holds_a_token() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let url = format!("{}/v1/chat/completions", gateway.admin_url());
    assert_eq!(post(&url, chat("mock")).await.status(), 401);
    let allowed = request(&url, chat("mock")).header("x-mulberry-admin-token", gateway.admin_token());
    assert_eq!(send(allowed).await.status(), 200);
    let seen = mock.log().last().cloned().unwrap_or_default().to_string();
    assert!(
        !seen.contains(&gateway.admin_token()),
        "the token went on to the upstream"
    );
}

#[tokio::test]
async fn an_administrator_drains() {
    let world = World::new();
    let mock = world.mock(&[]);
    let mut gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    assert_eq!(send(gateway.admin(Method::POST, "drain")).await.status(), 202);
    assert_eq!(gateway.wait(SOON).await.code(), Some(0));
}

/// The schema that an answer has in the document, following references.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("references resolve"),
        None => schema,
    }
}

/// Every member of a value is described, and every member that must be there is.
fn described(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolved(document, schema);
    match value {
        Value::Object(members) if schema["properties"].is_object() => {
            for (name, value) in members {
                let described_as = &schema["properties"][name];
                assert!(described_as.is_object(), "{place}.{name} is not described");
                described(document, described_as, value, &format!("{place}.{name}"));
            }
            for required in schema["required"].as_array().into_iter().flatten() {
                let name = required.as_str().expect("names are texts");
                assert!(members.contains_key(name), "{place}.{name} is missing");
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter().enumerate() {
                described(document, &schema["items"], item, &format!("{place}[{nth}]"));
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_document_describes_what_is_answered() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "keys: [{{name: alice, secret: sk-alice}}]\nbackends: [{{name: a, url: '{}'}}]\nmodels: [{{name: m, routes: [{{backend: a, model: mock}}], price: {{prompt: 1}}}}]",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    assert_eq!(
        send(request(&url, chat("m")).bearer_auth("sk-alice")).await.status(),
        200
    );
    let document = Answer::of(get(&format!("{}/openapi.json", gateway.admin_url())).await)
        .await
        .json();
    let paths = document["paths"].as_object().expect("there are paths");
    assert!(
        paths.contains_key("/v1/chat/completions"),
        "the clients' API is here too"
    );
    let governed = paths.iter().filter(|(path, _)| path.starts_with("/admin/v1/"));
    let mut operations: Vec<_> = governed
        .flat_map(|(path, item)| {
            item.as_object()
                .into_iter()
                .flatten()
                .map(move |(method, operation)| (path, method, operation))
        })
        // What ends the gateway, what needs a second one, a charge or a chain, and what is no JSON, is tried where these are.
        .filter(|(path, ..)| {
            let elsewhere = [
                "/drain",
                "/forget",
                "/lift",
                "/registry",
                "/receipts/{id}",
                "/ledger/export",
            ];
            !elsewhere.iter().any(|end| path.ends_with(end)) && !path.contains("/channels")
        })
        .collect();
    let founded = gateway.admin(reqwest::Method::POST, "accounts");
    let founded = send(founded.body(r#"{"id": "org:acme", "currency": "USD"}"#)).await;
    assert_eq!(founded.status(), 201, "the example is a team of it");
    // A key must be made before it is changed, and changed before it is revoked.
    // A check begins before it is looked at.
    operations.sort_by_key(|(path, method, _)| (path.len(), path.ends_with("/verify") && *method == "get"));
    operations.sort_by_key(|(_, method, _)| *method == "delete");
    let mut asked = 0;
    for (path, method, operation) in operations {
        let answers = operation["responses"].as_object().expect("responses");
        let (status, answer) = answers
            .iter()
            .find(|(status, _)| status.starts_with('2'))
            .expect("a good one");
        let short = path.trim_start_matches("/admin/v1/").replace("{name}", "made");
        let short = short.replace("{id}", "org:acme");
        let mut request = gateway.admin(method.to_uppercase().parse().expect("a method"), &short);
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        if body.is_object() {
            let text = body.to_string();
            let text = text.replace("\"alice\"", "\"made\"");
            // A name of a movement is given once.
            request = request.body(text.replace("\"invoice-7\"", &format!("\"{short}\"").replace('/', "-")));
        }
        let answered = Answer::of(send(request).await).await;
        assert_eq!(answered.status.as_str(), status, "{method} {path}: {}", answered.text());
        let schema = &answer["content"]["application/json"]["schema"];
        described(&document, schema, &answered.json(), &format!("{method} {path}"));
        asked += 1;
    }
    assert_eq!(asked, 28, "an operation is not in the document, or new");
}

#[tokio::test]
async fn a_change_is_whole_though_whoever_asked_for_it_has_left() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let address = gateway.admin_url().replace("http://", "");
    let head = format!(
        "POST /admin/v1/reload HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: 0\r\n\r\n",
        gateway.admin_token()
    );
    for _ in 0..20 {
        // One that left late may have been answered.
        drop(exchange_and_close(&address, head.as_bytes()));
    }
    // Some leave so soon that nothing is begun.
    let begun = || gateway.log().matches("an administrator reloads").count();
    assert!(eventually(SOON, || begun() > 0).await);
    let mut written = 0;
    for _ in 0..200 {
        written = told(&gateway, "audit").await["data"].as_array().map_or(0, Vec::len);
        if written == begun() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} reloads were begun, and {written} are in the audit log", begun());
}
