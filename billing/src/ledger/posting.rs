//! Charges become transfers.

use std::sync::Arc;

use super::{Cause, Ledger, NodeState, Transfer};
use crate::{AccountId, Charge, ChargeKind, Currency, Nano};

/// A charge that is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) charge: Charge,
    /// Who gave, or got back: the organisation, or what stands for our losses.
    pub(super) payer: AccountId,
    /// What of a capture went back, and what of that was fee.
    refunded: Nano,
    refunded_fee: Nano,
}

/// How many charges of a batch were what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    pub new: u64,
    /// Posted before, word for word.
    pub already: u64,
    /// Of the new ones, those that we bear: their node was forgotten.
    pub late: u64,
}

/// Why a batch was not posted. In order of precedence, for the first charge that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostRefusal {
    #[error("no such node ever joined")]
    UnknownNode,
    #[error("a charge of node {node} came from another")]
    WrongNode { node: String },
    /// To post again what is posted is no error, whatever became of the epoch.
    #[error("charge {seq} is posted, and was another")]
    Conflict { seq: u64 },
    #[error("this epoch of the node is closed")]
    Closed,
    #[error("charge {seq} came where {expected} is next")]
    Gap { seq: u64, expected: u64 },
    #[error("charge {seq} is more than what was held for it")]
    AboveHeld { seq: u64 },
    #[error("the fee of charge {seq} is more than the charge")]
    FeeAboveAmount { seq: u64 },
    #[error("charge {seq} is of an organisation that does not exist")]
    UnknownOrganisation { seq: u64 },
    #[error("charge {seq} is not in {currency}, in which its organisation counts")]
    WrongCurrency { seq: u64, currency: Currency },
    #[error("charge {seq} gives back what was never captured")]
    UnknownCapture { seq: u64 },
    #[error("charge {seq} gives back to another account, or in another window, than was captured")]
    OtherCapture { seq: u64 },
    #[error("charge {seq} gives back more than is left of the capture")]
    AboveCapture { seq: u64 },
    #[error("with charge {seq} a sum would be more than 9223372036.854775807, the most that an amount can be")]
    TooLarge { seq: u64 },
}

impl Ledger {
    /// Every charge that is posted, with who gave or got it back: the organisation, or what stands for our losses.
    pub fn charges(&self) -> impl Iterator<Item = (&Charge, &AccountId)> {
        self.charges.values().map(|entry| (&entry.charge, &entry.payer))
    }

    pub fn charge(&self, node: &Arc<str>, seq: u64) -> Option<&Charge> {
        self.charges.get(&(node.clone(), seq)).map(|entry| &entry.charge)
    }

    /// All of them in order, or none.
    pub fn post(&mut self, name: &str, epoch: u64, charges: &[Charge]) -> Result<Posted, PostRefusal> {
        match charges {
            [charge] => self.post_one(name, epoch, charge),
            _ => {
                let mut next = self.clone();
                let mut posted = Posted::default();
                for charge in charges {
                    let one = next.post_one(name, epoch, charge)?;
                    posted = Posted {
                        new: posted.new.saturating_add(one.new),
                        already: posted.already.saturating_add(one.already),
                        late: posted.late.saturating_add(one.late),
                    };
                }
                *self = next;
                Ok(posted)
            }
        }
    }

    fn post_one(&mut self, name: &str, epoch: u64, charge: &Charge) -> Result<Posted, PostRefusal> {
        let seq = charge.seq;
        let node = self.nodes.get(name).ok_or(PostRefusal::UnknownNode)?;
        if *charge.node != *name {
            let node = charge.node.to_string();
            return Err(PostRefusal::WrongNode { node });
        }
        if let Some(posted) = self.charges.get(&(charge.node.clone(), seq)) {
            if posted.charge != *charge {
                return Err(PostRefusal::Conflict { seq });
            }
            return Ok(Posted {
                already: 1,
                ..Posted::default()
            });
        }
        if node.epoch != epoch || node.state == NodeState::Closed {
            return Err(PostRefusal::Closed);
        }
        let expected = node.last_seq.saturating_add(1);
        if seq != expected {
            return Err(PostRefusal::Gap { seq, expected });
        }
        if charge.amount > charge.held {
            return Err(PostRefusal::AboveHeld { seq });
        }
        if charge.fee > charge.amount {
            return Err(PostRefusal::FeeAboveAmount { seq });
        }
        let is_late = node.state == NodeState::Forgotten;
        let organisation = self.organisation(&charge.organisation);
        let organisation = organisation.ok_or(PostRefusal::UnknownOrganisation { seq })?;
        if organisation.currency != charge.currency {
            let currency = organisation.currency;
            return Err(PostRefusal::WrongCurrency { seq, currency });
        }
        let is_ours = match charge.kind {
            ChargeKind::Capture => {
                let payer = if is_late {
                    AccountId::loss()
                } else {
                    charge.organisation.clone()
                };
                self.capture(charge, payer)?;
                is_late
            }
            // It goes back to whoever gave it.
            ChargeKind::Refund { of } => self.refund(charge, of)?,
        };
        if let Some(node) = self.nodes.get_mut(name) {
            node.last_seq = seq;
        }
        Ok(Posted {
            new: 1,
            already: 0,
            late: u64::from(is_ours),
        })
    }

