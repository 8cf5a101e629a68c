//! The first minutes with Mulberry: `mulberry demo` and each line that it prints, `serve` without a file, and the
//! files that the README shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use e2e::client::{chat, get, post};
use e2e::namespace::Namespace;
use e2e::process::{Process, mulberry};
use e2e::sse::Stream;
use e2e::wait::{SOON, skipped};
use e2e::{Answer, World, eventually, raw};
use serde_json::Value;

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../mulberry.example.yaml"));

/// What a command has said by its end.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs a command in the world's directory until it ends by itself.
async fn run(world: &World, name: &str, command: &mut Command) -> Ended {
    let mut process = Process::start(command, name, world.dir());
    let status = process.wait(SOON).await;
    let all = |output: &e2e::process::Output| {
        let text = output.to_end(SOON);
        text.unwrap_or_else(|| panic!("{name} has ended and its output is still open"))
    };
    Ended {
        status,
        stdout: all(process.stdout()),
        stderr: all(process.stderr()),
    }
}

/// A running `mulberry demo`, and what it printed at its start.
struct Demo {
    process: Process,
    greeting: String,
    /// The only folder for temporary files that it knows.
    temporary: PathBuf,
}

impl Demo {
    fn start(world: &World, flags: &[&str]) -> Self {
        let temporary = world.dir().join("temporary");
        fs::create_dir(&temporary).unwrap_or_else(|error| panic!("{}: {error}", temporary.display()));
        let mut command = Command::new(mulberry());
        command
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(flags)
            .env("TMPDIR", &temporary);
        let process = Process::start(&mut command, "demo", world.dir());
        let greeting = process
            .stdout()
            .wait_for(SOON, |text| text.contains("Ctrl-C ends").then(|| text.to_owned()));
        let Some(greeting) = greeting else {
            panic!("the demo does not start:\n{}", process.stderr().text());
        };
        Self {
            process,
            greeting,
            temporary,
        }
    }

    /// The text behind a name at the margin.
    fn says(&self, name: &str) -> &str {
        let mut values = self.greeting.lines().filter_map(|line| line.trim().strip_prefix(name));
        let value = values.next().map(str::trim);
        value.unwrap_or_else(|| panic!("no `{name}` in:\n{}", self.greeting))
    }

    /// Without the remark behind it.
    fn url(&self, name: &str) -> &str {
        self.says(name).split_whitespace().next().expect("a URL stands first")
    }

    fn is_simulated(&self) -> bool {
        self.says("engine").starts_with("SIMULATED")
    }

    /// The lines to be copied into a shell: a whole answer, a stream, an answer with its head, and its receipt.
    fn lines(&self) -> [&str; 4] {
        let lines = self.greeting.lines().filter(|line| line.starts_with("curl"));
        let lines: Vec<_> = lines.collect();
        let lines = <[&str; 4]>::try_from(lines);
        lines.unwrap_or_else(|lines| panic!("{} lines to try, not four:\n{}", lines.len(), self.greeting))
    }

    /// The model that the lines ask for.
    fn model(&self) -> String {
        let [plain, ..] = self.lines();
        let body = plain.split('\'').rev().nth(1).expect("the body is quoted");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        body["model"].as_str().expect("a model is named").to_owned()
    }

