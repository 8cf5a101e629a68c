//! `mulberry watch` against the real contract on a simulated chain: a payer closes, and no gateway is there to see it.
//!
//! The test is the payee: it signed a take, left it in a folder, and is gone.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use e2e::{
    World,
    process::{Process, mulberry},
    wait::eventually,
};
use serde_json::{Value, json};

use crate::channels::{PASSPHRASE, UNIT, document, nano, offer, refused, settlement, succeed, told};

/// Blocks, polls of a second and the settler's own waits, on a busy machine.
pub(crate) const SETTLED: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);

/// A simulated chain that listens, and may be gone for a while.
pub(crate) struct Chain {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Chain {
    pub(crate) fn start(world: &World, listen: &str) -> Self {
        let mut command = Command::new(mulberry());
        command.args(["simulated-chain", "--folder", "chain", "serve", "--listen", listen]);
        let process = Process::start(&mut command, "chain", world.dir());
        let url = process.stdout().wait_for(SOON, |text| {
            let (_, rest) = text.split_once("--chain ")?;
            rest.split_once('\n').map(|(url, _)| url.to_owned())
        });
        let url = url.unwrap_or_else(|| panic!("it does not listen: {}", process.stderr().text()));
        Self { process, url }
    }

    pub(crate) fn there(&self) -> &str {
        let url = self.url.strip_prefix("http://").expect("a URL");
        url.strip_suffix("/api/v2").expect("the API")
    }

    pub(crate) fn fund(&self, address: &str, amount: u64) {
        let (status, said) = ask(
            self.there(),
            &format!("/danger_faucet?address={address}&amount={amount}"),
        );
        assert_eq!(status, 200, "{said}");
    }

    pub(crate) fn advance(&self, seconds: u32) {
        let (status, said) = ask(self.there(), &format!("/danger_advance?seconds={seconds}"));
        assert_eq!(status, 200, "{said}");
    }
}

/// Asks over HTTP: the status, and what was said.
fn ask(there: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(there).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {there}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (
        status.unwrap_or_else(|| panic!("no status in {answer}")),
        body.to_owned(),
    )
}

pub(crate) struct Watch {
    process: Process,
}

impl Watch {
    pub(crate) fn start(world: &World, chain: &str, name: &str, flags: &[&str]) -> Self {
        Self::start_every(world, chain, name, 1, flags)
    }

    fn start_every(world: &World, chain: &str, name: &str, every_s: u64, flags: &[&str]) -> Self {
        let mut command = Command::new(mulberry());
        command
            .args(["watch", "settlements", "--wallet", "watch.json", "--state", "watch"])
            .args([
                "--network",
                "simulated",
                "--chain",
                chain,
                "--every",
                &every_s.to_string(),
            ])
            .args(["--listen", "127.0.0.1:0", "--alert-command", "cat >> alerts"])
            .args(flags)
            .env("MULBERRY_WALLET_PASSPHRASE", PASSPHRASE);
        let process = Process::start(&mut command, name, world.dir());
        Self { process }
    }

    #[track_caller]
    pub(crate) fn says(&self, what: &str, within: Duration) {
        let said = self
            .process
            .stderr()
            .wait_for(within, |text| text.contains(what).then_some(()));
        assert!(
            said.is_some(),
            "{what:?} is missing in {}",
            self.process.stderr().text()
        );
    }

    pub(crate) fn log(&self) -> String {
        self.process.stderr().text()
    }

