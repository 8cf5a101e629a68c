//! Histories of a payment channel, each decided by its seed.
//!
//! A payer, a payee, a watchtower and a model of the contract; disks that tear what was not synced, a network that loses,
//! doubles and reorders, a chain that is late, refuses and halts, clocks that jump, processes that end between any two
//! effects, peers that lie and steal. After every step the invariants are looked at; at the end the faults stop, the
//! channel is closed, and every nanoton is accounted for.
//!
//! `MULBERRY_CHANNELS_SEED=42 cargo test -p billing --test channels` plays one history and tells it;
//! `MULBERRY_CHANNELS_S=3600` plays for an hour, `MULBERRY_CHANNELS_HISTORIES=5000` so many, the first seeds first; with
//! `-- --nocapture` it says how often what happened.

mod beside;
mod chain;
mod disk;
mod ending;
mod nodes;
#[path = "../simulation/random.rs"]
mod random;
#[path = "../simulation/seeds.rs"]
mod seeds;
mod stats;
mod stretch;
mod work;
mod world;

use std::{
    panic,
    time::{Duration, Instant},
};

use seeds::{asked, play_all};
use stats::Stats;
use world::{Step, World};

const SECONDS: u64 = 10;
/// At least so many, however slow the machine is.
const LEAST: u64 = 400;
const STEPS: u64 = 600;

fn play_on(world: &mut World, steps: u64) -> Step {
    for _ in 0..steps {
        world.step()?;
    }
    ending::settle(world)
}

/// An assertion of the machines is as much a failure as one of ours.
fn play(seed: u64, steps: u64, trace: Option<Vec<String>>) -> (Box<World>, Step) {
    let mut world = Box::new(World::new(seed, trace));
    let end = panic::catch_unwind(panic::AssertUnwindSafe(|| play_on(&mut world, steps)));
    let end = end.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a machine stopped: {}", text.unwrap_or_default()))
    });
    (world, end)
}

/// Plays a history again, with as few steps as it still fails with, and tells it.
fn tell(seed: u64) -> String {
    let mut steps = STEPS;
    let (mut low, mut high) = (0, STEPS);
    // Steps do not depend on how many follow: where fewer fail too, the end is nearer.
    while low < high {
        let middle = low.midpoint(high);
        if play(seed, middle, None).1.is_err() {
            steps = middle;
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let (world, end) = play(seed, steps, Some(Vec::new()));
    let trace = world.trace.unwrap_or_default().join("\n");
    let end = end.err().unwrap_or_else(|| "nothing is wrong".to_owned());
    format!(
        "{trace}\n\n{end}\n\nafter {steps} steps; replay it: MULBERRY_CHANNELS_SEED={seed} cargo test -p billing --test channels"
    )
}

/// How often what happened, for who asks with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness shows it where it is asked to")]
fn count(stats: &Stats) {
    for (what, count) in stats.counts() {
        println!("{count:>12} {what}");
    }
}

#[test]
fn the_invariants_hold_in_every_history() {
    if let Some(seed) = asked("MULBERRY_CHANNELS_SEED") {
        let (_, end) = play(seed, STEPS, None);
        assert!(end.is_ok(), "{}", tell(seed));
        return;
    }
    let most = asked("MULBERRY_CHANNELS_HISTORIES");
    let seconds = asked("MULBERRY_CHANNELS_S").unwrap_or(if most.is_some() { u64::MAX } else { SECONDS });
    let until = Instant::now().checked_add(Duration::from_secs(seconds));
    let is_late = || until.is_some_and(|until| Instant::now() >= until);
    let is_enough = |seed| (seed >= LEAST && is_late()) || seed >= most.unwrap_or(u64::MAX);
    let play_one = |seed, sum: &mut Stats| {
        let (world, end) = play(seed, STEPS, None);
        sum.add(&world.stats);
        end.is_ok()
    };
    // What machines say when they stop is told once, in the end.
    panic::set_hook(Box::new(|_| {}));
    let (stats, wrong) = play_all(is_enough, play_one, Stats::add);
    let told = wrong.map(tell);
    drop(panic::take_hook());
    assert!(told.is_none(), "{}", told.unwrap_or_default());
    count(&stats);
    let never: Vec<_> = stats.counts().filter(|(_, count)| *count == 0).collect();
    assert!(
        never.is_empty(),
        "these never happened, so that nothing was shown of them: {never:?}"
    );
}
