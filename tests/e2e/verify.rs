//! `mulberry verify`: good receipts, and every way in which receipts are not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::World;
use e2e::process::{fed, mulberry, python};

/// The public key of RFC 8032, 7.1, test 1, which signed the golden receipts.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// 32 bytes of 7.
const SALT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../billing/src/receipt/golden");
    fs::read_to_string(folder.join(name)).expect("it is kept")
}

fn lines() -> Vec<String> {
    golden("receipts.ndjson").lines().map(str::to_owned).collect()
}

struct Told {
    status: Option<i32>,
    text: String,
}

fn verify(world: &World, receipts: &str, flags: &[&str]) -> Told {
    let output = fed(
        Command::new(mulberry())
            .args(["verify", "-"])
            .args(flags)
            .current_dir(world.dir()),
        receipts,
    );
    let text = [output.stdout, output.stderr].concat();
    Told {
        status: output.status.code(),
        text: String::from_utf8(text).expect("UTF-8"),
    }
}

#[track_caller]
fn check(world: &World, receipts: &str, flags: &[&str], status: i32, says: &str) {
    let told = verify(world, receipts, &[&["--key", KEY], flags].concat());
    assert_eq!(told.status, Some(status), "{}", told.text);
    assert!(told.text.contains(says), "{:?} should say {says:?}", told.text);
}

#[test]
fn good_receipts_are_good_in_every_form_that_the_gateway_or_a_tool_gives() {
    let world = World::new();
    let all = golden("receipts.ndjson");
    let first = lines().remove(0);
    check(&world, &all, &[], 0, "3 receipts of 1 chain, none missing in between;");
    check(
        &world,
        &first,
        &[],
        0,
        "good  gateway-1-5e3c8ba0/41  req_00000041  2026-11-22T",
    );
    check(
        &world,
        &first,
        &[],
        0,
        "key:alice  Qwen/Qwen3-8B  0.000072000 TON  open",
    );
    let list = format!("{{\"data\": [{}],\n \"object\": \"list\"}}\n", lines().join(", "));
    check(
        &world,
        &list,
        &["--from-first"],
        0,
        "3 receipts of 1 chain, none missing in between, from the first",
    );
    let indented: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    check(
        &world,
        &serde_json::to_string_pretty(&indented).expect("JSON"),
        &[],
        0,
        "1 receipt of 1 chain",
    );
    // By a key set in a file, and no key besides.
    let keys = world.file("keys.json", KEYS);
    let told = verify(&world, &all, &["--keys", &keys.display().to_string()]);
    assert_eq!(told.status, Some(0), "{}", told.text);
}

#[test]
fn what_was_altered_is_named() {
    let world = World::new();
    let all = golden("receipts.ndjson");
    check(
        &world,
        &all.replacen("72000", "72001", 1),
        &[],
        1,
        "refused: -: amounts: is not what was signed",
    );
    check(
        &world,
        &all.replacen("key:alice", "key:alicf", 1),
        &[],
        1,
        "-: account: ",
    );
    check(&world, &all.replacen("\"v\":1", "\"v\":01", 1), &[], 1, "-: v: byte ");
    check(
        &world,
        &all.replacen("\"gateway\"", "\"gatewax\"", 1),
        &[],
        1,
        "-: signatures: ",
    );
    check(&world, "{", &[], 1, "-: document: ");
    let other = "0".repeat(64);
    let told = verify(&world, &all, &["--key", &other]);
    assert_eq!(told.status, Some(1), "{}", told.text);
    assert!(told.text.contains("signatures[0].key_id"), "{}", told.text);
}