    fn folders(&self) -> Vec<PathBuf> {
        entries(&self.temporary)
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entries = listed.map(|entry| entry.expect("it is the test's own folder").path());
    entries.collect()
}

/// Runs a line as someone does who copies it, and gives what it printed.
async fn in_a_shell(world: &World, name: &str, line: &str) -> String {
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    assert!(has_curl, "curl is not installed: tests/setup/system installs it");
    let mut shell = Command::new("bash");
    // A proxy that this machine may need for the world is not the way to itself.
    shell.args(["-c", line]).env("NO_PROXY", "127.0.0.1");
    let ended = run(world, name, &mut shell).await;
    assert!(ended.status.success(), "{line}\nfailed:\n{}", ended.stderr);
    ended.stdout
}

/// What an answer used and cost.
struct Used {
    prompt: u64,
    completion: u64,
    /// In billionths.
    cost: u64,
}

/// What these tokens cost by the prices that the demo tells, and a request; in billionths.
fn price(prompt: u64, completion: u64) -> u64 {
    let [by_tokens, fee] = [
        prompt * 20_000_000 + completion * 160_000_000,
        prompt * 1_000_000 + completion * 8_000_000,
    ]
    .map(|millionths| millionths.div_ceil(1_000_000));
    by_tokens + 1000 + fee
}

/// Billionths of a coin, as amounts are written.
fn amount(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// Does what the demo invites to do first, and tells what the whole answer used and both cost.
async fn try_it(world: &World, demo: &Demo) -> (Used, u64) {
    let [plain, stream, ..] = demo.lines();
    let text = in_a_shell(world, "plain", plain).await;
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(answer["object"], "chat.completion", "{text}");
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    assert!(!content.is_empty(), "{text}");
    let usage = |name: &str| answer["usage"][name].as_u64().unwrap_or_default();
    let used = Used {
        prompt: usage("prompt_tokens"),
        completion: usage("completion_tokens"),
        cost: usage("total_cost"),
    };
    assert!(used.prompt > 0 && used.completion > 0, "no usage: {text}");
    assert_eq!(used.cost, price(used.prompt, used.completion), "{text}");
    assert_eq!(
        used.cost,
        usage("prompt_total_cost") + usage("completion_total_cost"),
        "{text}"
    );

    let text = in_a_shell(world, "stream", stream).await;
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let cost = text
        .lines()
        .find_map(|line| line.strip_prefix(": cost ")?.strip_suffix(" TON"));
    let cost = cost.unwrap_or_else(|| panic!("no cost in the stream:\n{text}"));
    let cost: u64 = cost
        .replace('.', "")
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {cost}"));
    let stream = Stream { text };
    assert!(stream.is_done());
    assert!(!stream.content().is_empty(), "{}", stream.text);
    if demo.is_simulated() {
        assert_eq!(stream.content(), content, "the scripted engine says the same in both");
        assert_eq!(cost, used.cost, "and it costs the same");
    }
    (used, cost)
}

/// Asks with a name for the request, checks its receipt as the demo invites to, and gives what it cost.
async fn see_what_it_costs(world: &World, demo: &Demo) -> u64 {
    let [.., named, receipt] = demo.lines();
    let text = in_a_shell(world, "named", named).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let header = |name: &str| {
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in:\n{head}"))
    };
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let cost = answer["usage"]["total_cost"].as_u64().expect("what it cost");
    assert_eq!(header("x-mulberry-cost"), format!("{} TON", amount(cost)));
    assert_eq!(header("x-receipt"), "first");

    let text = in_a_shell(world, "receipt", receipt).await;
    let lines: Vec<&str> = text.lines().collect();
    let [good, channel, chain] = lines.as_slice() else {
        panic!("one receipt was expected:\n{text}");
    };
    assert!(channel.starts_with("      paid by the channel 0:"), "{text}");
    // The channel's own account.
    let parts = format!("  {}  {} TON  tee", demo.model(), amount(cost));
    assert!(
        good.starts_with("good  ")
            && good.contains("  first  ")
            && good.contains("  org:channel-")
            && good.ends_with(&parts),
        "{text}"
    );
    assert!(chain.starts_with("1 receipt of 1 chain"), "{text}");
    let fetch = demo.greeting.lines().find(|line| line.contains(" attest fetch "));
    let text = in_a_shell(world, "evidence", fetch.expect("the command is shown")).await;
    assert!(
        text.contains("answered by the image ") && text.contains("WHICH PROVES NOTHING"),
        "{text}"
    );
    cost
}

/// The numbers behind a name in the table of what was used.
fn row(table: &str, name: &str) -> Option<Vec<u64>> {
    let mut rows = table.lines().filter_map(|line| {
        let numbers = line.strip_prefix(name)?;
        let numbers = numbers.split_whitespace().map(str::parse);
        numbers.collect::<Result<Vec<u64>, _>>().ok()
    });
    rows.find(|numbers| numbers.len() == 7)
}

/// Who got what at the end, in billionths.
struct Got {
    charged: u64,
    gateway: u64,
    earned: u64,
    paid: u64,
}

impl Got {
    /// As it is told, and what follows from it holds.
    fn of(stdout: &str) -> Self {
        let told = stdout.split("Who got what, ").nth(1);
        let told = told.unwrap_or_else(|| panic!("it does not say who got what:\n{stdout}"));
        let amounts = |name: &str| -> Vec<u64> {
            let mut lines = told
                .lines()
                .filter_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
            let line = lines.next().unwrap_or_else(|| panic!("no line of {name}:\n{told}"));
            let words = line.split([' ', ',']).filter(|word| word.contains('.'));
            words
                .map(|word| {
                    word.replace('.', "")
                        .parse()
                        .unwrap_or_else(|error| panic!("{error}: {line}"))
                })
                .collect()
        };
        let [deposit, charged, back] = amounts("client")[..] else {
            panic!("{told}")
        };
        let [gateway] = amounts("gateway")[..] else {
            panic!("{told}")
        };
        let [earned, paid] = amounts("worker")[..] else {
            panic!("{told}")
        };
        let [ours, theirs] = amounts("gas")[..] else {
            panic!("{told}")
        };
        assert_eq!(deposit, 1_000_000_000, "{told}");
        assert_eq!(deposit, charged + back, "{told}");
        assert!(
            0 < ours && ours < 50_000_000,
            "opening and closing cost the client gas: {told}"
        );
        assert!(theirs < 100_000_000, "{told}");
        assert!(told.contains("\nThe sums agree to the nanoton: "), "{told}");
        Self {
            charged,
            gateway,
            earned,
            paid,
        }
    }
}

#[tokio::test]
async fn the_demo_does_what_it_says() {
    let world = World::new();
    let mut demo = Demo::start(&world, &[]);
    let base = demo.url("gateway").to_owned();
    let engine = demo.says("engine").to_owned();
    let [plain, stream, ..] = demo.lines();
    if demo.is_simulated() {
        assert!(engine.contains("no engine was found"), "{engine}");
        assert_eq!(demo.model(), "mock");
        // The README shows them for the usual port.
        for line in [plain, stream] {
            let line = line.replace(&base, "http://127.0.0.1:8080");
            assert!(
                README.lines().any(|shown| shown == line),
                "the README does not show:\n{line}"
            );
        }
    } else {
        // Some engine of this machine's listens on a usual port.
        assert!(engine.contains(" at http://127.0.0.1:"), "{engine}");
        assert!(
            engine.ends_with(&format!("model {}   real", demo.model())),
            "the engine is {engine}, the model {}",
            demo.model()
        );
    }
    assert_eq!(demo.folders().len(), 1, "the records lie in one folder");

    let (
        Used {
            prompt,
            completion,
            cost,
        },
        streamed,
    ) = try_it(&world, &demo).await;
    let named = see_what_it_costs(&world, &demo).await;
    let page = Answer::of(get(&format!("{base}/docs")).await).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type").split(';').next(), Some("text/html"));
    assert!(demo.greeting.contains(&format!("{base}/docs, ")));
    let document = Answer::of(get(&format!("{base}/openapi.json")).await).await;
    assert_eq!(document.status, 200);
    let document = document.json();
    assert!(
        document["paths"]["/v1/chat/completions"]["post"].is_object(),
        "{document}"
    );
    // Official clients send a key of some kind. None is asked for, and it goes nowhere.
    let models = e2e::client::client().get(format!("{base}/v1/models"));
    let models = Answer::of(e2e::client::send(models.bearer_auth("sk-of-another-service")).await).await;
    assert_eq!(models.status, 200, "{}", models.text());
    let metrics = Answer::of(get(demo.url("metrics")).await).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());

    demo.process.signal("INT");
    let status = demo.process.wait(SOON).await;
    let stderr = demo.process.stderr().to_end(SOON).expect("the process has ended");
    assert_eq!(status.code(), Some(0), "{stderr}");
    let stdout = demo.process.stdout().to_end(SOON).expect("the process has ended");
    let table = stdout.split("What was used:").nth(1);
    let table = table.unwrap_or_else(|| panic!("it does not say what was used:\n{stdout}"));
    let heading = table.trim_start().lines().next().unwrap_or_default();
    assert!(heading.starts_with("MODEL "), "{table}");
    let numbers = row(table, &demo.model());
    let numbers = numbers.unwrap_or_else(|| panic!("the model has no row:\n{table}"));
    assert_eq!(numbers[..2], [3, 0], "three requests, none failed:\n{table}");
    assert!(numbers[2] > prompt && numbers[4] > completion, "both count:\n{table}");
    if demo.is_simulated() {
        assert_eq!((numbers[2], numbers[4]), (3 * prompt, 3 * completion), "{table}");
        assert_eq!(numbers[6], 0, "nothing was estimated:\n{table}");
        // That its evidence proves nothing is said aloud, for the gateway, for the worker and for what stands before the gateway.
        let is_loud = |line: &&str| {
            line.contains("made by software and proves nothing")
                || line.contains("danger_development_trust_anchor is set")
        };
        // Its parts end in any order, and the worker may see the gateway go.
        let is_late = |line: &&str| line.contains("not connected; trying again");
        let told = stderr.lines().filter(|line| !is_late(line));
        let (loud, wrong): (Vec<&str>, Vec<&str>) = told.partition(is_loud);
        assert_eq!((loud.len(), wrong), (5, Vec::new()), "{stderr}");
    }
    let bill = stdout.split("What it cost:").nth(1);
    let bill = bill.unwrap_or_else(|| panic!("it does not say what it cost:\n{stdout}"));
    let sum = cost + streamed + named;
    let row = bill.lines().find(|line| line.starts_with(&demo.model()));
    let row: Vec<&str> = row.unwrap_or_else(|| panic!("{bill}")).split_whitespace().collect();
    assert_eq!(row, [&*demo.model(), "3", &amount(sum), "TON"], "{bill}");
    let spent = format!("{} GRAM (TON) were spent.", amount(sum));
    assert!(bill.lines().any(|told| told == spent), "no `{spent}` in:\n{bill}");
    assert!(bill.contains("\nThe ledger is right: 3 charges, "), "{bill}");
    let got = Got::of(&stdout);
    assert_eq!((got.charged, got.gateway), (sum, sum), "{stdout}");
    // The fee stays with the gateway.
    let fee = |prompt: u64, completion: u64| (prompt * 1_000_000 + completion * 8_000_000).div_ceil(1_000_000);
    if demo.is_simulated() {
        assert_eq!(got.earned, sum - 3 * fee(prompt, completion), "{stdout}");
    }
    assert_eq!(got.paid, got.earned, "all that it earned is covered: {stdout}");
    assert_eq!(demo.folders(), Vec::<PathBuf>::new(), "something was left behind");
}

/// A signal ends it, and it is told who got what.
async fn ends(mut demo: Demo, signal: &str) -> Got {
    demo.process.signal(signal);
    let status = demo.process.wait(SOON).await;
    let stderr = demo.process.stderr().to_end(SOON).expect("the process has ended");
    assert_eq!(status.code(), Some(0), "{stderr}");
    let stdout = demo.process.stdout().to_end(SOON).expect("the process has ended");
    Got::of(&stdout)
}

#[tokio::test]
async fn an_engine_on_the_demos_own_port_is_found_and_used() {
    let network = match Namespace::new() {
        Ok(network) => network,
        Err(why) => return skipped("an_engine_on_the_demos_own_port_is_found_and_used", &why),
    };
    let world = World::new();
    let wrapper = network.wrapper();
    let begin = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(mulberry()).args(arguments);
        Process::start(&mut command, name, world.dir())
    };
    // Where llama.cpp listens.
    let engine = begin("engine", &["mock", "--listen", "127.0.0.1:8080"]);
    let listens = |text: &str| text.contains("listening").then_some(());
    let listens = engine.stdout().wait_for(SOON, listens);
    assert!(listens.is_some(), "{}", engine.stderr().text());
    let mut demo = begin("demo", &["demo"]);
    let greeting = demo
        .stdout()
        .wait_for(SOON, |text| text.contains("Ctrl-C ends").then(|| text.to_owned()));
    let greeting = greeting.unwrap_or_else(|| panic!("the demo does not start:\n{}", demo.stderr().text()));
    for part in [
        "llama.cpp at http://127.0.0.1:8080, model mock   real",
        "gateway   http://127.0.0.1:8081 ",
    ] {
        assert!(greeting.contains(part), "no `{part}` in:\n{greeting}");
    }
    demo.signal("INT");
    assert!(demo.wait(SOON).await.success(), "{}", demo.stderr().text());
    // Named, the port is meant.
    let mut named = begin("named", &["demo", "--listen", "127.0.0.1:8080"]);
    assert_eq!(named.wait(SOON).await.code(), Some(1));
    let said = named.stderr().to_end(SOON).expect("the process has ended");
    assert!(
        said.contains("cannot listen on 127.0.0.1:8080: the port is in use"),
        "{said}"
    );
}

