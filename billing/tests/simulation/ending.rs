//! What must be so when everything has come back: nothing lost, nothing twice, nothing left over, and the money of use.

use std::collections::BTreeSet;

use billing::{
    AccountId, Ask, Budget, ChargeKind, Currency, JournalKind, Nano, Pot, Window, Windows,
    book::Short,
    ledger::{AccountChange, Deposit},
};

use crate::{
    node::Phase,
    world::{Step, World, nano, take_snapshot},
};

const TTL: i64 = 30_000;

/// Ends a history: every process is killed, started again, ships what it has and leaves.
pub(crate) fn settle(world: &mut World) -> Step {
    world.is_away = false;
    world.deliver_all()?;
    for at in 0..world.nodes.len() {
        let node = &mut world.nodes[at];
        node.crash();
        let (name, epoch) = (node.name.clone(), node.epoch);
        for part in std::mem::take(&mut node.journal).chunks(3) {
            let posted = world.ledger.post(&name, epoch, part);
            posted.map_err(|refusal| format!("what {name} has in its journal was refused: {refusal}"))?;
        }
        let joined = world.ledger.join(&name, world.nodes[at].kind, TTL, world.now);
        let left = world.ledger.leave(&name, joined.epoch);
        left.map_err(|refusal| format!("{name} did not leave: {refusal}"))?;
        let again = world.ledger.leave(&name, joined.epoch);
        again.map_err(|refusal| format!("{name} did not leave twice: {refusal}"))?;
    }
    nothing_is_leased(world)?;
    every_end_that_was_seen_is_posted_once(world)?;
    debits_are_credits(world)?;
    nobody_paid_beyond(world)?;
    world.ledger.verify().map_err(|discrepancy| discrepancy.to_string())
}

fn nothing_is_leased(world: &World) -> Step {
    match world.ledger.pots().find(|pot| !world.ledger.pot(pot).leased.is_zero()) {
        None => Ok(()),
        Some(pot) => Err(format!("{pot:?} is leased when everybody left")),
    }
}

fn every_end_that_was_seen_is_posted_once(world: &World) -> Step {
    for seen in &world.seen {
        let charge = world.ledger.charge(&seen.node, seen.seq);
        let is_it =
            charge.is_some_and(|charge| charge.request_id == seen.request.to_string() && charge.amount == seen.amount);
        if !is_it {
            return Err(format!(
                "the end of request {} was seen, and {charge:?} is posted",
                seen.request
            ));
        }
    }
    let mut requests = BTreeSet::new();
    for (charge, _) in world.ledger.charges() {
        if charge.amount > charge.held {
            return Err(format!("{} were captured of {}", charge.amount, charge.held));
        }
        if !requests.insert(charge.request_id.as_str()) && charge.kind == ChargeKind::Capture {
            return Err(format!("request {} was captured twice", charge.request_id));
        }
    }
    Ok(())
}

/// Counted here from the charges alone, and compared with the transfers.
fn debits_are_credits(world: &World) -> Step {
    let (mut earned, mut fees, mut lost, mut paid) = (0_i128, 0_i128, 0_i128, 0_i128);
    for (charge, payer) in world.ledger.charges() {
        let sign = if charge.kind == ChargeKind::Capture { 1 } else { -1 };
        let (amount, fee) = (i128::from(charge.amount.get()), i128::from(charge.fee.get()));
        earned += sign * (amount - fee);
        fees += sign * fee;
        if *payer == AccountId::loss() {
            lost += sign * amount;
        } else {
            paid += sign * amount;
        }
    }
    let balance = |id: &AccountId| {
        let balance = world.ledger.balance(id, Currency::USD);
        i128::from(balance.credits.get()) - i128::from(balance.debits.get())
    };
    let organisation: AccountId = "org:o".parse().expect("an account");
    let funded = -balance(&AccountId::funding());
    let expect = [
        (AccountId::earnings(), earned),
        (AccountId::fees(), fees),
        (AccountId::loss(), -lost),
        (organisation, funded - paid),
    ];
    for (id, amount) in expect {
        if balance(&id) != amount {
            return Err(format!("{id} has {}, and by its charges {amount}", balance(&id)));
        }
    }
    // Late charges are a loss of ours alone: nothing else is.
    if lost != 0 && world.stats.forgotten == 0 {
        return Err(format!("{lost} were lost, and no node was forgotten"));
    }
    Ok(())
}

/// Beyond the money of the organisation only what was cut while it was out.
fn nobody_paid_beyond(world: &World) -> Step {
    let organisation: AccountId = "org:o".parse().expect("an account");
    let account = world.ledger.account(&organisation).expect("it was made");
    let owed = world.ledger.balance(&organisation, Currency::USD).owed();
    let is_cut = world.stats.cuts > 0;
    if owed > account.credit.unwrap_or(Nano::MOST) && !is_cut {
        return Err(format!("{owed} are owed on a credit of {:?}", account.credit));
    }
    Ok(())
}

