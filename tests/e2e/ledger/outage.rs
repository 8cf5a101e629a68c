//! The database is paused or away: what was leased is served, nothing is lost, and nothing is free.

use std::time::{Duration, Instant};

use e2e::client::send;
use e2e::spender::{Question, Seen, Spender};
use e2e::wait::SOON;
use serde_json::json;

use super::{Books, KEY, Mode, Stage, units, verify};

const BUDGET: u64 = 1_000_000_000;
/// Far less than anything that waits for a database that does not answer.
const AT_ONCE: Duration = Duration::from_secs(2);

fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        model: "fault/tokens-8".to_owned(),
        prompt: "word word".to_owned(),
        is_stream: true,
        max_tokens: Some(16),
    }
}

/// What a gateway says that may lease nothing.
fn closed() -> Seen {
    Seen::Refused {
        status: 503,
        code: "ledger_unavailable".to_owned(),
    }
}

/// Asks until the gateway has leased something.
async fn warm(spender: &Spender) -> Vec<(String, Seen)> {
    let (mut seen, mut ends) = (Vec::new(), 0);
    let deadline = Instant::now() + SOON;
    while ends < 3 {
        let id = format!("warm-{}", seen.len());
        let answer = spender.ask(&question(&id)).await;
        if matches!(answer, Seen::End(_)) {
            ends += 1;
        } else {
            // A gateway that has just started may not know in time what it may lease.
            assert!(answer == closed() && Instant::now() < deadline, "{answer:?}");
        }
        seen.push((id, answer));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_database_holds_up_no_answer() {
    let Some(stage) = Stage::new(Mode::Local) else { return };
    let server = stage.server.as_ref().expect("the mode has one");
    let gateway = stage.gateway("n1", &units(BUDGET), ", lease: 60s");
    let spender = Spender::new(&gateway.url(), KEY);
    let mut seen = warm(&spender).await;
    server.pause();
    for i in 0..20 {
        let id = format!("paused-{i}");
        let began = Instant::now();
        let answer = spender.ask(&question(&id)).await;
        assert!(matches!(answer, Seen::End(_)), "{id}: {answer:?}");
        assert!(began.elapsed() < AT_ONCE, "{id} took {:?}", began.elapsed());
        seen.push((id, answer));
    }
    server.resume();
    whole(&gateway, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_database_holds_up_no_beginning() {
    let Some(stage) = Stage::new(Mode::Direct) else { return };
    let server = stage.server.as_ref().expect("the mode has one");
    let gateway = stage.gateway("n1", &units(BUDGET), ", lease: 60s");
    let spender = Spender::new(&gateway.url(), KEY);
    let seen = warm(&spender).await;
    server.pause();
    let began = Instant::now();
    let body = json!({
        "model": "fault/tokens-8", "max_tokens": 16, "stream": true,
        "messages": [{"role": "user", "content": "word"}],
    });
    let request = e2e::client::client()
        .post(format!("{}/v1/chat/completions", gateway.url()))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(body.to_string());
    let mut response = send(request).await;
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    let mut more = async |text: &mut String| {
        let piece = response.chunk().await.expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&piece.unwrap_or_default()));
    };
    while !text.contains("\"content\"") {
        more(&mut text).await;
    }
    assert!(began.elapsed() < AT_ONCE, "the beginning took {:?}", began.elapsed());
    // The end is not durable, and so it is not told.
    let ended = tokio::time::timeout(Duration::from_secs(1), async {
        while !text.contains("[DONE]") {
            more(&mut text).await;
        }
    });
    assert!(ended.await.is_err(), "an end that is not durable: {text}");
    server.resume();
    let ended = tokio::time::timeout(SOON, async {
        while !text.contains("[DONE]") {
            more(&mut text).await;
        }
    });
    assert!(ended.await.is_ok(), "no end: {text}");
    whole(&gateway, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_that_were_not_shipped_survive_a_kill() {
    let Some(stage) = Stage::new(Mode::Local) else { return };
    let server = stage.server.as_ref().expect("the mode has one");
    let mut gateway = stage.gateway("n1", &units(BUDGET), ", lease: 60s");
    let spender = Spender::new(&gateway.url(), KEY);
    let mut seen = warm(&spender).await;
    server.stop();
    for i in 0..300 {
        let id = format!("unshipped-{i}");
        let answer = spender.ask(&question(&id)).await;
        assert!(matches!(answer, Seen::End(_)), "{id}: {answer:?}");
        seen.push((id, answer));
    }
    gateway.kill();
    server.start_again();
    let gateway = stage.gateway("n1", &units(BUDGET), ", lease: 60s");
    whole(&gateway, &seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_lease_closes_the_gateway_until_it_is_over() {
    for mode in [Mode::Direct, Mode::Local] {
        let Some(stage) = Stage::new(mode) else { return };
        let server = stage.server.as_ref().expect("both modes have one");
        let gateway = stage.gateway("n1", &units(BUDGET), "");
        let spender = Spender::new(&gateway.url(), KEY);
        let mut seen = warm(&spender).await;
        server.stop();
        let closed = closed();
        // The lease is 5 s. A question that was held before waits for its charge to be durable, which may take long.
        let deadline = Instant::now() + 3 * SOON;
        for i in 0.. {
            let id = format!("away-{i}");
            let answer = spender.ask(&question(&id)).await;
            let is_closed = answer == closed;
            seen.push((id, answer));
            if is_closed {
                break;
            }
            assert!(Instant::now() < deadline, "it never closed: {seen:?}");
        }
        // And stays so: never a free answer.
        let still = spender.ask(&question("still")).await;
        assert_eq!(still, closed, "{mode:?}");
        server.start_again();
        let deadline = Instant::now() + SOON;
        for i in 0.. {
            let id = format!("back-{i}");
            let answer = spender.ask(&question(&id)).await;
            let is_open = matches!(answer, Seen::End(_));
            seen.push((id, answer));
            if is_open {
                break;
            }
            assert!(Instant::now() < deadline, "it does not come back: {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        whole(&gateway, &seen).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_of_the_same_name_takes_nothing_from_the_first() {
    let Some(stage) = Stage::new(Mode::Local) else { return };
    let server = stage.server.as_ref().expect("the mode has one");
    let first = stage.gateway("n1", &units(BUDGET), ", lease: 60s");
    let spender = Spender::new(&first.url(), KEY);
    let mut seen = warm(&spender).await;
    // What is under way cannot be shipped, and another one comes before it is.
    server.sql(
        stage.database_name(),
        "CREATE FUNCTION mulberry.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full' \
         USING ERRCODE = '53100'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON mulberry.charges EXECUTE FUNCTION mulberry.refuse();",
    );
    for i in 0..5 {
        let id = format!("unshipped-{i}");
        let answer = spender.ask(&question(&id)).await;
        assert!(matches!(answer, Seen::End(_)), "{id}: {answer:?}");
        seen.push((id, answer));
    }
    let second = stage.namesake("n1", &units(BUDGET), ", lease: 60s");
    let refused = Spender::new(&second.url(), KEY).ask(&question("second")).await;
    assert_eq!(refused, closed());
    server.sql(stage.database_name(), "DROP TRIGGER refuse ON mulberry.charges;");
    whole(&first, &seen).await;
}

/// The ledger comes to have all that was seen, and is right.
async fn whole(gateway: &e2e::Gateway, seen: &[(String, Seen)]) {
    let ends: Vec<&String> = seen
        .iter()
        .filter_map(|(id, seen)| matches!(seen, Seen::End(_)).then_some(id))
        .collect();
    let deadline = Instant::now() + SOON;
    let books = loop {
        let books = Books::of(gateway).await;
        if ends.iter().all(|id| books.captured.contains_key(*id)) || Instant::now() > deadline {
            break books;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    books.agree_with(seen, "after the outage");
    verify(gateway, "after the outage").await;
}