#[tokio::test]
async fn a_demo_that_nobody_asked_gives_all_back() {
    let world = World::new();
    let got = ends(Demo::start(&world, &[]), "TERM").await;
    assert_eq!((got.charged, got.earned, got.paid), (0, 0, 0));
}

#[tokio::test]
async fn a_demo_that_ends_in_a_stream_is_settled_too() {
    let world = World::new();
    let mock = world.mock(&["--chunk-delay", "300"]);
    let demo = Demo::start(&world, &["--upstream", &mock.url()]);
    let [_, stream, ..] = demo.lines();
    let line = stream.to_owned();
    let mut shell = Command::new("bash");
    shell.args(["-c", &line]).env("NO_PROXY", "127.0.0.1");
    let asking = Process::start(&mut shell, "stream", world.dir());
    let begun = asking
        .stdout()
        .wait_for(SOON, |text| text.contains("\ndata: ").then_some(()));
    assert!(begun.is_some(), "{}", asking.stderr().text());
    let got = ends(demo, "INT").await;
    assert!(got.charged > 0, "what came of it is paid for");
    assert_eq!(got.paid, got.earned);
}

#[tokio::test]
async fn the_demo_uses_the_server_that_it_is_given() {
    let world = World::new();
    let mock = world.mock(&[]);
    let demo = Demo::start(&world, &["--upstream", &mock.url()]);
    let engine = demo.says("engine");
    assert!(!demo.is_simulated(), "{}", demo.greeting);
    assert!(engine.contains(&format!("at {}, model mock", mock.url())), "{engine}");
    let (used, streamed) = try_it(&world, &demo).await;
    assert_eq!(mock.count("mock"), 2);
    let got = ends(demo, "TERM").await;
    assert_eq!(got.charged, used.cost + streamed);
}