/// What is left can be spent: two gateways whose clients ask again when refused spend at least 95 of 100.
pub(crate) fn spend_what_is_left(world: &mut World) -> Step {
    let organisation: AccountId = "org:o".parse().expect("an account");
    let team: AccountId = "team:o/t".parse().expect("an account");
    world.now += 40 * 86_400_000;
    for (id, budget) in [(&team, Budget::default()), (&organisation, Budget::default())] {
        let change = AccountChange {
            budget: Some(budget),
            is_disabled: Some(false),
            ..AccountChange::default()
        };
        let changed = world.ledger.change_account(id, &change);
        changed.map_err(|refusal| refusal.to_string())?;
    }
    let deposit = Deposit {
        id: "last".into(),
        organisation: organisation.clone(),
        amount: nano(100),
        currency: Currency::USD,
        memo: "".into(),
    };
    world.ledger.deposit(deposit).map_err(|refusal| refusal.to_string())?;
    let pot = Pot {
        account: organisation,
        window: Window::Total,
    };
    let room = world.ledger.pot(&pot).unleased().get();
    if room < 40 {
        return Ok(());
    }
    let before = world.ledger.pot(&pot).used.get();
    let snapshot = take_snapshot(&world.ledger);
    let (payer, _) = snapshot.payers[1].clone();
    for node in &mut world.nodes {
        node.start(snapshot.clone());
        let joined = world.ledger.join(&node.name, JournalKind::Direct, TTL, world.now);
        node.epoch = joined.epoch;
        let memory = node.awake().expect("it was started");
        memory.phase = Phase::Serving;
        memory.next_seq = joined.last_seq + 1;
    }
    // Each holds 4 at once, captures 2 of them, and has 3 requests open at a time.
    let mut refusals = 0;
    let mut rounds = 0_u64;
    while refusals <= 2 * world.nodes.len() {
        rounds += 1;
        if rounds > 10_000 {
            return Err("the budget is neither spent nor refused".to_owned());
        }
        for at in 0..world.nodes.len() {
            if serve_some(world, at, &payer, &pot)? {
                refusals = 0;
            } else {
                refusals += 1;
            }
        }
    }
    let spent = world.ledger.pot(&pot).used.get() - before;
    if spent > room {
        return Err(format!("{spent} were spent of {room}"));
    }
    // The last hold of 4 needs 4.
    if spent * 100 < room * 95 && room - spent >= 4 {
        return Err(format!("only {spent} could be spent of {room}"));
    }
    world.ledger.verify().map_err(|discrepancy| discrepancy.to_string())
}

/// Whether anything was served.
fn serve_some(world: &mut World, at: usize, payer: &std::sync::Arc<billing::Payer>, pot: &Pot) -> Result<bool, String> {
    let now = world.now;
    let node = &mut world.nodes[at];
    let (name, epoch) = (node.name.clone(), node.epoch);
    let memory = node.awake().expect("it was started");
    let mut holds = Vec::new();
    for _ in 0..3 {
        let mut held = memory.book.reserve(payer, nano(4), now);
        if let Err(Short { pots }) = &held {
            let asks: Vec<Ask> = pots
                .iter()
                .map(|shortage| Ask {
                    pot: shortage.pot.clone(),
                    need: shortage.missing,
                })
                .collect();
            let renewal = memory.book.renewal(&asks, &[]);
            let renewed = world.ledger.renew(&name, epoch, TTL, now, &renewal);
            let renewed = renewed.map_err(|refusal| refusal.to_string())?;
            let settled = memory.book.settle(renewal.round, &renewed.grants);
            settled.map_err(|refusal| refusal.to_string())?;
            held = memory.book.reserve(payer, nano(4), now);
        }
        match held {
            Ok(id) => holds.push(id),
            Err(_) => {
                // Crumbs meet where everybody returns them.
                let gives = memory.free_room();
                let renewal = memory.book.renewal(&[], &gives);
                let renewed = world.ledger.renew(&name, epoch, TTL, now, &renewal);
                let renewed = renewed.map_err(|refusal| refusal.to_string())?;
                let settled = memory.book.settle(renewal.round, &renewed.grants);
                settled.map_err(|refusal| refusal.to_string())?;
                break;
            }
        }
    }
    let is_served = !holds.is_empty();
    for id in holds {
        let captured = memory
            .book
            .capture(id, nano(2))
            .map_err(|refusal| refusal.to_string())?;
        if (captured.day, captured.month) != (Windows::at(now).day, Windows::at(now).month) {
            return Err(format!("held now, and counted in {captured:?}"));
        }
        let draft = crate::node::Draft {
            captured,
            payer: payer.clone(),
            amount: nano(2),
            request: u64::MAX - memory.next_seq,
        };
        let charge = draft.charge(&name, memory.next_seq, now);
        memory.next_seq += 1;
        world
            .ledger
            .post(&name, epoch, &[charge])
            .map_err(|refusal| refusal.to_string())?;
    }
    if world.ledger.pot(pot).used > world.ledger.pot(pot).cap.unwrap_or(Nano::MOST) {
        return Err("spent beyond the cap".to_owned());
    }
    Ok(is_served)
}
