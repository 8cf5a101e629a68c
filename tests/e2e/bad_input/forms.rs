//! Forms that say one model to the gateway and another to an upstream.

use e2e::client::{Envelope, client, send};
use e2e::wait::SOON;
use e2e::{Answer, Rig, World, eventually};

/// A key for one model of two that the same upstream serves.
const CONFIG: &str = "keys: [{name: carl, secret: sk-carl-0123456789, models: [cheap]}, {name: any, secret: sk-any-0123456789}]\n\
     models: [{name: cheap, routes: [{backend: only}]}, {name: dear, routes: [{backend: only}]}]\n";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const DEPLOYMENT: &str = "/openai/deployments/cheap/audio/transcriptions?api-version=2024-10-21";
const FORM: &str = "multipart/form-data; boundary=X";

fn rig() -> Rig {
    let world = World::new();
    let mock = world.mock(&["--model", "cheap", "--model", "dear"]);
    let url = mock.url();
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{url}', health: {{enabled: false}}}}]\n{CONFIG}"
    ));
    Rig { gateway, mock, world }
}

fn part(disposition: &str, value: &str) -> String {
    format!("--X\r\ncontent-disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

/// A form of these parts.
fn form(parts: &[String]) -> String {
    format!("{}--X--\r\n", parts.concat())
}

async fn post(rig: &Rig, key: &str, path: &str, content_type: &str, body: String) -> Answer {
    let request = client().post(rig.url(path)).bearer_auth(key).body(body);
    Answer::of(send(request.header("content-type", content_type)).await).await
}

/// A limited key's request is refused like this, and no upstream was told of the model `dear` in a whole form.
async fn assert_kept_from(
    rig: &Rig,
    path: &str,
    content_type: &str,
    body: String,
    status: u16,
    code: &str,
) -> Envelope {
    let shown: String = body.chars().take(200).collect();
    let envelope = post(rig, "sk-carl-0123456789", path, content_type, body)
        .await
        .envelope();
    assert_eq!(
        (envelope.status, envelope.code.as_deref()),
        (status, Some(code)),
        "{path} {shown:?}: {envelope:?}"
    );
    assert_eq!(rig.mock.log().len(), 0, "{shown:?}");
    envelope
}

#[tokio::test]
async fn a_key_for_one_model_reaches_no_other_through_a_form() {
    let rig = rig();
    let cheap = part("name=\"model\"", "cheap");
    let dear = part("name=\"model\"", "dear");
    let file = part("name=\"file\"; filename=\"a.wav\"", "RIFF");
    let large = part("name=\"file\"; filename=\"a.wav\"", &"\0".repeat(4 << 20));

    let refused = assert_kept_from(
        &rig,
        TRANSCRIPTIONS,
        FORM,
        form(&[file.clone(), dear.clone()]),
        403,
        "model_not_allowed",
    )
    .await;
    assert_eq!(refused.param.as_deref(), Some("model"));
    for (second, code) in [
        (dear.clone(), "duplicate_parameter"),
        (part("name=model", "dear"), "duplicate_parameter"),
        (part("NAME=\"mo\\del\"", "dear"), "duplicate_parameter"),
        (part("name*=utf-8''model", "dear"), "invalid_value"),
        (part("name=\"x\"; name=\"model\"", "dear"), "invalid_value"),
        (dear.replace("\r\n", "\n"), "invalid_value"),
    ] {
        let at_once = form(&[cheap.clone(), second.clone(), file.clone()]);
        assert_kept_from(&rig, TRANSCRIPTIONS, FORM, at_once, 400, code).await;
        let behind_the_file = form(&[cheap.clone(), large.clone(), second]);
        assert_kept_from(&rig, TRANSCRIPTIONS, FORM, behind_the_file, 400, code).await;
    }
    // A decoy says `cheap` where only a careless reader looks for the model.
    for (decoy, status, code) in [
        ("name=\"x\"; filename=\"model\"", 403, "model_not_allowed"),
        ("name=\"x; name=model\"", 400, "invalid_value"),
        ("name=\"x\"; filename=\"; name=\\\"model\\\"\"", 400, "invalid_value"),
    ] {
        let body = form(&[part(decoy, "cheap"), file.clone(), dear.clone()]);
        assert_kept_from(&rig, TRANSCRIPTIONS, FORM, body, status, code).await;
    }
    let two_boundaries = "multipart/form-data; boundary=X; boundary=Y";
    assert_kept_from(
        &rig,
        TRANSCRIPTIONS,
        two_boundaries,
        form(&[cheap.clone(), file.clone()]),
        400,
        "invalid_value",
    )
    .await;

    let other = assert_kept_from(
        &rig,
        DEPLOYMENT,
        FORM,
        form(&[dear.clone(), file.clone()]),
        400,
        "invalid_value",
    )
    .await;
    assert_eq!(other.param.as_deref(), Some("model"));
    assert!(other.message.contains("the deployment named in the path"), "{other:?}");
    let late = assert_kept_from(&rig, DEPLOYMENT, FORM, form(&[large, dear]), 400, "invalid_value").await;
    assert!(late.message.contains("before the file"), "{late:?}");
    let json = r#"{"model":"dear","input":"a"}"#;
    assert_kept_from(
        &rig,
        "/openai/deployments/cheap/audio/speech",
        "text/plain",
        json.into(),
        400,
        "invalid_value",
    )
    .await;

    // What is allowed passes, so that the refusals above are no refusals of everything.
    for (path, body) in [
        (TRANSCRIPTIONS, form(&[cheap.clone(), file.clone()])),
        (
            TRANSCRIPTIONS,
            form(&[
                part("name=\"x\"; filename=\"model\"", "dear"),
                file.clone(),
                cheap.clone(),
            ]),
        ),
        (DEPLOYMENT, form(&[cheap, file.clone()])),
    ] {
        let answer = post(&rig, "sk-carl-0123456789", path, FORM, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(eventually(SOON, || rig.mock.log().len() == 3).await);
    assert!(
        rig.mock.log().iter().all(|entry| entry["model"] == "cheap"),
        "{:?}",
        rig.mock.log()
    );
}

#[tokio::test]
async fn a_model_behind_a_large_file_is_refused_with_advice() {
    let rig = rig();
    let large = part("name=\"file\"; filename=\"a.wav\"", &"\0".repeat(4 << 20));
    let body = form(&[large, part("name=\"model\"", "cheap")]);
    // A key for some models needs one to be named in time; another key's upload begins, and is stopped.
    let early = post(&rig, "sk-carl-0123456789", TRANSCRIPTIONS, FORM, body.clone())
        .await
        .envelope();
    assert_eq!(early.status, 403, "{early:?}");
    let late = post(&rig, "sk-any-0123456789", TRANSCRIPTIONS, FORM, body)
        .await
        .envelope();
    assert!(late.is(400, "invalid_request_error", "invalid_value"), "{late:?}");
    assert!(late.message.contains("before the file"), "{late:?}");
    assert_eq!(rig.mock.log().len(), 0);
}