    fn probe(&self, path: &str) -> (u16, String) {
        let there = self.process.stderr().wait_for(SOON, |text| {
            let (_, rest) = text.split_once("listen=")?;
            rest.split_once('\n').map(|(there, _)| there.trim().to_owned())
        });
        ask(&there.expect("it says where it listens"), path)
    }
}

/// A channel of 5 with 3 signed for and 2 taken, a funded payer, and a watch's wallet with this much.
fn scene(world: &World, chain: &Chain, gas: u64) {
    world.file("terms.json", offer().to_string());
    fs::create_dir(world.dir().join("settlements")).expect("it is new");
    let payer = document(world, &["wallet", "create"]);
    let watch = document(world, &["wallet", "create", "--wallet", "watch.json"]);
    let raw = |wallet: &Value| wallet["raw"].as_str().expect("an address").to_owned();
    chain.fund(&raw(&payer), 20 * UNIT);
    if gas > 0 {
        chain.fund(&raw(&watch), gas);
    }
    let open = ["channel", "open", "5", "--terms", "terms.json", "--name", "a", "--yes"];
    succeed(world, &[&open[..], &["--chain", &chain.url]].concat());
    leave(world, 3 * UNIT, 2 * UNIT);
}

/// What the payee leaves for the watch.
fn leave(world: &World, max: u64, take: u64) {
    let blob = settlement(world, "a", max, take, false);
    world.file("settlements/a.json", serde_json::to_string(&blob).expect("JSON"));
}

#[track_caller]
fn claimed(world: &World, chain: &Chain) -> u64 {
    nano(&document(world, &["channel", "show", "--chain", &chain.url])["claimed"])
}

#[track_caller]
fn close(world: &World, chain: &Chain) -> Value {
    document(world, &["channel", "close", "--yes", "--chain", &chain.url])
}

fn alerts(world: &World) -> String {
    fs::read_to_string(world.dir().join("alerts")).unwrap_or_default()
}

/// Waits until the alert command was told of this.
async fn alerted(world: &World, code: &str) {
    let told = eventually(SOON, || alerts(world).contains(&format!("\"code\":\"{code}\""))).await;
    assert!(told, "no {code} in {}", alerts(world));
}

#[tokio::test]
async fn a_close_is_answered_in_time_whatever_ends_the_watch() {
    let world = World::new();
    let chain = Chain::start(&world, "127.0.0.1:0");
    scene(&world, &chain, UNIT);
    let mut watch = Watch::start(&world, &chain.url, "first", &[]);
    watch.says("a settlement is kept", SOON);
    assert_eq!(watch.probe("/livez").0, 200);
    watch.process.kill();
    // It has what it was given, though the folder is gone with the payee.
    fs::remove_file(world.dir().join("settlements/a.json")).expect("it was there");
    assert_eq!(close(&world, &chain)["state"], "closing");
    assert_eq!(claimed(&world, &chain), 0);
    let mut watch = Watch::start(&world, &chain.url, "second", &[]);
    watch.says("settling", SETTLED);
    // Its message is on its way, or not yet.
    watch.process.kill();
    let watch = Watch::start(&world, &chain.url, "third", &[]);
    watch.says("settled: the contract shows the payment", SETTLED);
    assert_eq!(claimed(&world, &chain), 2 * UNIT);
    alerted(&world, "closing").await;
    let (status, said) = watch.probe("/readyz");
    assert_eq!((status, said.as_str()), (200, "ok\n"));
    let (_, metrics) = watch.probe("/metrics");
    for line in [
        "mulberry_watch_channels 1",
        "mulberry_watch_closing 1",
        "mulberry_watch_missed_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    // The payer has the rest and no more, and nothing is left to watch.
    chain.advance(86_401);
    let closed = succeed(&world, &["channel", "close", "--yes", "--chain", &chain.url]);
    assert!(closed.contains("Closed: 3 GRAM (TON)"), "{closed}");
    watch.says("a channel is over", SETTLED);
    assert!(!alerts(&world).contains("missed"), "{}", alerts(&world));
    drop(watch);
    let watch = Watch::start(&world, &chain.url, "fourth", &[]);
    watch.says("what is watched was read channels=0", SOON);
}

/// Of a contract that is gone nobody says what it paid; its payee's account does.
#[tokio::test]
async fn what_was_paid_between_two_looks_is_not_said_to_be_missed() {
    let world = World::new();
    let chain = Chain::start(&world, "127.0.0.1:0");
    scene(&world, &chain, UNIT);
    // It looks at the start, and then when all is over.
    let watch = Watch::start_every(&world, &chain.url, "watch", 40, &[]);
    watch.says("a settlement is kept", SOON);
    fs::remove_file(world.dir().join("settlements/a.json")).expect("it was there");
    // Nobody but the payee's owner settles here, and the payer is back at once.
    let blob = settlement(&world, "a", 3 * UNIT, 2 * UNIT, false);
    world.file("mine.json", serde_json::to_string(&blob).expect("JSON"));
    assert_eq!(close(&world, &chain)["state"], "closing");
    let settle = ["channel", "settle", "mine.json", "--yes"];
    succeed(&world, &[&settle[..], &["--chain", &chain.url]].concat());
    chain.advance(86_401);
    let closed = succeed(&world, &["channel", "close", "--yes", "--chain", &chain.url]);
    assert!(closed.contains("Closed: 3 GRAM (TON)"), "{closed}");
    watch.says("a channel is over", SETTLED);
    assert!(!alerts(&world).contains("missed"), "{}", alerts(&world));
}

#[tokio::test]
async fn a_chain_that_is_gone_for_a_while_is_waited_for() {
    let world = World::new();
    let mut chain = Chain::start(&world, "127.0.0.1:0");
    scene(&world, &chain, UNIT);
    let watch = Watch::start(&world, &chain.url, "watch", &["--settle-above", "2.5"]);
    watch.says("a settlement is kept", SOON);
    chain.process.kill();
    alerted(&world, "chain_silent").await;
    // What comes meanwhile is kept all the same, for the channel is known.
    leave(&world, 3 * UNIT, 2 * UNIT + 1);
    watch.says("take=2.000000001", SOON);
    let there = chain.there().to_owned();
    let chain = Chain::start(&world, &there);
    watch.says("a source of the chain answers again", SETTLED);
    // Less than it settles for without need; then more.
    assert_eq!(claimed(&world, &chain), 0);
    leave(&world, 4 * UNIT, 3 * UNIT);
    watch.says("settled: the contract shows the payment", SETTLED);
    assert_eq!(claimed(&world, &chain), 3 * UNIT);
    leave(&world, 4 * UNIT, 3 * UNIT + UNIT / 2);
    watch.says("take=3.5", SOON);
    assert_eq!(close(&world, &chain)["state"], "closing");
    let twice = |text: &str| (text.matches("settled: the contract").count() == 2).then_some(());
    assert!(
        watch.process.stderr().wait_for(SETTLED, twice).is_some(),
        "{}",
        watch.process.stderr().text()
    );
    assert_eq!(claimed(&world, &chain), 3 * UNIT + UNIT / 2);
}

#[tokio::test]
async fn what_is_no_settlement_and_a_wallet_without_coins_are_named() {
    let world = World::new();
    let chain = Chain::start(&world, "127.0.0.1:0");
    scene(&world, &chain, 0);
    let blob = settlement(&world, "a", 3 * UNIT, 2 * UNIT, false);
    let changed = |change: fn(&mut Value)| {
        let mut blob = serde_json::to_value(blob).expect("JSON");
        change(&mut blob);
        blob.to_string()
    };
    world.file("settlements/torn.json", "{\"network\": ");
    world.file(
        "settlements/forged.json",
        changed(|blob| blob["take"]["totalClaimed"] = "2000000001".into()),
    );
    world.file(
        "settlements/other.json",
        changed(|blob| blob["network"] = "tvm:-239".into()),
    );
    world.file(
        "settlements/nowhere.json",
        changed(|blob| {
            for part in ["take", "voucher"] {
                blob[part]["channelId"] = json!(format!("0:{}", "77".repeat(32)));
            }
        }),
    );
    let watch = Watch::start(&world, &chain.url, "watch", &[]);
    watch.says("a settlement is kept", SOON);
    for (what, file) in [
        ("a file brings no settlement", "torn.json"),
        ("a settlement is refused", "forged.json"),
        ("a settlement is for another network", "other.json"),
        ("a settlement waits for its channel", "nowhere.json"),
    ] {
        let line = format!("{what} file=settlements/{file}");
        watch.says(&line, SOON);
    }
    // Another beside it would pay twice for the gas.
    let again = ["watch", "settlements", "--wallet", "watch.json", "--state", "watch"];
    refused(
        &world,
        &[&again[..], &["--chain", &chain.url]].concat(),
        "another watch keeps its state in 'watch'",
    );
    refused(
        &world,
        &["watch", "settlements", "--wallet", "missing.json"],
        "there is no wallet at",
    );
    // It says what is missing, and goes on when it has come.
    assert_eq!(close(&world, &chain)["state"], "closing");
    alerted(&world, "wallet").await;
    let (status, said) = watch.probe("/readyz");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("it has 0.000000000 GRAM (TON) and needs"), "{said}");
    let address = document(&world, &["wallet", "address", "--wallet", "watch.json"]);
    chain.fund(address["raw"].as_str().expect("an address"), UNIT);
    watch.says("settled: the contract shows the payment", SETTLED);
    assert_eq!(claimed(&world, &chain), 2 * UNIT);
    assert!(told(&world, &["watch"]).is_usage(), "a path is needed");
}
