use std::path::PathBuf;

use super::*;
use crate::disk::OpenError;
use crate::world::Tip;

/// A folder of this test alone, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mulberry-sim-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn open(&self, settings: Settings) -> Simulated {
        Simulated::open(&self.0, settings).expect("opened")
    }

    fn file(&self) -> PathBuf {
        self.0.join("chain")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder hurts nobody.
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// All that can be asked.
fn told(chain: &Simulated) -> (Tip, Vec<(AccountState, Vec<Transaction>)>) {
    let tip = *chain.state().world.final_tip();
    let accounts = (0..4)
        .map(|n| {
            let (who, _) = forwarder(n);
            (account(chain, who), history(chain, who))
        })
        .collect();
    (tip, accounts)
}

fn play(chain: &Simulated) {
    let (rich, _) = forwarder(1);
    let (poor, _) = forwarder(2);
    chain.fund(rich, nano(10 * TON)).expect("taken");
    chain.tick().expect("made");
    now(chain.send(&ask_to_send(1, &poor, 1_000, true))).expect("taken");
    chain.tick().expect("made");
    chain.advance(1_000).expect("moved");
    now(chain.send(&ask_to_send(1, &poor, 2_000, false))).expect("taken");
    chain.tick().expect("made");
}

#[test]
fn a_chain_is_there_after_a_restart() {
    let folder = Folder::new("restart");
    let chain = folder.open(Settings::for_tests(1));
    play(&chain);
    chain.change_prices(Prices::New, 0);
    chain.tick().expect("made");
    let (before, time) = (told(&chain), chain.now());
    drop(chain);
    let chain = folder.open(Settings::for_tests(2));
    assert_eq!(told(&chain), before);
    assert_eq!(chain.now(), time, "the clock stands where it stood");
    chain.tick().expect("made");
    assert_eq!(chain.state().world.tip().prices, Prices::New);
}

#[test]
fn what_was_taken_back_stays_so() {
    let folder = Folder::new("fork");
    let lagging = Settings {
        finality_lag: 3,
        ..Settings::for_tests(1)
    };
    let chain = folder.open(lagging.clone());
    play(&chain);
    chain.take_back(2).expect("taken back");
    chain.tick().expect("made");
    let before = told(&chain);
    drop(chain);
    let chain = folder.open(lagging);
    assert_eq!(told(&chain), before);
    drop(chain);
    // The lag is the chain's: other settings do not make final what was not.
    assert_eq!(told(&folder.open(Settings::for_tests(1))), before);
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let folder = Folder::new("torn");
    let chain = folder.open(Settings::for_tests(1));
    play(&chain);
    let (before, end) = (told(&chain), chain.state().disk.as_ref().expect("durable").len());
    chain.fund(forwarder(3).0, nano(7)).expect("taken");
    chain.tick().expect("made");
    drop(chain);
    let whole = std::fs::read(folder.file()).expect("read");
    let end = usize::try_from(end).expect("small");
    for cut in (end..end + 50).chain((end + 50..whole.len()).step_by(41)) {
        std::fs::write(folder.file(), &whole[..cut]).expect("written");
        let chain = folder.open(Settings::for_tests(1));
        assert_eq!(told(&chain), before, "cut at {cut}");
        // And the next block goes where it was.
        chain.tick().expect("made");
        let after = told(&chain);
        drop(chain);
        assert_eq!(told(&folder.open(Settings::for_tests(1))), after);
    }
    // The length was on the disk, and what it is the length of was not.
    let mut blank = whole.clone();
    blank[end + 40..].fill(0);
    std::fs::write(folder.file(), &blank).expect("written");
    assert_eq!(told(&folder.open(Settings::for_tests(1))), before);
    // The file was longer before anything was in it.
    blank[end..].fill(0);
    std::fs::write(folder.file(), &blank).expect("written");
    assert_eq!(told(&folder.open(Settings::for_tests(1))), before);
}

#[test]
fn damage_in_the_middle_is_refused() {
    let folder = Folder::new("damage");
    let chain = folder.open(Settings::for_tests(1));
    play(&chain);
    let end = usize::try_from(chain.state().disk.as_ref().expect("durable").len()).expect("small");
    chain.tick().expect("made");
    drop(chain);
    let whole = std::fs::read(folder.file()).expect("read");
    let open = |bytes: &[u8]| {
        std::fs::write(folder.file(), bytes).expect("written");
        Simulated::open(&folder.0, Settings::for_tests(1)).err()
    };
    let mut damaged = whole.clone();
    damaged[end - 1] ^= 1;
    assert!(matches!(open(&damaged), Some(OpenError::Damaged { .. })));
    assert!(matches!(
        open(b"somebody else's file of any length, and then some more of it"),
        Some(OpenError::NotAChain { .. })
    ));
    assert!(open(&whole).is_none());
}

#[test]
fn a_folder_has_one_process_and_one_network() {
    let folder = Folder::new("lock");
    let chain = folder.open(Settings::for_tests(1));
    assert!(matches!(
        Simulated::open(&folder.0, Settings::for_tests(1)),
        Err(OpenError::Locked(_))
    ));
    drop(chain);
    let testnet = Settings {
        network: Network::TESTNET,
        ..Settings::for_tests(1)
    };
    assert!(matches!(
        Simulated::open(&folder.0, testnet),
        Err(OpenError::OtherNetwork { there: DEVELOPMENT, .. })
    ));
}

#[test]
fn a_long_file_is_replaced_by_its_state() {
    for finality_lag in [0, 2] {
        let folder = Folder::new(&format!("compact-{finality_lag}"));
        let settings = Settings {
            finality_lag,
            compact_above_bytes: 20_000,
            keep_transactions: 5,
            ..Settings::for_tests(1)
        };
        let chain = folder.open(settings.clone());
        play(&chain);
        let mut longest = 0;
        for amount in 0..60 {
            now(chain.send(&ask_to_send(1, &forwarder(2).0, amount, false))).expect("taken");
            chain.tick().expect("made");
            longest = longest.max(chain.state().disk.as_ref().expect("durable").len());
        }
        assert!(longest > 20_000);
        let len = chain.state().disk.as_ref().expect("durable").len();
        assert!(len < 60_000, "{len} bytes");
        let kept = history(&chain, forwarder(1).0).len();
        // Five were kept at some block, two of which were not final yet; and since then more came.
        assert!((3..40).contains(&kept), "{kept} transactions");
        chain.take_back(1).expect("taken back");
        let before = told(&chain);
        drop(chain);
        assert_eq!(told(&folder.open(settings)), before);
    }
}

#[test]
fn a_block_that_cannot_be_written_did_not_happen() {
    let folder = Folder::new("full");
    let chain = folder.open(Settings::for_tests(1));
    play(&chain);
    let before = told(&chain);
    chain.fund(forwarder(3).0, nano(7)).expect("taken");
    let good = {
        let mut state = chain.state();
        let disk = state.disk.as_mut().expect("durable");
        disk.danger_swap_file(std::fs::File::open(folder.file()).expect("read only"))
    };
    assert!(matches!(chain.tick(), Err(TickError::Disk(_))));
    assert_eq!(told(&chain), before);
    assert_eq!(chain.waiting(), 1);
    // It could not even be cut: nothing more is written until a restart.
    let mut state = chain.state();
    state.disk.as_mut().expect("durable").danger_swap_file(good);
    drop(state);
    assert!(matches!(chain.tick(), Err(TickError::Disk(_))));
    drop(chain);
    assert_eq!(told(&folder.open(Settings::for_tests(1))), before);
}