/// The unit test flips every bit; here some of them go the whole way, to the exit status.
#[test]
fn a_bit_flipped_anywhere_is_refused_with_a_field() {
    let world = World::new();
    let good = format!("{}\n", lines().remove(2));
    let flipped = (0..good.len()).step_by(31).map(|at| {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let files: Vec<PathBuf> = flipped
        .enumerate()
        .map(|(at, bytes)| {
            let path = world.dir().join(format!("flipped-{at}.json"));
            fs::write(&path, bytes).expect("the folder can be written");
            path
        })
        .collect();
    assert!(files.len() > 50, "the receipt is long enough");
    for file in files {
        let run = Command::new(mulberry())
            .arg("verify")
            .arg(&file)
            .args(["--key", KEY])
            .output();
        let output = run.expect("the binary starts");
        let told = String::from_utf8_lossy(&output.stdout);
        let refused = told.strip_prefix(&format!("refused: {}: ", file.display()));
        let field = refused
            .and_then(|refused| refused.split_once(": "))
            .map(|(field, _)| field);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(field.is_some_and(|field| !field.is_empty()), "{told}");
    }
}

#[test]
fn bodies_are_compared_by_the_salt() {
    let world = World::new();
    let first = lines().remove(0);
    let request = world.file("request", r#"{"model":"Qwen/Qwen3-8B","messages":[]}"#);
    let response = world.file("response", r#"{"id":"chatcmpl-1"}"#);
    let (request, response) = (request.display().to_string(), response.display().to_string());
    let good = ["--salt", SALT, "--request", &request, "--response", &response];
    check(&world, &first, &good, 0, "good");
    let swapped = ["--salt", SALT, "--request", &response];
    check(&world, &first, &swapped, 1, "gateway-1-5e3c8ba0/41: request.received: ");
    let swapped = ["--salt", SALT, "--response", &request];
    check(
        &world,
        &first,
        &swapped,
        1,
        "gateway-1-5e3c8ba0/41: response.returned: ",
    );
    let salt = "A".repeat(43);
    check(
        &world,
        &first,
        &["--salt", &salt, "--request", &request],
        1,
        "request.received",
    );
}

#[test]
fn a_chain_that_is_not_whole_is_refused() {
    let world = World::new();
    let receipts = lines();
    let checkpoint = world
        .file("checkpoint.json", golden("checkpoint.json"))
        .display()
        .to_string();
    let with = |at: &[usize]| {
        at.iter()
            .map(|at| receipts[*at].as_str())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let at_checkpoint = ["--checkpoint", checkpoint.as_str()];
    check(
        &world,
        &with(&[2, 0, 1]),
        &at_checkpoint,
        0,
        "none of org:acme missing at the end as of 2026-11-22T",
    );
    check(&world, &with(&[0, 1]), &[], 0, "whether more followed is not checked");
    check(
        &world,
        &with(&[0, 1]),
        &at_checkpoint,
        1,
        "cut off before gateway-1-5e3c8ba0/43",
    );
    check(
        &world,
        &with(&[0, 2]),
        &[],
        1,
        "gateway-1-5e3c8ba0/43: previous: gateway-1-5e3c8ba0/42, which it names, is missing",
    );
    check(&world, &with(&[0, 2]), &["--allow-gaps"], 0, "2 receipts of 1 chain");
    check(&world, &with(&[1, 2]), &[], 0, "2 receipts");
    check(
        &world,
        &with(&[1, 2]),
        &["--from-first"],
        1,
        "gateway-1-5e3c8ba0/41, which it names, is missing",
    );
    check(
        &world,
        &with(&[0, 1, 2]),
        &["--head", &"0".repeat(64)],
        1,
        "no chain ends with the hash 0000",
    );
    let altered = world.file(
        "altered.json",
        golden("checkpoint.json").replacen("\"seq\":43", "\"seq\":42", 1),
    );
    check(
        &world,
        &with(&[0, 1, 2]),
        &["--checkpoint", &altered.display().to_string()],
        1,
        "heads: is not what was signed",
    );
}

#[test]
fn nothing_is_said_without_a_key_or_a_receipt() {
    let world = World::new();
    let unusable = |receipts: &str, flags: &[&str], says: &str| {
        let told = verify(&world, receipts, flags);
        assert_eq!(told.status, Some(2), "{}", told.text);
        assert!(told.text.contains(says), "{}", told.text);
    };
    unusable(&golden("receipts.ndjson"), &[], "give the gateway's public key");
    unusable(" \n", &["--key", KEY], "holds no receipt");
    unusable("", &["--keys", "none.json"], "cannot read 'none.json'");
    let wrong = world.file("wrong.json", "{\"keys\":[]}").display().to_string();
    unusable("", &["--keys", &wrong], "has no key of kind OKP");
    unusable("", &["--key", "0"], "expected 64 hexadecimal digits");
}

/// The recipe of docs/receipts.md, as a stranger would run it.
#[test]
fn the_recipe_of_the_document_accepts_the_same_and_refuses_the_same() {
    let world = World::new();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/receipts.md");
    let document = fs::read_to_string(document).expect("it is there");
    let (_, recipe) = document.split_once("```python\n").expect("there is a recipe");
    let (recipe, _) = recipe.split_once("```").expect("it ends");
    let recipe = world.file("recipe.py", recipe);
    let run = |receipts: &str| {
        let file: PathBuf = world.file("receipts.ndjson", receipts);
        let run = Command::new(python()).arg(&recipe).arg(file).arg(KEY).output();
        let output = run.expect("Python starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let golden = golden("receipts.ndjson");
    let (is_good, told) = run(&golden);
    assert!(is_good, "{told}");
    // It computes the hash that the next receipt names.
    let hash = told
        .lines()
        .next()
        .and_then(|line| line.split_once(' '))
        .expect("a name and a hash")
        .1;
    assert!(lines()[1].contains(&format!("\"previous\":{{\"hash\":\"{hash}\",\"seq\":41}}")));
    assert!(!run(&golden.replacen("72000", "72001", 1)).0);
}
