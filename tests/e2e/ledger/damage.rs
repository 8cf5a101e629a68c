//! What the ledger stands on is broken: a clear message, nothing lost, and never a free answer.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Command;

use e2e::World;
use e2e::spender::{Question, Seen, Spender};
use e2e::wait::SOON;

use super::{Books, KEY, Mode, Stage, units, verify};

const BUDGET: u64 = 1_000_000_000;

fn question(id: String) -> Question {
    Question {
        id,
        model: "fault/tokens-8".to_owned(),
        prompt: "word word".to_owned(),
        is_stream: true,
        max_tokens: Some(16),
    }
}

#[tokio::test]
async fn a_postgres_that_is_down_at_the_start() {
    let world = World::new();
    let said = world.gateway_error(
        "database: postgres://mulberry@127.0.0.1:1/mulberry\n\
         backends: [{name: only, url: 'http://127.0.0.1:1'}]\n\
         keys: [{name: spender, secret: sk-spender, budget: {total: 1}}]\n",
    );
    assert!(said.contains("127.0.0.1:1") && said.contains("cannot"), "{said}");
}

/// Pages in the middle of the file are overwritten while the gateway is away.
#[tokio::test]
async fn a_corrupt_page_of_the_database() {
    let Some(stage) = Stage::new(Mode::Sqlite) else { return };
    let mut gateway = stage.gateway("n1", &units(BUDGET), "");
    let spender = Spender::new(&gateway.url(), KEY);
    for i in 0..50 {
        let seen = spender.ask(&question(format!("before-{i}"))).await;
        assert!(matches!(seen, Seen::End(_)), "{seen:?}");
    }
    gateway.signal("TERM");
    assert!(gateway.wait(SOON).await.success(), "{}", gateway.log());
    let path = stage.disk("n1").join("mulberry.db");
    let whole = std::fs::metadata(&path).expect("it is there").len();
    let mut file = OpenOptions::new().write(true).open(&path).expect("it is there");
    // The first page says what the file is, and stays.
    file.seek(SeekFrom::Start(4096)).expect("it is longer");
    let damage = vec![0xa5; usize::try_from(whole - 4096).expect("is small")];
    file.write_all(&damage).expect("there is room");
    drop(file);
    let said = stage.refused("n1", &units(BUDGET));
    assert!(said.contains("mulberry.db"), "{said}");
    assert!(
        said.contains("damaged") || said.contains("malformed") || said.contains("corrupt"),
        "{said}"
    );
}

/// The gateway's disk is a file system of its own, and runs full under load.
#[tokio::test]
async fn a_full_disk() {
    let Some(stage) = Stage::new(Mode::Sqlite) else { return };
    let disk = stage.disk("n1");
    std::fs::create_dir(&disk).expect("the world is writable");
    let Some(_mounted) = Mounted::at(&disk) else {
        e2e::wait::skipped("a_full_disk", "this machine does not let us mount");
        return;
    };
    let gateway = stage.gateway("n1", &units(BUDGET), "");
    let spender = Spender::new(&gateway.url(), KEY);
    let mut seen = Vec::new();
    for i in 0..3 {
        let id = format!("before-{i}");
        let answer = spender.ask(&question(id.clone())).await;
        assert!(matches!(answer, Seen::End(_)), "{answer:?}");
        seen.push((id, answer));
    }
    let ballast = disk.join("ballast");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&ballast)
        .expect("there is room yet");
    // To the last byte.
    for piece in [1 << 16, 4096, 1] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
    let mut is_refused = false;
    for i in 0..40 {
        let id = format!("full-{i}");
        let answer = tokio::time::timeout(std::time::Duration::from_secs(2), spender.ask(&question(id.clone()))).await;
        // What is not durable has no end.
        let answer = answer.unwrap_or(Seen::Broken);
        is_refused |= !matches!(answer, Seen::End(_));
        seen.push((id, answer));
        if is_refused {
            break;
        }
    }
    assert!(is_refused, "all is served on a full disk: {seen:?}");
    drop(file);
    std::fs::remove_file(&ballast).expect("it is ours");
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let id = format!("after-{}", seen.len());
        let answer = spender.ask(&question(id.clone())).await;
        let is_back = matches!(answer, Seen::End(_));
        seen.push((id, answer));
        if is_back {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it does not come back: {seen:?}\n{}",
            gateway.log()
        );
    }
    Books::of(&gateway).await.agree_with(&seen, "after a full disk");
    verify(&gateway, "after a full disk").await;
}

/// A small file system in memory.
struct Mounted<'a>(&'a std::path::Path);

impl<'a> Mounted<'a> {
    fn at(folder: &'a std::path::Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(folder);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // The gateway may still have it open.
        drop(Command::new("umount").arg("--lazy").arg(self.0).output());
    }
}