#[tokio::test]
async fn the_demo_refuses_a_server_that_does_not_answer() {
    let world = World::new();
    // No port 0 gives a test this one, so nothing comes to listen there meanwhile.
    let url = "http://127.0.0.1:1";
    let mut command = Command::new(mulberry());
    command.args(["demo", "--listen", "127.0.0.1:0", "--upstream", url]);
    let ended = run(&world, "demo", &mut command).await;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        ended.stderr,
        format!("mulberry: no OpenAI-compatible server answers at {url}: check the address, or leave --upstream out\n")
    );
    assert_eq!(ended.stdout, "", "nothing is announced that does not run");
}

/// The names in `${NAME}` and `${NAME:-default}`.
fn variables(yaml: &str) -> BTreeSet<&str> {
    let starts = yaml.split("${").skip(1);
    let names = starts.filter_map(|rest| rest.split(['}', ':']).next());
    names.filter(|name| *name != "file").collect()
}

/// Runs `mulberry check` beside `mulberry.yaml`, as the README does, with the variables that it names but for `unset`.
async fn check(world: &World, unset: &[&str], yaml: &str) -> Ended {
    world.file("mulberry.yaml", yaml);
    let mut command = Command::new(mulberry());
    command.arg("check");
    for name in variables(yaml) {
        command.env(name, format!("sk-{name}-is-secret"));
    }
    for name in unset {
        command.env_remove(name);
    }
    run(world, "check", &mut command).await
}

