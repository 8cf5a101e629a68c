//! The section "Five commands" of docs/payments.md, typed line by line by somebody new, in a network of their own.

use std::process::{Command, Stdio};

use e2e::World;
use e2e::namespace::Namespace;
use e2e::process::mulberry;
use e2e::wait::skipped;

const DOCUMENT: &str = include_str!("../../../docs/payments.md");

/// The commands of the section, block by block.
fn blocks() -> Vec<&'static str> {
    let (_, section) = DOCUMENT.split_once("\n## Five commands\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another one follows");
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split_once("```").expect("it ends").0)
        .collect()
}

#[test]
fn from_nothing_to_a_settled_request() {
    let blocks = blocks();
    let [to_try, first, coins, rest] = blocks[..] else {
        panic!("the section has {} blocks", blocks.len());
    };
    let commands = |block: &str| {
        block
            .lines()
            .filter(|line| line.starts_with("mulberry") || line.starts_with("curl") || line.starts_with("kill"))
            .count()
    };
    assert_eq!(commands(first) + commands(rest), 5, "{first}{rest}");
    let network = match Namespace::new() {
        Ok(network) => network,
        Err(why) => return skipped("from_nothing_to_a_settled_request", &why),
    };
    let world = World::new();
    let folder = mulberry().parent().expect("it lies in a folder").display().to_string();
    let script = format!("set -e\n{to_try}\n{first}\n{coins}\n{rest}\nkill $(jobs -p)\n");
    let wrapper = network.wrapper();
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .args(["bash", "-c", &script])
        .current_dir(world.dir())
        .env("HOME", world.dir())
        .env("PATH", format!("{folder}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .env_remove("XDG_DATA_HOME")
        // The document says it.
        .env_remove("MULBERRY_WALLET_PASSPHRASE")
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("\"content\""), "{said}\n{errors}");
    assert!(said.contains("Closed with the payee: it has 0.000"), "{said}\n{errors}");
}
