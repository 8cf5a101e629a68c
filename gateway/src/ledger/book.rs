//! What this node leased, and what is held of it. Stands in until `billing` has its own.

use std::{collections::HashMap, sync::Arc};

use billing::{Nano, Payer, Pot, Span, Window};

const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Default)]
pub(super) struct Book {
    pots: HashMap<Pot, (Nano, Nano)>,
    holds: HashMap<u64, (Vec<Pot>, Nano, (u32, u32))>,
    last: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HoldId(u64);

#[derive(Debug)]
pub(super) struct Short(Vec<(Pot, Nano)>);

impl Short {
    pub(super) fn first(mut self) -> (Pot, Nano) {
        self.0.remove(0)
    }
}

fn windows(at_ms: i64) -> (u32, u32) {
    let day = u32::try_from(at_ms / DAY_MS).unwrap_or(0);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at_ms.max(0).cast_unsigned());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let part = |range| {
        text.get(range)
            .and_then(|part: &str| part.parse::<u32>().ok())
            .unwrap_or(0)
    };
    (day, part(0..4).saturating_sub(1970) * 12 + part(5..7).saturating_sub(1))
}

fn pots(payer: &Payer, at_ms: i64) -> Vec<Pot> {
    let (day, month) = windows(at_ms);
    let pot = |(account, span): &(billing::AccountId, Span)| Pot {
        account: account.clone(),
        window: match span {
            Span::Total => Window::Total,
            Span::Day => Window::Day(day),
            Span::Month => Window::Month(month),
        },
    };
    payer.bounds.iter().map(pot).collect()
}

impl Book {
    pub(super) fn lease(&mut self, payer: &Payer, at_ms: i64, cap: impl Fn(&Pot) -> Nano) {
        for pot in pots(payer, at_ms) {
            let most = cap(&pot);
            self.pots.entry(pot).or_insert((most, Nano::ZERO));
        }
    }

    fn free(&self, pot: &Pot) -> Nano {
        self.pots
            .get(pot)
            .map_or(Nano::ZERO, |(granted, taken)| granted.saturating_sub(*taken))
    }

    pub(super) fn reserve(&mut self, payer: &Arc<Payer>, amount: Nano, at_ms: i64) -> Result<HoldId, Short> {
        let pots = pots(payer, at_ms);
        let short: Vec<(Pot, Nano)> = pots
            .iter()
            .map(|pot| (pot.clone(), amount.saturating_sub(self.free(pot))))
            .filter(|(_, missing)| !missing.is_zero())
            .collect();
        if !short.is_empty() {
            return Err(Short(short));
        }
        for pot in &pots {
            if let Some((_, taken)) = self.pots.get_mut(pot) {
                *taken = taken.saturating_add(amount);
            }
        }
        self.last += 1;
        self.holds.insert(self.last, (pots, amount, windows(at_ms)));
        Ok(HoldId(self.last))
    }

    pub(super) fn capture(&mut self, hold: HoldId, amount: Nano) -> (u32, u32) {
        let Some((pots, held, windows)) = self.holds.remove(&hold.0) else {
            return (0, 0);
        };
        for pot in &pots {
            if let Some((_, taken)) = self.pots.get_mut(pot) {
                *taken = taken.saturating_sub(held.saturating_sub(amount));
            }
        }
        windows
    }

    pub(super) fn release(&mut self, hold: HoldId) {
        self.capture(hold, Nano::ZERO);
    }

    pub(super) fn affordable(&self, payer: &Payer, at_ms: i64) -> Nano {
        let free = pots(payer, at_ms).into_iter().map(|pot| self.free(&pot));
        free.min().unwrap_or(Nano::MOST)
    }
}