/// The one block of YAML in the README.
fn minimal() -> &'static str {
    let blocks = README.split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    let [block] = blocks.as_slice() else {
        panic!("the README has {} blocks of YAML, not one", blocks.len());
    };
    block
}

#[tokio::test]
async fn the_files_that_we_show_are_good() {
    let world = World::new();
    for yaml in [minimal(), EXAMPLE] {
        let names = variables(yaml);
        assert!(
            names.contains("ALICE_KEY") && names.contains("OPENAI_API_KEY"),
            "{names:?}"
        );
        let ended = check(&world, &[], yaml).await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr, "");
        assert!(
            ended.stdout.contains("https://api.openai.com"),
            "it says what the file means:\n{}",
            ended.stdout
        );
        assert!(!ended.stdout.contains("is-secret"), "{}", ended.stdout);

        let ended = check(&world, &["ALICE_KEY"], yaml).await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
        assert!(ended.stderr.contains("ALICE_KEY"), "{}", ended.stderr);
    }
}

/// The value of `name=` in the line that tells the addresses.
fn bound(log: &str, name: &str) -> Option<String> {
    let line = log
        .split_inclusive('\n')
        .find(|line| line.contains("listening") && line.ends_with('\n'))?;
    let mut words = line.split_whitespace();
    words
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
}

