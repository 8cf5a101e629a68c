//! The faults stop: everything settles, and every nanoton is accounted for.

use billing::{
    Nano,
    channel::{payee, payer},
};

use crate::world::{Nature, Step, World};

/// Rounds in which the two agree again before the channel is closed.
const ROUNDS: u64 = 60;
/// Until then it must be over.
const MOST_ROUNDS: u64 = 4000;

pub(crate) fn settle(world: &mut World) -> Step {
    world.is_calm = true;
    world.chain.is_halted = false;
    for _ in 0..ROUNDS {
        round(world, 100)?;
        world.mature();
    }
    world.payer_event(payer::Event::Close);
    let mut rounds = 0;
    while !is_over(world) {
        rounds += 1;
        if rounds > MOST_ROUNDS {
            return Err(format!(
                "the channel does not come to an end: payer {:?}, payee {:?}, chain {:?}",
                world.payer.machine.as_ref().map(|payer| payer.phase()),
                world.payee.machine.as_ref().map(|payee| payee.phase()),
                world.chain.open
            ));
        }
        round(world, if rounds > 400 { 10_000 } else { 1000 })?;
    }
    account(world)
}

fn is_over(world: &World) -> bool {
    let payer = world
        .payer
        .machine
        .as_ref()
        .is_none_or(|payer| payer.phase() == payer::Phase::Gone);
    let payee = world
        .payee
        .machine
        .as_ref()
        .is_none_or(|payee| payee.phase() == payee::Phase::Gone);
    // A channel that a person gave up before it was ever deployed.
    let never = !world.chain.was_open && world.chain.is_idle();
    never || (world.chain.open.is_none() && payer && payee)
}

/// Everything that is due happens once or more.
fn round(world: &mut World, passed_ms: i64) -> Step {
    world.now_ms += passed_ms;
    let numbers: Vec<u64> = world.works.keys().copied().collect();
    for number in numbers {
        world.work_of_payer(number)?;
        world.work_of_payee(number)?;
    }
    while !world.parts.is_empty() {
        world.read_part()?;
    }
    world.block();
    for _ in 0..9 {
        world.facts()?;
        world.tick()?;
    }
    for _ in 0..4 {
        while !world.payer.todo.is_empty() {
            world.do_payer()?;
        }
        while !world.payee.todo.is_empty() {
            world.do_payee()?;
        }
        while !world.tower.todo.is_empty() {
            world.do_tower();
        }
        world.sync_payer();
        world.sync_payee();
        world.sync_tower();
        while !world.to_payee.is_empty() || !world.to_payer.is_empty() {
            world.deliver()?;
        }
        while !world.to_tower.is_empty() {
            world.deliver_blob();
        }
    }
    Ok(())
}

fn account(world: &mut World) -> Step {
    let chain = &world.chain;
    let all = chain.paid_out.checked_add(chain.refunded);
    if all != Some(chain.paid_in) {
        return Err(format!(
            "{} was paid in, {} paid out and {} refunded",
            chain.paid_in, chain.paid_out, chain.refunded
        ));
    }
    if !chain.was_open {
        world.stats.never_opened += 1;
        return Ok(());
    }
    let claimed = chain.paid_out;
    let spent = world.payer.machine.as_ref().map_or(Nano::ZERO, |payer| payer.spent());
    let lost = claimed.saturating_sub(spent);
    let cap = world.payer.policy.exposure_cap;
    // A payer whose disk forgot what it signed does not know what is at risk; nor does one that signs beside its machine.
    if lost > cap && !matches!(world.nature, Nature::Rewound | Nature::LyingPayer) {
        return Err(format!("the payer lost {lost}, and {cap} may be at risk"));
    }
    if world.nature == Nature::Credit && !lost.is_zero() {
        return Err(format!("the payer lost {lost} to a payee on credit"));
    }
    let booked = world.payer.machine.as_ref().map_or(Nano::ZERO, |payer| payer.loss());
    if lost > booked {
        return Err(format!("the payer lost {lost}, and {booked} is booked"));
    }
    let kept = world.tower.kept;
    if claimed < kept {
        return Err(format!("{claimed} was claimed, and the watchtower had kept {kept}"));
    }
    let Some(payee) = &world.payee.machine else {
        return Ok(());
    };
    let unpaid = payee.earned().saturating_sub(claimed);
    if !matches!(world.nature, Nature::Credit | Nature::Beside) && !unpaid.is_zero() {
        return Err(format!(
            "the payee has earned {}, and {claimed} was claimed",
            payee.earned()
        ));
    }
    let (owed, counted) = (world.payer.owed, world.payee.owed);
    if world.nature == Nature::Beside && !world.is_apart {
        // What ended while the channel closed is in one's channel, and beside it in the other's books.
        let (paid, earned) = (spent.get() + owed, payee.earned().get() + counted);
        let is_plain = world.stats.payer_crashes == 0 && world.stats.payee_crashes == 0 && world.stats.admitted == 0;
        let most = paid + world.difference;
        if claimed != payee.earned() || claimed > spent || is_plain && !(paid..=most).contains(&earned) {
            return Err(format!(
                "{claimed} was claimed; the payer has {spent} spent and {owed} owed, the payee {} earned and {counted} \
                 beside; the two counted {} differently",
                payee.earned(),
                world.difference
            ));
        }
        world.stats.exact_beside += 1;
    } else if world.is_honest() && !world.is_apart {
        if claimed != spent || payee.earned() != spent {
            return Err(format!(
                "{claimed} was claimed, {spent} spent by the payer's books, {} earned by the payee's",
                payee.earned()
            ));
        }
        world.stats.exact += 1;
    }
    Ok(())
}
