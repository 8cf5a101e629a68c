//! `mulberry wallet` as a person runs it.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use e2e::World;
use e2e::process::{fed, mulberry};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery staple";

/// What TON's official libraries say: the words of a wallet, and its address on the main network.
fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../billing/ton/golden/wallets.json");
    serde_json::from_str(&fs::read_to_string(path).expect("it is kept")).expect("JSON")
}

/// A person without a terminal, whose data lie in this world.
fn command(world: &World, arguments: &[&str]) -> Command {
    // A session of its own has no terminal, whoever runs the tests.
    let mut command = Command::new("setsid");
    command
        .arg("--wait")
        .arg(mulberry())
        .args(arguments)
        .current_dir(world.dir())
        .env("XDG_DATA_HOME", world.dir())
        .env_remove("MULBERRY_WALLET")
        .env_remove("MULBERRY_NETWORK")
        .env_remove("MULBERRY_WALLET_PASSPHRASE");
    command
}

struct Told {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn told(command: &mut Command, input: &str) -> Told {
    let output = fed(command, input);
    Told {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

#[track_caller]
fn succeed(command: &mut Command, input: &str) -> String {
    let told = told(command, input);
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    told.stdout
}

#[track_caller]
fn refused(command: &mut Command, input: &str, says: &str) {
    let told = told(command, input);
    assert_eq!(told.status, Some(1), "{}", told.stderr);
    assert!(told.stderr.contains(says), "{:?} should say {says:?}", told.stderr);
    assert_eq!(told.stdout, "", "a command that failed told nothing");
}

#[test]
fn a_wallet_is_made_shown_and_restored_from_its_words() {
    let world = World::new();
    let passphrase = world.secret("passphrase", &format!("{PASSPHRASE}\n"));
    let passphrase = passphrase.to_str().expect("UTF-8");
    let create = ["wallet", "create", "--passphrase-file", passphrase, "--output", "json"];
    let made: Value = serde_json::from_str(&succeed(&mut command(&world, &create), "")).expect("JSON");
    let words = made["words"].as_str().expect("words");
    assert_eq!(words.split(' ').count(), 24);
    let file = world.dir().join("mulberry/wallet.json");
    assert_eq!(made["file"].as_str(), file.to_str());
    let mode = |path: &Path| fs::metadata(path).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&world.dir().join("mulberry")), 0o700);
    let kept = fs::read_to_string(&file).expect("it was made");
    // A word alone may be the name of a field: `purpose` and `public` are in the list.
    let list: Vec<&str> = words.split(' ').collect();
    for pair in list.windows(2) {
        let is_there = kept.contains(&pair.join(" ")) || kept.contains(&pair.join("\",\""));
        assert!(!is_there, "words are in the file: {kept}");
    }
    // The address needs no passphrase, and is alone on its line.
    let address = succeed(&mut command(&world, &["wallet", "address"]), "");
    assert_eq!(address.trim_end(), made["address"].as_str().expect("an address"));
    assert!(address.starts_with("UQ"), "{address}");
    // The same words are the same wallet, typed in capitals and on lines.
    let again = world.dir().join("again.json");
    let import = [
        "wallet",
        "import",
        "--wallet",
        again.to_str().expect("UTF-8"),
        "--passphrase-file",
        passphrase,
    ];
    let said = succeed(&mut command(&world, &import), &words.to_uppercase().replace(' ', "\n"));
    assert!(said.contains(address.trim_end()), "{said}");
    assert!(
        !said.contains("24 words on paper"),
        "words that were typed are not printed: {said}"
    );
    // Nothing is written over.
    for arguments in [&create[..], &import[..]] {
        refused(
            &mut command(&world, arguments),
            words,
            "already, and it was not touched",
        );
    }
    assert_eq!(fs::read_to_string(&file).expect("it is there"), kept);
}

#[test]
fn addresses_are_those_of_the_official_library() {
    let world = World::new();
    let golden = golden();
    let mut checked = 0;
    for case in golden["wallets"].as_array().expect("a list") {
        let network = case["network"].to_string();
        let key = case["seed"].as_str().expect("a key");
        let file = world.dir().join(format!("{key}{network}.json"));
        let place = ["--wallet", file.to_str().expect("UTF-8"), "--network", &network];
        let import = [&["wallet", "import"], &place[..]].concat();
        let mut import = command(&world, &import);
        succeed(import.env("MULBERRY_WALLET_PASSPHRASE", PASSPHRASE), key);
        let address = [&["wallet", "address", "--output", "json"], &place[..]].concat();
        let said = succeed(&mut command(&world, &address), "");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["raw"], case["address"]);
        assert_eq!(said["network"], format!("tvm:{network}"));
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}

#[test]
fn words_are_shown_only_to_who_was_asked_twice() {
    let world = World::new();
    let golden = golden();
    let words = golden["mnemonics"][0]["words"].as_str().expect("words");
    let with = |arguments: &[&str]| {
        let mut command = command(&world, arguments);
        command.env("MULBERRY_WALLET_PASSPHRASE", PASSPHRASE);
        command
    };
    succeed(&mut with(&["wallet", "import"]), words);
    refused(&mut with(&["wallet", "words"]), "show\n", "the words were not shown");
    let shown = succeed(&mut with(&["wallet", "words", "--show"]), "");
    for word in words.split(' ') {
        assert!(shown.contains(word), "{shown}");
    }
    let mut wrong = command(&world, &["wallet", "words", "--show"]);
    wrong.env("MULBERRY_WALLET_PASSPHRASE", "correct horse battery stable");
    refused(&mut wrong, "", "the passphrase is wrong");
    // A wallet of a raw key has none.
    let key = golden["wallets"][0]["seed"].as_str().expect("a key");
    succeed(&mut with(&["wallet", "import", "--wallet", "key.json"]), key);
    let words = ["wallet", "words", "--show", "--wallet", "key.json"];
    refused(&mut with(&words), "", "has no words; keep a copy of the key file");
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let world = World::new();
    let golden = golden();
    let words = golden["mnemonics"][0]["words"].as_str().expect("words");
    let check = |arguments: &[&str], input: &str, says: &str| {
        refused(&mut command(&world, arguments), input, says);
        assert!(!world.dir().join("mulberry").exists(), "something was written");
    };
    check(
        &["wallet", "address"],
        "",
        "make one with `mulberry wallet create`, or take one over with",
    );
    check(
        &["wallet", "create"],
        "",
        "there is no terminal to ask on; name a file that has it with --passphrase-file, or set MULBERRY_WALLET_PASSPHRASE",
    );
    let open = world.file("open", PASSPHRASE);
    let open = ["wallet", "create", "--passphrase-file", open.to_str().expect("UTF-8")];
    check(&open, "", "others may read");
    let file = |name: &str, text: &str| world.secret(name, text).to_str().expect("UTF-8").to_owned();
    let short = file("short", "seven77\n");
    check(
        &["wallet", "create", "--passphrase-file", &short],
        "",
        "at least 8 bytes",
    );
    let empty = file("empty", "\nsecond line\n");
    check(&["wallet", "create", "--passphrase-file", &empty], "", "is empty");
    check(
        &["wallet", "create", "--passphrase-file", "missing"],
        "",
        "No such file",
    );
    let good = file("good", PASSPHRASE);
    let import = ["wallet", "import", "--passphrase-file", &good];
    check(&import, "", "there must be 24 words, and there are 0");
    check(&import, "0011", "neither 24 words nor a private key");
    check(
        &import,
        &words.replacen("relax", "relaxx", 1),
        "word 3 is not in the list",
    );
    check(&import, &words.replacen("relax", "zoo", 1), "do not belong together");
    let with_password = golden["mnemonicWithPassword"]["words"].as_str().expect("words");
    check(&import, with_password, "belong to a password");
    let from = ["wallet", "import", "--passphrase-file", &good, "--from", "missing"];
    check(&from, "", "cannot read 'missing'");
    let told = told(&mut command(&world, &["wallet", "create", "--network", "main"]), "");
    assert_eq!(told.status, Some(2));
    assert!(told.stderr.contains("write mainnet, testnet"), "{}", told.stderr);
    // Nothing that was typed comes back in an error.
    let told = self::told(&mut command(&world, &import), &words.replacen("relax", "relaxx", 1));
    assert!(!told.stderr.contains("relaxx"), "{}", told.stderr);
    // Nobody knows where data lie.
    let mut homeless = command(&world, &["wallet", "address"]);
    homeless.env_remove("XDG_DATA_HOME").env_remove("HOME");
    refused(&mut homeless, "", "name the key file with --wallet FILE");
    // A damaged file is not a wrong passphrase.
    let mut import = command(&world, &import);
    succeed(&mut import, words);
    let path = world.dir().join("mulberry/wallet.json");
    let text = fs::read_to_string(&path).expect("it was made");
    fs::write(&path, text.replacen("argon2id", "argon2ix", 1)).expect("a file");
    refused(&mut command(&world, &["wallet", "address"]), "", "damaged");
    fs::write(&path, &text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a file");
    refused(&mut command(&world, &["wallet", "address"]), "", "chmod 600");
}

/// Runs a command on a terminal and answers each question when it comes; gives the status and all that was on the screen.
fn on_a_terminal(world: &World, arguments: &str, dialogue: &[(&str, &str)]) -> (Option<i32>, String) {
    typed_on_a_terminal(world, &format!("{} {arguments}", mulberry().display()), dialogue)
}

/// The same for any line of a shell.
fn typed_on_a_terminal(world: &World, line: &str, dialogue: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .current_dir(world.dir())
        .env("XDG_DATA_HOME", world.dir())
        .env_remove("MULBERRY_WALLET")
        .env_remove("MULBERRY_NETWORK")
        .env_remove("MULBERRY_WALLET_PASSPHRASE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` is on every system that we test on");
    let mut keys = child.stdin.take().expect("it was asked for above");
    let mut screen = child.stdout.take().expect("it was asked for above");
    let mut seen = String::new();
    let mut from = 0;
    for (question, answer) in dialogue {
        while !seen[from..].contains(question) {
            let mut some = [0; 512];
            let read = screen.read(&mut some).expect("the screen can be read");
            assert!(read > 0, "{question:?} was never asked: {seen}");
            seen.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        from = seen.len();
        keys.write_all(answer.as_bytes()).expect("the terminal is there");
        keys.flush().expect("the terminal is there");
    }
    let rest = thread::spawn(move || {
        let mut rest = Vec::new();
        // The end of a terminal may be an error.
        drop(screen.read_to_end(&mut rest));
        String::from_utf8_lossy(&rest).into_owned()
    });
    let status = child.wait().expect("it ends");
    drop(keys);
    seen.push_str(&rest.join().expect("it only reads"));
    (status.code(), seen)
}

#[test]
fn a_terminal_is_asked_and_shows_no_secret() {
    let world = World::new();
    let (status, screen) = on_a_terminal(
        &world,
        "wallet create",
        &[
            ("New passphrase", "correct horse battery\n"),
            ("The same again", "correct horse batterx\u{7f}y\n"),
        ],
    );
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains("horse"), "the passphrase was echoed: {screen}");
    assert!(screen.contains("Write these 24 words on paper"), "{screen}");
    let words: Vec<&str> = screen
        .lines()
        .filter(|line| line.starts_with("   1 ") || line.starts_with("  21 "))
        .collect();
    assert_eq!(words.len(), 2, "{screen}");
    // The words again: asked for what it means, then for the passphrase.
    let (status, screen) = on_a_terminal(
        &world,
        "wallet words",
        &[("Type `show`", "show\n"), ("Passphrase of", "correct horse battery\n")],
    );
    assert_eq!(status, Some(0), "{screen}");
    assert!(screen.contains(words[0].trim_end()), "{screen}");
    let (status, screen) = on_a_terminal(&world, "wallet words", &[("Type `show`", "no\n")]);
    assert_eq!(status, Some(1), "{screen}");
    assert!(!screen.contains(words[0].trim_end()), "{screen}");
    // Ctrl-C while a secret is typed.
    let (status, screen) = on_a_terminal(
        &world,
        "wallet create --wallet other.json",
        &[("New passphrase", "half\u{3}")],
    );
    assert_eq!(status, Some(1), "{screen}");
    assert!(screen.contains("cancelled at the terminal"), "{screen}");
    // Two that differ.
    let (status, screen) = on_a_terminal(
        &world,
        "wallet create --wallet other.json",
        &[
            ("New passphrase", "correct horse\n"),
            ("The same again", "correct house\n"),
        ],
    );
    assert_eq!(status, Some(1), "{screen}");
    assert!(screen.contains("nothing was written"), "{screen}");
    assert!(!world.dir().join("other.json").exists());
    // Words that are typed are not shown either.
    let golden = golden();
    let typed = golden["mnemonics"][0]["words"].as_str().expect("words");
    let (status, screen) = on_a_terminal(
        &world,
        "wallet import --wallet other.json",
        &[
            ("Words or key", &format!("{typed}\n")),
            ("New passphrase", "correct horse battery\n"),
            ("The same again", "correct horse battery\n"),
        ],
    );
    assert_eq!(status, Some(0), "{screen}");
    assert!(!screen.contains("relax"), "a word was echoed: {screen}");
}

#[test]
fn in_the_background_nobody_is_asked() {
    let world = World::new();
    let line = format!(
        "bash -c 'set -m; {} wallet create --wallet other.json & wait $!; echo ended with $?'",
        mulberry().display()
    );
    let (_, screen) = typed_on_a_terminal(&world, &line, &[]);
    for part in [
        "a passphrase is needed and this is in the background, where nobody can answer",
        "--passphrase-file, or set MULBERRY_WALLET_PASSPHRASE",
        "ended with 1",
    ] {
        assert!(screen.contains(part), "no `{part}` in: {screen}");
    }
}

#[test]
fn an_address_is_drawn_for_a_phone() {
    let world = World::new();
    let mut import = command(&world, &["wallet", "import"]);
    let key = "07".repeat(32);
    succeed(import.env("MULBERRY_WALLET_PASSPHRASE", PASSPHRASE), &key);
    let said = succeed(&mut command(&world, &["wallet", "address", "--qr"]), "");
    assert!(said.contains('█'), "{said}");
    let address = said.lines().next().expect("the address");
    assert!(said.contains(&format!("ton://transfer/{address}")), "{said}");
}