fn ids(models: &Value) -> BTreeSet<&str> {
    let list = models["data"].as_array();
    let list = list.unwrap_or_else(|| panic!("not a list of models: {models}"));
    list.iter().filter_map(|model| model["id"].as_str()).collect()
}

#[tokio::test]
async fn a_gateway_needs_no_file() {
    let world = World::new();
    let mock = world.mock(&["--model", "another"]);
    let mut command = Command::new(mulberry());
    command.args(["serve", "--backend", &mock.url()]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let gateway = Process::start(&mut command, "gateway", world.dir());
    let both = |log: &str| Some((bound(log, "address")?, bound(log, "admin")?));
    let Some((address, admin)) = gateway.stderr().wait_for(SOON, both) else {
        panic!("the gateway does not listen:\n{}", gateway.stderr().text());
    };

    // Models are known a moment after the start.
    let question = format!("GET /v1/models HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let listed = eventually(SOON, || {
        let answer = raw::exchange(&address, question.as_bytes());
        String::from_utf8_lossy(&answer).contains("another")
    });
    assert!(listed.await, "{}", gateway.stderr().text());
    let ours = Answer::of(get(&format!("http://{address}/v1/models")).await).await;
    let theirs = Answer::of(get(&format!("{}/v1/models", mock.url())).await).await;
    assert_eq!(ids(&ours.json()), ids(&theirs.json()));
    assert_eq!(ids(&ours.json()), BTreeSet::from(["mock", "another"]));
    let ready = Answer::of(get(&format!("http://{admin}/readyz")).await).await;
    assert_eq!(ready.status, 200);

    let answer = post(&format!("http://{address}/v1/chat/completions"), chat("another")).await;
    let answer = Answer::of(answer).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let usage = |name: &str| {
        let tokens = answer["usage"][name].as_u64();
        tokens.unwrap_or_else(|| panic!("no {name}: {answer}"))
    };
    let expected = [1, 0, usage("prompt_tokens"), 0, usage("completion_tokens"), 0, 0];
    // Without a file and a name, the records of the gateway that was started here. They are written a moment later.
    let mut shown = String::new();
    let is_shown = eventually(SOON, || {
        let usage = Command::new(mulberry()).arg("usage").current_dir(world.dir()).output();
        let usage = usage.expect("the binary has started before");
        shown = [usage.stdout, usage.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat();
        row(&shown, "another").is_some_and(|numbers| numbers == expected)
    });
    assert!(is_shown.await, "{expected:?} was expected:\n{shown}");
}

#[tokio::test]
async fn without_keys_only_this_machine_may_ask() {
    let world = World::new();
    let mock = world.mock(&[]);
    for (nth, listen) in [
        "0.0.0.0:0",
        "0.0.0.0:8080",
        "[::]:0",
        "192.0.2.1:8080",
        "[2001:db8::1]:8080",
        "[::ffff:192.0.2.1]:8080",
    ]
    .into_iter()
    .enumerate()
    {
        let mut command = Command::new(mulberry());
        command.args(["serve", "--backend", &mock.url(), "--listen", listen]);
        command
            .args(["--admin-listen", "127.0.0.1:0"])
            .env("MULBERRY_DATA_DIR", "null");
        let ended = run(&world, &format!("refused-{nth}"), &mut command).await;
        assert_eq!(ended.status.code(), Some(1), "{listen}: {}", ended.stderr);
        let (_, port) = listen.rsplit_once(':').expect("an address has a port");
        for part in [
            "--listen".to_owned(),
            format!("{listen} can be reached from other machines, and there can be no keys"),
            format!("`mulberry key create`, or listen on 127.0.0.1:{port}\n"),
        ] {
            assert!(ended.stderr.contains(&part), "no `{part}` in:\n{}", ended.stderr);
        }
    }
    let yaml = format!(
        "listen: 0.0.0.0:0\ndata_dir: null\nbackends: [{{name: only, url: '{}'}}]",
        mock.url()
    );
    let said = world.gateway_error(&yaml);
    assert!(said.contains("0.0.0.0:0 can be reached from other machines"), "{said}");
    assert!(said.contains("fix: add `keys:`"), "{said}");
}
