use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellFamily as _},
};

use super::*;
use crate::{chain::Status, transaction::fake};

/// A toncenter that answers as the test says, and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(Value, HeaderMap)>>>,
    task: JoinHandle<()>,
}

type Script = Arc<dyn Fn(&Value) -> Response + Send + Sync>;

impl Server {
    /// One of the test network.
    async fn start(script: impl Fn(&Value) -> Response + Send + Sync + 'static) -> Self {
        Self::with(script, false, Duration::ZERO).await
    }

    /// `says_network`: of which network it is, the script says.
    /// `takes`: so long for each answer.
    async fn with(
        script: impl Fn(&Value) -> Response + Send + Sync + 'static,
        says_network: bool,
        takes: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Script = Arc::new(script);
        let keep = asked.clone();
        let answer = move |State(()): State<()>, headers: HeaderMap, body: Bytes| async move {
            let question: Value = serde_json::from_slice(&body).expect("a question is JSON");
            if question["params"]["config_id"] == GLOBAL_ID && !says_network {
                return of_network(Network::TESTNET);
            }
            tokio::time::sleep(takes).await;
            let response = script(&question);
            keep.lock().expect("no test panicked").push((question, headers));
            response
        };
        let router = Router::new().route("/api/v2/jsonRPC", post(answer)).with_state(());
        let task = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("it serves until it is stopped");
        });
        Self { address, asked, task }
    }

    fn chain(&self) -> Toncenter {
        let settings = Settings {
            network: Network::TESTNET,
            url: format!("http://{}/api/v2/", self.address),
            api_key: Some("secret key".to_owned()),
        };
        Toncenter::with_patience(settings, None, Duration::from_secs(5)).expect("good settings")
    }

    fn questions(&self) -> Vec<Value> {
        let asked = self.asked.lock().expect("no test panicked");
        asked.iter().map(|(question, _)| question.clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn of_network(Network(id): Network) -> Response {
    let mut builder = tycho_types::cell::CellBuilder::new();
    builder.store_u32(id.cast_unsigned()).expect("it fits");
    let bag = Boc::encode(builder.build().expect("a cell"));
    ok(json!({ "config": { "bytes": STANDARD.encode(bag) } }))
}

fn ok(result: Value) -> Response {
    json!({ "ok": true, "result": result, "jsonrpc": "2.0", "id": "1" })
        .to_string()
        .into_response()
}

fn failed(status: StatusCode, code: i64, error: &str) -> Response {
    let body = json!({ "ok": false, "error": error, "code": code });
    (status, body.to_string()).into_response()
}

const NOBODYS: Account = Account {
    workchain: 0,
    hash: [7; 32],
};

fn information() -> Value {
    json!({
        "@type": "raw.fullAccountState",
        "balance": "1500000000",
        "extra_currencies": [],
        "state": "active",
        "code": Boc64::of(1),
        "data": Boc64::of(2),
        "last_transaction_id": { "@type": "internal.transactionId", "lt": "47", "hash": STANDARD.encode([9; 32]) },
        "block_id": { "workchain": -1, "shard": "-9223372036854775808", "seqno": 100, "root_hash": "", "file_hash": "" },
        "frozen_hash": "",
        "sync_utime": 1_800_000_000,
    })
}

/// A bag of one cell with a number in it, in Base64.
struct Boc64;

impl Boc64 {
    fn of(number: u32) -> String {
        STANDARD.encode(Self::bytes(number))
    }

    fn bytes(number: u32) -> Vec<u8> {
        let mut builder = tycho_types::cell::CellBuilder::new();
        builder.store_u32(number).expect("it fits");
        Boc::encode(builder.build().expect("a cell"))
    }
}

#[tokio::test]
async fn an_account_is_read() {
    let server = Server::start(|_| ok(information())).await;
    let chain = server.chain();
    let state = chain.account(NOBODYS).await.expect("an answer");
    let head = Head {
        seqno: 100,
        time: 1_800_000_000,
    };
    let expect = AccountState {
        head,
        balance: 1_500_000_000,
        last: Some(Cursor { lt: 47, hash: [9; 32] }),
        status: Status::Active {
            code: Boc64::bytes(1),
            data: Boc64::bytes(2),
        },
    };
    assert_eq!(state, expect);
    assert_eq!(chain.head().await.expect("an answer"), head);
    let asked = server.asked.lock().expect("no test panicked").clone();
    assert_eq!(asked[0].0["method"], "getAddressInformation");
    assert_eq!(asked[0].0["params"]["address"], address::raw(&NOBODYS));
    assert_eq!(asked[0].1["x-api-key"], "secret key");
    assert!(!format!("{:?}", chain).contains("secret"));
}

#[tokio::test]
async fn cells_are_the_same_however_they_are_written() {
    let written = fake::indexed(&Boc64::bytes(2));
    assert_ne!(written, Boc64::bytes(2));
    let told = STANDARD.encode(&written);
    let server = Server::start(move |question| match question["method"].as_str() {
        Some("getConfigParam") => ok(json!({ "config": { "bytes": told } })),
        _ => {
            let mut answer = information();
            answer["data"] = told.clone().into();
            ok(answer)
        }
    })
    .await;
    let expect = Status::Active {
        code: Boc64::bytes(1),
        data: Boc64::bytes(2),
    };
    assert_eq!(server.chain().account(NOBODYS).await.expect("an answer").status, expect);
    assert_eq!(
        server.chain().config_parameter(20).await.expect("an answer"),
        Some(Boc64::bytes(2))
    );
}

#[tokio::test]
async fn a_server_of_another_network_is_told_nothing() {
    let of = |answer: fn() -> Response| {
        let script = move |question: &Value| match question["method"].as_str() {
            Some("getConfigParam") => answer(),
            _ => ok(information()),
        };
        Server::with(script, true, Duration::ZERO)
    };
    let server = of(|| of_network(Network::MAINNET)).await;
    let chain = server.chain();
    let is_of_another = |error: &ChainError| {
        matches!(
            error,
            ChainError::Network {
                wanted: Network::TESTNET,
                found: Network::MAINNET
            }
        )
    };
    let error = chain.account(NOBODYS).await.expect_err("it is of another network");
    assert!(is_of_another(&error), "{error}");
    let error = chain.send(b"a message").await.expect_err("it is of another network");
    assert!(is_of_another(&error), "{error}");
    // Nothing but the question about itself.
    let asked = server.questions();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|asked| asked["params"] == json!({ "config_id": 19 })),
        "{asked:?}"
    );

    // It does not say.
    for silent in [
        || ok(json!({ "config": { "bytes": "" } })),
        || ok(json!({ "config": { "bytes": STANDARD.encode(Boc::encode(Cell::empty_cell())) } })),
    ] {
        let server = of(silent).await;
        let error = server.chain().account(NOBODYS).await.expect_err("it does not say");
        assert!(matches!(error, ChainError::Unreadable(_)), "{error}");
        assert_eq!(server.questions().len(), 1);
    }

    // Once is enough.
    let server = of(|| of_network(Network::TESTNET)).await;
    let chain = server.chain();
    for _ in 0..3 {
        chain.account(NOBODYS).await.expect("an answer");
    }
    assert_eq!(server.questions().len(), 4);
}

