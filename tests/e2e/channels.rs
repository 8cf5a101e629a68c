//! `mulberry channel` as a payer runs it, against the real contract on a simulated chain.
//!
//! The test is the payee: it has the payee's key, and the payer's key as the payer has it, to sign what an app would.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};
use billing::{
    Nano,
    channel::{Account, Blob, ChannelId, Keys, Network, Signer, Take, Terms, Voucher, x402::ChannelConfig},
};
use billing_ton::{
    Wallet, address,
    contract::{self, Request},
    keyfile::{KeyFile, Purpose},
};
use e2e::World;
use e2e::process::{Process, mulberry};
use serde_json::{Value, json};

const NETWORK: Network = Network(-217);
pub(crate) const PASSPHRASE: &str = "four random words here";
const PAYEE_SEED: [u8; 32] = [9; 32];
pub(crate) const UNIT: u64 = Nano::UNIT;

pub(crate) struct Told {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Told {
    /// Whether the command line itself was refused.
    pub(crate) fn is_usage(&self) -> bool {
        self.status == Some(2) && self.stderr.contains("Usage:")
    }
}

/// A payer without a terminal, on the simulated chain of this world.
pub(crate) fn told(world: &World, arguments: &[&str]) -> Told {
    let output = Command::new("setsid")
        .arg("--wait")
        .arg(mulberry())
        .args(arguments)
        .current_dir(world.dir())
        .env("XDG_DATA_HOME", world.dir())
        .env("MULBERRY_NETWORK", "simulated")
        .env("MULBERRY_CHAIN", "simulated:chain")
        .env("MULBERRY_WALLET_PASSPHRASE", PASSPHRASE)
        .env_remove("MULBERRY_WALLET")
        .env_remove("MULBERRY_CHANNELS")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    Told {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[track_caller]
pub(crate) fn succeed(world: &World, arguments: &[&str]) -> String {
    let told = told(world, arguments);
    assert_eq!(told.status, Some(0), "{arguments:?}: {}", told.stderr);
    told.stdout
}

#[track_caller]
pub(crate) fn document(world: &World, arguments: &[&str]) -> Value {
    let said = succeed(world, &[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[track_caller]
pub(crate) fn refused(world: &World, arguments: &[&str], says: &str) {
    let told = told(world, arguments);
    assert_eq!(told.status, Some(1), "{arguments:?}: {} {}", told.stdout, told.stderr);
    assert!(told.stderr.contains(says), "{:?} should say {says:?}", told.stderr);
}

fn party(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

pub(crate) fn payee() -> Signer {
    Signer::from_seed(&PAYEE_SEED).expect("a seed")
}

/// What a gateway would say that it accepts.
pub(crate) fn offer() -> Value {
    json!({
        "scheme": "batch-settlement",
        "network": "tvm:-217",
        "asset": "native",
        "amount": "0",
        "payTo": party(2).to_string(),
        "maxTimeoutSeconds": 60,
        "extra": {
            "codeHash": billing::receipt::to_hex(&contract::CODE_HASH),
            "receiverAuthorizer": billing::receipt::to_hex(&payee().public()),
            "withdrawDelay": 86_400,
            "feeBps": 100,
            "feeDest": party(3).to_string(),
        },
    })
}

fn with(changed: impl FnOnce(&mut Value)) -> String {
    let mut offer = offer();
    changed(&mut offer);
    offer.to_string()
}

/// A wallet with this much, and its address.
fn wallet(world: &World, funds: &str) -> String {
    let made = document(world, &["wallet", "create"]);
    let address = made["address"].as_str().expect("an address").to_owned();
    if funds != "0" {
        fund(world, &address, funds);
    }
    address
}

fn fund(world: &World, address: &str, amount: &str) {
    succeed(
        world,
        &["simulated-chain", "--folder", "chain", "fund", address, amount],
    );
}

pub(crate) fn nano(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no amount"))
}

/// What any account has.
fn balance(world: &World, seed: u8) -> u64 {
    // The payee's account is asked as a wallet would be; it needs no key for that.
    let file = format!("{seed}.json");
    drop(world.secret("key", &billing::receipt::to_hex(&[seed; 32])));
    if !world.dir().join(&file).exists() {
        succeed(world, &["wallet", "import", "--from", "key", "--wallet", &file]);
    }
    nano(&document(world, &["wallet", "balance", "--wallet", &file])["balance"])
}

/// The payer's side of a channel in this world, with its key.
fn channel(world: &World, name: &str) -> (ChannelId, Terms, Keys, Signer) {
    let folder = world.dir().join("mulberry/channels").join(name);
    let text = fs::read_to_string(folder.join("channel.json")).expect("it was kept");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let config: ChannelConfig = serde_json::from_value(document["config"].clone()).expect("a config");
    let (terms, keys) = config.split(NETWORK);
    let file = KeyFile::read(&folder.join("key.json")).expect("it was kept");
    let secret = file.open(Purpose::Channel, PASSPHRASE.as_bytes()).expect("it opens");
    let signer = Signer::from_seed(secret.seed().reveal()).expect("a seed");
    let id = ChannelId {
        network: NETWORK,
        account: contract::account(&terms, &keys),
    };
    (id, terms, keys, signer)
}

pub(crate) fn settlement(world: &World, name: &str, max: u64, take: u64, is_last: bool) -> Blob {
    let (id, _, keys, payer) = channel(world, name);
    let voucher = Voucher::sign(&payer, &keys, &id, Nano::saturating(max)).expect("its key");
    let take = Nano::saturating(take);
    let take = if is_last {
        Take::sign_last(&payee(), &keys, &id, take)
    } else {
        Take::sign(&payee(), &keys, &id, take)
    };
    Blob {
        network: NETWORK,
        take: take.expect("its key").claim(),
        voucher: Some(voucher.claim()),
    }
}

#[test]
fn a_channel_goes_from_the_first_payment_to_the_rest() {
    let world = World::new();
    world.file("terms.json", offer().to_string());
    let address = wallet(&world, "0");
    let open = ["channel", "open", "5", "--terms", "terms.json", "--name", "work"];
    // A plan makes nothing.
    let plan = succeed(&world, &[&open[..], &["--dry-run"]].concat());
    assert!(plan.contains("pay in   5 from"), "{plan}");
    assert!(plan.contains("1.00 % of what the payee takes"), "{plan}");
    assert!(plan.contains("1day after you ask"), "{plan}");
    assert!(!world.dir().join("mulberry/channels").exists());
    refused(&world, &open, "say with --yes that it is meant");
    // Without coins: it says how many are missing and where to send them; the channel is kept.
    let told = told(&world, &[&open[..], &["--yes"]].concat());
    assert_eq!(told.status, Some(1), "{}", told.stderr);
    assert!(
        told.stderr.contains(&format!("to {address}, and do this again")),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains("mulberry channel topup work 5"), "{}", told.stderr);
    assert_eq!(document(&world, &["channel", "show"])["state"], "not paid in");
    refused(&world, &["channel", "close", "--yes"], "nothing was ever paid into");
    fund(&world, &address, "20");
    let before = nano(&document(&world, &["wallet", "balance"])["balance"]);
    assert_eq!(before, 20 * UNIT);
    succeed(&world, &["channel", "topup", "work", "5", "--yes"]);
    let shown = document(&world, &["channel", "show", "work"]);
    assert_eq!((&shown["state"], nano(&shown["deposited"])), (&json!("open"), 5 * UNIT));
    succeed(&world, &["channel", "topup", "work", "2.5", "--yes"]);
    assert_eq!(
        nano(&document(&world, &["channel", "show"])["deposited"]),
        7_500_000_000
    );
    let said = succeed(&world, &["channel", "show"]);
    assert!(
        said.contains("7.5 GRAM (TON) are yours whatever the payee does"),
        "{said}"
    );
    assert!(
        said.contains("a simulated chain, whose coins are worth nothing, block"),
        "{said}"
    );
    // The payee takes 2 of the 3 that were signed for.
    let blob = settlement(&world, "work", 3 * UNIT, 2 * UNIT, false);
    world.file("blob.json", serde_json::to_string(&blob).expect("JSON"));
    let plan = succeed(&world, &["channel", "settle", "blob.json", "--dry-run"]);
    assert!(plan.contains("pay 2 GRAM (TON) to"), "{plan}");
    let settled = document(&world, &["channel", "settle", "blob.json", "--yes"]);
    assert_eq!(nano(&settled["paid"]), 2 * UNIT);
    refused(
        &world,
        &["channel", "settle", "blob.json", "--yes"],
        "all of it was paid before",
    );
    let shown = document(&world, &["channel", "show"]);
    assert_eq!(nano(&shown["claimed"]), 2 * UNIT);
    // What does not fit is refused before anything is sent.
    let mut forged = serde_json::to_value(blob).expect("JSON");
    forged["take"]["totalClaimed"] = "2000000001".into();
    world.file("forged.json", forged.to_string());
    refused(
        &world,
        &["channel", "settle", "forged.json", "--yes"],
        "the payee's key did not sign",
    );
    let above = settlement(&world, "work", 3 * UNIT, 4 * UNIT, false);
    world.file("above.json", serde_json::to_string(&above).expect("JSON"));
    refused(
        &world,
        &["channel", "settle", "above.json", "--yes"],
        "the voucher allows",
    );
    // The clock, and the rest.
    let closing = succeed(&world, &["channel", "close", "--yes"]);
    assert!(
        closing.contains("The clock runs: the rest can be fetched from"),
        "{closing}"
    );
    assert_eq!(document(&world, &["channel", "show"])["state"], "closing");
    refused(
        &world,
        &["channel", "topup", "work", "1", "--yes"],
        "nothing can be paid in",
    );
    let waiting = succeed(&world, &["channel", "close", "--yes"]);
    assert!(waiting.contains("run `mulberry channel close work` then"), "{waiting}");
    succeed(&world, &["simulated-chain", "--folder", "chain", "advance", "86401"]);
    let closed = succeed(&world, &["channel", "close", "--yes"]);
    assert!(closed.contains("Closed: 5.5 GRAM (TON)"), "{closed}");
    assert_eq!(document(&world, &["channel", "show"])["state"], "closed");
    refused(
        &world,
        &["channel", "topup", "work", "1", "--yes"],
        "must never be paid into again",
    );
    refused(
        &world,
        &["channel", "settle", "blob.json", "--yes"],
        "there is no channel at",
    );
    let list = document(&world, &["channel", "list"]);
    assert_eq!(list["data"][0]["state"], "closed");
    // All but what was taken and the gas is back.
    let after = nano(&document(&world, &["wallet", "balance"])["balance"]);
    let gas = before - 2 * UNIT - after;
    assert!(gas < UNIT / 20, "{gas} nanoton of gas");
}

#[test]
fn a_payee_that_signs_its_last_take_closes_at_once() {
    let world = World::new();
    world.file(
        "terms.json",
        with(|offer| offer["payTo"] = wallet_of(4).to_string().into()),
    );
    wallet(&world, "20");
    let open = ["channel", "open", "5", "--terms", "terms.json", "--name", "a", "--yes"];
    let opened = document(&world, &open);
    assert_eq!(nano(&opened["deposited"]), 5 * UNIT);
    let blob = settlement(&world, "a", 2 * UNIT, UNIT, true);
    world.file("last.json", serde_json::to_string(&blob).expect("JSON"));
    let settled = document(&world, &["channel", "settle", "last.json", "--yes"]);
    assert_eq!(settled["closed"], true);
    assert_eq!(document(&world, &["channel", "show"])["state"], "closed");
    // One in a hundred of it is the fee.
    let paid = balance(&world, 4);
    assert!((UNIT * 98 / 100..=UNIT * 99 / 100).contains(&paid), "{paid}");
}

/// The wallet whose key is 32 times this byte.
fn wallet_of(seed: u8) -> Account {
    let seed = billing_ton::Seed::from_bytes([seed; 32]);
    Wallet::new(NETWORK, seed.public_key()).account()
}

#[test]
fn links_say_what_a_wallet_would_send() {
    let world = World::new();
    world.file("terms.json", offer().to_string());
    let payer = wallet_of(5);
    let payer = address::Friendly::new(payer, NETWORK, address::Bounce::Keep).to_string();
    let open = [
        "channel",
        "open",
        "5",
        "--terms",
        "terms.json",
        "--name",
        "phone",
        "--link",
        "--payer",
        &payer,
    ];
    let said = succeed(&world, &open);
    let link = said.lines().find(|line| line.starts_with("ton://")).expect("a link");
    let (id, terms, keys, _) = channel(&world, "phone");
    let friendly = address::Friendly::new(id.account, NETWORK, address::Bounce::Back);
    let (place, query) = link.split_once('?').expect("a query");
    assert_eq!(place, format!("ton://transfer/{friendly}"));
    let part = |name: &str| {
        let value = query.split('&').find_map(|part| part.strip_prefix(name));
        value
            .unwrap_or_else(|| panic!("{name} is missing in {query}"))
            .to_owned()
    };
    let bag = |name: &str| URL_SAFE.decode(part(name)).expect("Base64");
    let body = Request::decode(&tycho(&bag("bin="))).expect("a request");
    let amount = Nano::saturating(5 * UNIT);
    assert_eq!(body, Request::TopUp { query_id: 0, amount });
    let expect = contract::state_init(&terms, &keys);
    let sent: tycho_types::models::StateInit = tycho(&bag("init=")).parse().expect("a state");
    assert_eq!(sent, expect);
    assert!(part("amount=").parse::<u64>().expect("digits") > 5 * UNIT + 20_000_000);
    // It asks nobody, and nothing is on the chain yet.
    assert_eq!(document(&world, &["channel", "show"])["state"], "not paid in");
    // The payer is another wallet: only it can ask to close, so only a link is of use; there is nothing to close yet.
    refused(&world, &["channel", "close", "--link"], "nothing was ever paid into");
}

fn tycho(bag: &[u8]) -> tycho_types::cell::Cell {
    tycho_types::boc::Boc::decode(bag).expect("a bag of cells")
}

#[test]
fn terms_that_nobody_should_take_are_named() {
    let world = World::new();
    wallet(&world, "20");
    let check = |offer: String, says: &str| {
        world.file("terms.json", offer);
        let open = ["channel", "open", "5", "--terms", "terms.json", "--yes"];
        refused(&world, &open, says);
        assert!(
            !world.dir().join("mulberry/channels").exists(),
            "something was kept: {says}"
        );
    };
    check(
        with(|offer| offer["network"] = "tvm:-239".into()),
        "takes payments on tvm:-239",
    );
    check(
        with(|offer| offer["extra"]["codeHash"] = "00".repeat(32).into()),
        "another contract than ours",
    );
    check(
        with(|offer| offer["extra"]["withdrawDelay"] = 60.into()),
        "at least 3600 s are needed",
    );
    check(
        with(|offer| offer["extra"]["feeBps"] = 10_001.into()),
        "more than the whole",
    );
    check(
        with(|offer| offer["payTo"] = format!("-1:{}", "02".repeat(32)).into()),
        "must be in workchain 0",
    );
    check(with(|offer| offer["scheme"] = "exact".into()), "is no offer");
    check("{}".to_owned(), "is no offer");
    refused(&world, &["channel", "list"], "`mulberry channel open` opens one");
    refused(&world, &["channel", "show"], "there are no channels in");
    refused(
        &world,
        &["channel", "open", "5", "--terms", "missing.json"],
        "'missing.json' cannot be read",
    );
}

/// Answers one request so, at an address of its own.
fn answering(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("it waits for it");
    });
    format!("http://{address}/v1")
}

#[test]
fn a_gateway_is_asked_for_its_terms() {
    let world = World::new();
    wallet(&world, "20");
    let mut mainnet = offer();
    mainnet["network"] = "tvm:-239".into();
    let offers = [mainnet, offer()];
    let required = json!({
        "x402Version": 2,
        "error": "Payment is required.",
        "resource": {"url": "/v1/models", "description": "", "mimeType": "application/json"},
        "accepts": offers,
    });
    let header = STANDARD.encode(required.to_string());
    let answer = |status: &str, header: &str| format!("HTTP/1.1 {status}\r\n{header}content-length: 0\r\n\r\n");
    let url = answering(answer(
        "402 Payment Required",
        &format!("payment-required: {header}\r\n"),
    ));
    let opened = document(&world, &["channel", "open", "5", "--to", &url, "--name", "a", "--yes"]);
    assert_eq!(nano(&opened["deposited"]), 5 * UNIT);
    assert_eq!(document(&world, &["channel", "show"])["payee_url"], url.as_str());
    let check = |answer: String, says: &str| {
        let url = answering(answer);
        refused(&world, &["channel", "open", "5", "--to", &url, "--yes"], says);
    };
    check(answer("200 OK", ""), "asks for no payment: it answered 200");
    check(answer("402 Payment Required", ""), "does not say in PAYMENT-REQUIRED");
    check(
        answer("402 Payment Required", "payment-required: e30=\r\n"),
        "cannot be read",
    );
    refused(&world, &["channel", "open", "5", "--to", "gateway"], "no URL");
}

#[test]
fn the_chain_is_asked_over_http() {
    let world = World::new();
    world.file("terms.json", offer().to_string());
    let mut serve = Command::new(mulberry());
    serve.args([
        "simulated-chain",
        "--folder",
        "chain",
        "serve",
        "--listen",
        "127.0.0.1:0",
    ]);
    let process = Process::start(&mut serve, "chain", world.dir());
    let url = process.stdout().wait_for(e2e::wait::SOON, |text| {
        let (_, rest) = text.split_once("--chain ")?;
        rest.split_once('\n').map(|(url, _)| url.to_owned())
    });
    let url = url.unwrap_or_else(|| panic!("it does not listen: {}", process.stderr().text()));
    let address = document(&world, &["wallet", "create"])["raw"]
        .as_str()
        .expect("an address")
        .to_owned();
    // Nobody else has the folder meanwhile.
    refused(&world, &["wallet", "balance"], "another process has the chain");
    let there = url
        .strip_suffix("/api/v2")
        .expect("the API")
        .strip_prefix("http://")
        .expect("a URL");
    let mut stream = TcpStream::connect(there).expect("it listens");
    let ask = format!(
        "GET /danger_faucet?address={address}&amount=20000000000 HTTP/1.1\r\nhost: {there}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let chain = ["--chain", &url];
    let balance = document(&world, &[&["wallet", "balance"][..], &chain].concat());
    assert_eq!(
        (nano(&balance["balance"]), &balance["is_deployed"]),
        (20 * UNIT, &json!(false))
    );
    let open = ["channel", "open", "5", "--terms", "terms.json", "--name", "a", "--yes"];
    let opened = document(&world, &[&open[..], &chain].concat());
    assert_eq!(nano(&opened["deposited"]), 5 * UNIT);
    let said = succeed(&world, &[&["wallet", "balance"][..], &chain].concat());
    assert!(
        said.contains("1 of its messages were taken") && said.contains(there),
        "{said}"
    );
    // Two sources that say the same are one answer.
    let both = format!("{url},{url}");
    let shown = document(&world, &["channel", "show", "--chain", &both]);
    assert_eq!(nano(&shown["deposited"]), 5 * UNIT);
    let closing = document(&world, &[&["channel", "close", "--yes"][..], &chain].concat());
    assert_eq!(closing["state"], "closing");
}

#[test]
fn a_channel_is_used_by_one_and_a_chain_too() {
    let world = World::new();
    world.file("terms.json", offer().to_string());
    wallet(&world, "20");
    succeed(
        &world,
        &["channel", "open", "5", "--terms", "terms.json", "--name", "a", "--yes"],
    );
    let lock = fs::File::create(world.dir().join("mulberry/channels/a/lock")).expect("a file");
    lock.lock().expect("nobody else");
    refused(
        &world,
        &["channel", "close", "--yes"],
        "another process uses the channel",
    );
    drop(lock);
    refused(
        &world,
        &[
            "channel",
            "show",
            "--network",
            "testnet",
            "--chain",
            "http://127.0.0.1:9",
        ],
        "say --network tvm:-217",
    );
    refused(
        &world,
        &["channel", "show", "--chain", "http://127.0.0.1:9"],
        "127.0.0.1:9 was asked; try again, or another source with --chain",
    );
    let damaged = Path::new("mulberry/channels/a/slate.json");
    fs::write(world.dir().join(damaged), "{\"version\": 2}").expect("a file");
    refused(&world, &["channel", "show"], "it is of another version");
}