    fn capture(&mut self, charge: &Charge, payer: AccountId) -> Result<(), PostRefusal> {
        let too_large = PostRefusal::TooLarge { seq: charge.seq };
        let is_paid = payer == charge.organisation;
        let mut used = Vec::with_capacity(9);
        for (pot, _) in charge.pots().filter(|_| is_paid) {
            let sum = self.used(&pot).checked_add(charge.amount);
            used.push((pot, sum.ok_or_else(|| too_large.clone())?));
        }
        if !self.transfer(transfers(charge, &payer)) {
            return Err(too_large);
        }
        self.used.extend(used);
        if is_paid && let Some(node) = self.nodes.get_mut(&charge.node) {
            for (pot, _) in charge.pots().filter(|(_, is_held)| *is_held) {
                if let Some(slice) = node.slices.get_mut(&pot) {
                    slice.drawn = slice.drawn.saturating_add(charge.amount);
                }
            }
        }
        self.enter(charge, payer);
        Ok(())
    }

    /// Whether it came back to us rather than to the organisation.
    fn refund(&mut self, charge: &Charge, of: u64) -> Result<bool, PostRefusal> {
        let seq = charge.seq;
        let place = (charge.node.clone(), of);
        let capture = self.charges.get(&place);
        let capture = capture.filter(|entry| entry.charge.kind == ChargeKind::Capture);
        let capture = capture.ok_or(PostRefusal::UnknownCapture { seq })?;
        if !is_of(charge, &capture.charge) {
            return Err(PostRefusal::OtherCapture { seq });
        }
        let refunded = capture.refunded.saturating_add(charge.amount);
        let refunded_fee = capture.refunded_fee.saturating_add(charge.fee);
        // Neither the fee nor the rest goes back more than once.
        if refunded_fee > capture.charge.fee || refunded.saturating_sub(refunded_fee) > capture.charge.earned() {
            return Err(PostRefusal::AboveCapture { seq });
        }
        let payer = capture.payer.clone();
        let is_ours = payer != charge.organisation;
        if !self.transfer(transfers(charge, &payer)) {
            return Err(PostRefusal::TooLarge { seq });
        }
        if let Some(capture) = self.charges.get_mut(&place) {
            (capture.refunded, capture.refunded_fee) = (refunded, refunded_fee);
        }
        for (pot, _) in charge.pots().filter(|_| !is_ours) {
            let rest = self.used(&pot).saturating_sub(charge.amount);
            self.used.insert(pot, rest);
        }
        self.enter(charge, payer);
        Ok(is_ours)
    }

    fn enter(&mut self, charge: &Charge, payer: AccountId) {
        let entry = Entry {
            charge: charge.clone(),
            payer,
            refunded: Nano::ZERO,
            refunded_fee: Nano::ZERO,
        };
        self.charges.insert((charge.node.clone(), charge.seq), entry);
    }
}

/// A refund goes where the capture came from.
fn is_of(refund: &Charge, capture: &Charge) -> bool {
    refund.organisation == capture.organisation
        && refund.team == capture.team
        && refund.key == capture.key
        && refund.currency == capture.currency
        && (refund.day, refund.month) == (capture.day, capture.month)
}

fn transfers(charge: &Charge, payer: &AccountId) -> Vec<Transfer> {
    let moves = charge.moves(payer);
    let transfers = moves.map(|(debit, credit, amount)| Transfer {
        debit,
        credit,
        amount,
        currency: charge.currency,
        cause: Cause::Charge {
            node: charge.node.clone(),
            seq: charge.seq,
        },
    });
    transfers.collect()
}