#[tokio::test]
async fn who_may_ask_once_a_second_gets_an_answer() {
    let limited = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |_| {
        if limited.swap(false, std::sync::atomic::Ordering::Relaxed) {
            (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response()
        } else {
            ok(information())
        }
    })
    .await;
    assert!(server.chain().account(NOBODYS).await.is_ok());
    assert_eq!(server.questions().len(), 2);
}

/// A public server without a key: whatever is asked at once is answered, one after the other.
#[tokio::test]
async fn a_burst_is_spread_over_what_a_server_allows() {
    let last = Mutex::new(None::<std::time::Instant>);
    let server = Server::start(move |_| {
        let mut last = last.lock().expect("no test panicked");
        let is_soon = last.is_some_and(|last| last.elapsed() < Duration::from_millis(100));
        if is_soon {
            return (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response();
        }
        *last = Some(std::time::Instant::now());
        ok(information())
    })
    .await;
    let chain = server.chain();
    let asked = (0..6).map(|_| chain.account(NOBODYS));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Strangers who ask all day take a third of what there is.
#[tokio::test(start_paused = true)]
async fn strangers_leave_enough_for_us() {
    let pace = Arc::new(Pace::new(pace::WITHOUT_KEY));
    let theirs = Arc::new(Pace::new(Duration::ZERO));
    let (ours, others) = (pace.clone(), pace.clone());
    let strangers = tokio::spawn(async move {
        loop {
            let interval = others.interval().saturating_mul(STRANGERS);
            drop(theirs.turn_after(interval).await);
            drop(others.turn().await);
        }
    });
    let start = tokio::time::Instant::now();
    for _ in 0..20 {
        ours.turn().await.expect("there is a place");
    }
    assert!(start.elapsed() <= Duration::from_secs(31), "{:?}", start.elapsed());
    strangers.abort();
}

#[tokio::test]
async fn what_is_there_has_four_kinds() {
    let check = async |change: Value, expect: Status| {
        let server = Server::start(move |_| {
            let mut answer = information();
            for (name, value) in change.as_object().expect("an object") {
                answer[name] = value.clone();
            }
            ok(answer)
        })
        .await;
        let state = server.chain().account(NOBODYS).await.expect("an answer");
        assert_eq!(state.status, expect);
    };
    let never = json!({ "lt": "0", "hash": STANDARD.encode([0; 32]) });
    let none =
        json!({ "state": "uninitialized", "code": "", "data": "", "balance": "-1", "last_transaction_id": never });
    check(none, Status::Nonexistent).await;
    let none = json!({ "state": "uninitialized", "code": "", "data": "", "balance": 0, "last_transaction_id": never });
    check(none, Status::Nonexistent).await;
    let coins = json!({ "state": "uninitialized", "code": "", "data": "", "balance": 5 });
    check(coins, Status::Uninitialised).await;
    check(json!({ "state": "frozen", "code": "", "data": "" }), Status::Frozen).await;
}

/// What each answer makes of a question for an account.
async fn error_of(script: impl Fn() -> Response + Send + Sync + 'static) -> ChainError {
    let server = Server::start(move |_| script()).await;
    server.chain().account(NOBODYS).await.expect_err("no answer")
}

#[tokio::test]
async fn answers_that_are_none_are_named() {
    let unreadable = |error: &ChainError| matches!(error, ChainError::Unreadable(_));
    for (name, value) in [
        ("balance", json!("x")),
        ("balance", json!(1.5)),
        ("state", json!("unknown")),
        ("code", json!("!")),
        ("code", json!("")),
        ("data", json!("AAAA")),
        ("last_transaction_id", json!({ "lt": "47", "hash": "AAAA" })),
        ("last_transaction_id", json!({ "lt": "-3", "hash": "" })),
        ("block_id", json!({ "workchain": 0, "seqno": 1 })),
        ("block_id", json!({ "workchain": -1, "seqno": 4_294_967_296_u64 })),
        ("sync_utime", json!(-1)),
        ("sync_utime", Value::Null),
    ] {
        let error = error_of(move || {
            let mut answer = information();
            answer[name] = value.clone();
            ok(answer)
        });
        let error = error.await;
        assert!(unreadable(&error), "{name}: {error}");
    }
    for body in ["", "null", "[]", "{}", "{\"ok\":true}", "{\"ok\":1}", "<html>"] {
        let error = error_of(move || body.into_response()).await;
        assert!(unreadable(&error), "{body}: {error}");
    }
    let error = error_of(|| " ".repeat(MAX_BODY + 1).into_response()).await;
    assert!(unreadable(&error), "{error}");
    let redirect = || (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response();
    let error = error_of(redirect).await;
    assert!(unreadable(&error) && error.to_string().contains("redirect"), "{error}");
}

#[tokio::test]
async fn failures_are_sorted() {
    let error = error_of(|| (StatusCode::TOO_MANY_REQUESTS, "slow down").into_response()).await;
    assert!(matches!(error, ChainError::Limited), "{error}");
    let error = error_of(|| failed(StatusCode::OK, 429, "Ratelimit exceed")).await;
    assert!(matches!(error, ChainError::Limited), "{error}");
    let error = error_of(|| (StatusCode::BAD_GATEWAY, "<html>").into_response()).await;
    assert!(matches!(error, ChainError::Unreachable(_)), "{error}");
    let error = error_of(|| failed(StatusCode::INTERNAL_SERVER_ERROR, 500, "a\nb\u{1b}[1m")).await;
    assert!(
        matches!(&error, ChainError::Unreachable(said) if !said.contains(char::is_control)),
        "{error}"
    );

    let settings = Settings {
        network: Network::TESTNET,
        url: "http://127.0.0.1:1/api/v2".to_owned(),
        api_key: None,
    };
    let chain = Toncenter::new(settings, None).expect("good settings");
    let error = chain.head().await.expect_err("nobody is there");
    assert!(matches!(error, ChainError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let settings = Settings {
        network: Network::TESTNET,
        url: format!("http://{}/api/v2", silent.local_addr().expect("it is bound")),
        api_key: None,
    };
    let chain = Toncenter::with_patience(settings, None, Duration::from_millis(50)).expect("good settings");
    let error = chain.head().await.expect_err("no answer");
    assert!(matches!(error, ChainError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_message_is_taken_refused_or_lost_on_the_way() {
    let check = async |script: fn() -> Response| {
        let server = Server::start(move |_| script()).await;
        let sent = server.chain().send(b"a message").await;
        assert_eq!(server.questions()[0]["params"]["boc"], STANDARD.encode(b"a message"));
        sent
    };
    assert!(check(|| ok(json!({ "@type": "ok" }))).await.is_ok());
    let refused = || {
        failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            500,
            "LITE_SERVER_UNKNOWN: cannot apply external message",
        )
    };
    assert!(matches!(check(refused).await, Err(ChainError::Refused(_))));
    let timeout = || failed(StatusCode::INTERNAL_SERVER_ERROR, 500, "LITE_SERVER_NETWORK: timeout");
    assert!(matches!(check(timeout).await, Err(ChainError::Unreachable(_))));
    let busy = || failed(StatusCode::SERVICE_UNAVAILABLE, 503, "no working lite-servers");
    assert!(matches!(check(busy).await, Err(ChainError::Unreachable(_))));
}

#[tokio::test]
async fn a_parameter_is_there_or_not() {
    let server = Server::start(|_| ok(json!({ "config": { "bytes": Boc64::of(5) } }))).await;
    assert_eq!(
        server.chain().config_parameter(20).await.expect("an answer"),
        Some(Boc64::bytes(5))
    );
    assert_eq!(server.questions()[0]["params"]["config_id"], 20);
    let server = Server::start(|_| ok(json!({ "config": { "bytes": "" } }))).await;
    assert_eq!(server.chain().config_parameter(20).await.expect("an answer"), None);
    let server = Server::start(|_| ok(json!({ "config": { "bytes": "AAAA" } }))).await;
    let error = server.chain().config_parameter(20).await.expect_err("no parameter");
    assert!(matches!(error, ChainError::Unreadable(_)), "{error}");
}

fn shown(transaction: &Transaction) -> Value {
    json!({
        "utime": transaction.time,
        "data": STANDARD.encode(&transaction.cell),
        "transaction_id": { "lt": transaction.at.lt.to_string(), "hash": STANDARD.encode(transaction.at.hash) },
        "fee": "0",
    })
}

/// Pages a history as a toncenter does; `knows` whether it understands `to_lt`.
fn paged(history: &[Transaction], params: &Value, knows: bool) -> Response {
    let number = |name: &str| params[name].as_str().map(|text| text.parse::<u64>().expect("a number"));
    let to_lt = number("to_lt").filter(|_| knows).unwrap_or(0);
    let newest_first = history.iter().rev();
    let from = newest_first.skip_while(|one| number("lt").is_some_and(|lt| one.at.lt != lt));
    let limit = usize::try_from(params["limit"].as_u64().expect("a limit")).expect("a small one");
    let page = from.take(limit).take_while(|one| one.at.lt > to_lt);
    ok(page.map(shown).collect())
}

#[tokio::test]
async fn a_history_is_read_from_its_cursor_on() {
    let times: Vec<u64> = (1..=100).map(|at| at * 10).collect();
    let history = fake::history(NOBODYS, &times);
    for knows in [true, false] {
        let whole = history.clone();
        let server = Server::start(move |question| paged(&whole, &question["params"], knows)).await;
        let chain = server.chain();
        let check = async |after: Option<usize>, limit: usize, expect: &[Transaction]| {
            let after = after.map(|at| history[at].at);
            let read = chain.transactions(NOBODYS, after, limit).await.expect("a history");
            assert_eq!(read, expect, "after {after:?}, at most {limit}");
        };
        check(None, 1000, &history).await;
        check(None, 7, &history[..7]).await;
        check(None, 0, &[]).await;
        check(Some(0), 1000, &history[1..]).await;
        check(Some(40), 5, &history[41..46]).await;
        check(Some(98), 5, &history[99..]).await;
        check(Some(99), 5, &[]).await;
    }
}

#[tokio::test]
async fn a_history_has_an_end_in_time_however_slow_its_pages_are() {
    let times: Vec<u64> = (1..=640).collect();
    let history = fake::history(NOBODYS, &times);
    let whole = history.clone();
    // Twenty pages, each well within the patience for one.
    let script = move |question: &Value| paged(&whole, &question["params"], true);
    let server = Server::with(script, false, Duration::from_millis(50)).await;
    let mut chain = server.chain();
    let within = |chain: &mut Toncenter, patience| {
        let server = Arc::get_mut(&mut chain.server).expect("nobody else has it");
        server.for_history = patience;
    };
    within(&mut chain, Duration::from_millis(300));
    let error = chain.transactions(NOBODYS, None, 1000).await.expect_err("too slow");
    assert!(
        matches!(&error, ChainError::Unreachable(said) if said.contains("history")),
        "{error}"
    );
    within(&mut chain, PATIENCE_FOR_HISTORY);
    let read = chain.transactions(NOBODYS, None, 1000).await.expect("in time");
    assert_eq!(read, history);
}

#[tokio::test]
async fn a_history_that_was_changed_is_found_out() {
    let history = fake::history(NOBODYS, &[10, 20, 30, 40]);
    let check = async |told: Vec<Transaction>, after: Option<Cursor>, is_contradiction: bool| {
        let server = Server::start(move |question| paged(&told, &question["params"], false)).await;
        let error = server
            .chain()
            .transactions(NOBODYS, after, 9)
            .await
            .expect_err("it is wrong");
        let found = matches!(error, ChainError::Contradiction(_));
        assert!(
            found == is_contradiction && (found || matches!(error, ChainError::Unreadable(_))),
            "{error}"
        );
    };
    // One left out, one twice, another account's, one with another's hash.
    let without = vec![history[0].clone(), history[1].clone(), history[3].clone()];
    check(without, None, false).await;
    let twice = vec![history[0].clone(), history[1].clone(), history[1].clone()];
    check(twice, None, false).await;
    let stranger = Account {
        workchain: 0,
        hash: [8; 32],
    };
    check(fake::history(stranger, &[10]), None, false).await;
    let mut renamed = history[0].clone();
    renamed.at.hash = [1; 32];
    check(vec![renamed], None, false).await;
    // A chain without the transaction that we stand at: a fork, or a reset.
    let fork = fake::history(NOBODYS, &[11, 21, 31]);
    check(fork.clone(), Some(history[1].at), true).await;
    check(fork, Some(history[3].at), true).await;
    // The oldest are not there any more.
    check(history[2..].to_vec(), None, false).await;
}

#[tokio::test]
async fn what_an_account_made_anew_did_before_is_not_passed_over() {
    let anew = fake::history(NOBODYS, &[50, 60]);
    let told = anew.clone();
    let server = Server::start(move |question| paged(&told, &question["params"], true)).await;
    let before = Cursor { lt: 40, hash: [4; 32] };
    let read = server
        .chain()
        .transactions(NOBODYS, Some(before), 9)
        .await
        .expect_err("what it did after the cursor is nowhere");
    assert!(matches!(read, ChainError::Anew { after: 40 }), "{read}");
    // Who knows nothing of it is told its second life as its first.
    let read = server.chain().transactions(NOBODYS, None, 9).await;
    assert_eq!(read.expect("a history"), anew);
    assert!(!server.chain().shows_former_lives());
}

#[test]
fn settings_that_are_no_toncenter_are_named() {
    let check = |url: &str, api_key: Option<&str>, expect: SettingsError| {
        let settings = Settings {
            network: Network::TESTNET,
            url: url.to_owned(),
            api_key: api_key.map(str::to_owned),
        };
        assert!(!format!("{settings:?}").contains("hidden"));
        assert_eq!(Toncenter::new(settings, None).err(), Some(expect), "for {url:?}");
    };
    for wrong in [
        "",
        "toncenter.com",
        "ftp://toncenter.com/api",
        "http://",
        "http://a/api?key=1",
        "http://a b/",
    ] {
        check(wrong, None, SettingsError::Url);
    }
    check("https://toncenter.com/api/v2", Some("hidden\n"), SettingsError::ApiKey);
    for elsewhere in [
        "toncenter.com",
        "10.0.0.1:8081",
        "[2001:db8::1]",
        "127.0.0.1.example",
        "localhost.example",
    ] {
        let url = format!("http://{elsewhere}/api/v2");
        check(&url, Some("hidden"), SettingsError::KeyInClear);
        let settings = |url: &str, api_key: Option<&str>| Settings {
            network: Network::TESTNET,
            url: url.to_owned(),
            api_key: api_key.map(str::to_owned),
        };
        assert!(
            Toncenter::new(settings(&url, None), None).is_ok(),
            "nothing is given away"
        );
        for here in ["127.0.0.1:8081", "localhost", "[::1]:8081"] {
            let url = format!("http://{here}/api/v2");
            assert!(Toncenter::new(settings(&url, Some("hidden")), None).is_ok(), "{here}");
        }
    }
    check("https://toncenter.com/api/v2", Some("hidden"), SettingsError::NoTls);
}
