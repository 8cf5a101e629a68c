//! A hundred thousand histories of the ledger's protocol, each decided by its seed.
//!
//! Two or three nodes with a book, some with a journal of their own, serve requests from leased slices of one small
//! organisation, while messages are lost, delayed and doubled, processes crash before and after every effect, are
//! stopped past their leases and go on, the ledger's database is away, administrators cut budgets and forget nodes,
//! and days end. After every step the invariants are looked at, and when everything has come back the books are closed.
//!
//! `MULBERRY_SIM_SEED=42 cargo test -p billing --test simulation` plays one history and tells it;
//! `MULBERRY_SIM_HISTORIES=1000000` plays more of them, the first seeds first.

mod ending;
mod node;
mod random;
mod seeds;
mod world;

use seeds::{asked, play_all};
use world::{Stats, Step, World};

const HISTORIES: u64 = 100_000;
const STEPS: u64 = 160;
/// Of so many histories one is asked whether the money can be spent, too.
const SPENT: u64 = 16;

fn play(seed: u64, trace: Option<Vec<String>>) -> (World, Step) {
    let mut world = World::new(seed, trace);
    let end = play_on(&mut world, seed);
    (world, end)
}

fn play_on(world: &mut World, seed: u64) -> Step {
    world.begin()?;
    for _ in 0..STEPS {
        world.step()?;
    }
    ending::settle(world)?;
    if seed.is_multiple_of(SPENT) {
        ending::spend_what_is_left(world)?;
    }
    Ok(())
}

/// Plays a history again, and tells it.
fn tell(seed: u64) -> String {
    let (world, end) = play(seed, Some(Vec::new()));
    let trace = world.trace.unwrap_or_default().join("\n");
    let end = end.err().unwrap_or_else(|| "nothing is wrong".to_owned());
    format!("{trace}\n\n{end}\n\nreplay it: MULBERRY_SIM_SEED={seed} cargo test -p billing --test simulation")
}

#[test]
fn the_invariants_hold_in_every_history() {
    if let Some(seed) = asked("MULBERRY_SIM_SEED") {
        let (_, end) = play(seed, None);
        assert!(end.is_ok(), "{}", tell(seed));
        return;
    }
    let histories = asked("MULBERRY_SIM_HISTORIES").unwrap_or(HISTORIES);
    let play_one = |seed, sum: &mut Stats| {
        let (world, end) = play(seed, None);
        sum.add(&world.stats);
        end.is_ok()
    };
    let (stats, wrong) = play_all(|seed| seed >= histories, play_one, Stats::add);
    assert!(wrong.is_none(), "{}", wrong.map(tell).unwrap_or_default());
    let never: Vec<_> = stats.counts().into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(
        never.is_empty(),
        "these never happened, so that nothing was shown of them: {never:?}"
    );
}
