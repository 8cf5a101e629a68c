//! Nodes: their epochs, their leases, and the slices that they hold.

use std::{collections::BTreeMap, sync::Arc};

use super::Ledger;
use crate::{Ask, Grant, JournalKind, Nano, Pot, Renewal, Return, Sharing};

/// A node as the ledger sees it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: JournalKind,
    /// The number of its incarnation.
    pub(super) epoch: u64,
    pub(super) state: NodeState,
    /// By the clock of the ledger.
    pub(super) lease_until_ms: i64,
    /// Of the last renewal that was taken in this epoch.
    round: u64,
    /// Of the last charge; goes on through epochs.
    pub(super) last_seq: u64,
    /// Of this epoch, while it is open.
    pub(super) slices: BTreeMap<Pot, Slice>,
}

/// What became of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Open,
    /// It left, or its slices were freed: it can post nothing more.
    Closed,
    /// An administrator freed its slices: what it posts is a loss of ours.
    Forgotten,
}

/// What a node was granted of a pot in an epoch, and what of it its charges took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) granted: Nano,
    pub(super) drawn: Nano,
}

impl Slice {
    pub(super) fn left(self) -> Nano {
        self.granted.saturating_sub(self.drawn)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    pub epoch: u64,
    /// Of the last charge that is posted; zero where there is none.
    pub last_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// One for each pot of the renewal, in the order in which they first appear, returns before asks.
    pub grants: Vec<Grant>,
    pub live_nodes: u32,
}

/// Why a lease was not renewed. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewRefusal {
    #[error("no such node ever joined")]
    UnknownNode,
    #[error("this epoch of the node is closed")]
    Closed,
    #[error("round {taken} was taken already")]
    Stale { taken: u64 },
    #[error("{returned} of {} was returned, and the node has {left} of it", pot.account)]
    ReturnAboveSlice { pot: Pot, returned: Nano, left: Nano },
}

/// Why a node did not leave. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaveRefusal {
    #[error("no such node ever joined")]
    UnknownNode,
    #[error("the node is in another epoch")]
    WrongEpoch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// Its slices are free. What a journal of its own still holds will be a loss.
    Now,
    /// Nothing is leased to it.
    Already,
}

/// Why a node was not forgotten. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetRefusal {
    #[error("no such node ever joined")]
    UnknownNode,
    #[error("the node's lease has not ended")]
    StillLeased { until_ms: i64 },
}

impl Ledger {
    /// Begins an epoch. The one before is closed and its slices are free, so that a node with a journal of its own
    /// calls this only when all of it was posted.
    pub fn join(&mut self, name: &str, kind: JournalKind, ttl_ms: i64, now_ms: i64) -> Joined {
        let old = self.nodes.get(name);
        let node = Node {
            kind,
            epoch: old.map_or(0, |old| old.epoch).saturating_add(1),
            state: NodeState::Open,
            lease_until_ms: now_ms.saturating_add(ttl_ms),
            round: 0,
            last_seq: old.map_or(0, |old| old.last_seq),
            slices: BTreeMap::new(),
        };
        let joined = Joined {
            epoch: node.epoch,
            last_seq: node.last_seq,
        };
        self.nodes.insert(name.into(), node);
        joined
    }

    /// Takes what is returned, then grants what is asked for, and lets the lease end later. A lease that has ended
    /// begins anew as long as its epoch is open.
    pub fn renew(
        &mut self,
        name: &str,
        epoch: u64,
        ttl_ms: i64,
        now_ms: i64,
        renewal: &Renewal,
    ) -> Result<Renewed, RenewRefusal> {
        let node = self.nodes.get_mut(name).ok_or(RenewRefusal::UnknownNode)?;
        if node.epoch != epoch || node.state != NodeState::Open {
            return Err(RenewRefusal::Closed);
        }
        if renewal.round <= node.round {
            return Err(RenewRefusal::Stale { taken: node.round });
        }
        let mut slices = node.slices.clone();
        for Return { pot, amount } in &renewal.returns {
            // To return nothing of what was never granted makes no slice, which charges would be drawn from.
            let mut none = Slice::default();
            let slice = slices.get_mut(pot).unwrap_or(&mut none);
            let left = slice.left();
            let rest = slice.granted.checked_sub(*amount).filter(|_| *amount <= left);
            slice.granted = rest.ok_or_else(|| RenewRefusal::ReturnAboveSlice {
                pot: pot.clone(),
                returned: *amount,
                left,
            })?;
        }
        node.slices = slices;
        node.round = renewal.round;
        node.lease_until_ms = now_ms.saturating_add(ttl_ms);

        let live_nodes = self.live_nodes(now_ms);
        let mut grants: Vec<Grant> = Vec::new();
        for Return { pot, .. } in &renewal.returns {
            if !grants.iter().any(|grant| grant.pot == *pot) {
                grants.push(self.grant(name, pot, Nano::ZERO, live_nodes));
            }
        }
        for Ask { pot, need } in &renewal.asks {
            let grant = self.grant(name, pot, *need, live_nodes);
            match grants.iter_mut().find(|grant| grant.pot == *pot) {
                None => grants.push(grant),
                Some(earlier) => {
                    let more = earlier.more.saturating_add(grant.more);
                    *earlier = Grant { more, ..grant };
                }
            }
        }
        // What was returned of one pot may have been asked for by another line of the same renewal.
        for grant in &mut grants {
            grant.rest = self.pot(&grant.pot).unleased();
        }
        Ok(Renewed { grants, live_nodes })
    }

    /// Grants, where there is enough, to a node that exists.
    fn grant(&mut self, name: &str, pot: &Pot, need: Nano, live_nodes: u32) -> Grant {
        let state = self.pot(pot);
        let sharing = if self.is_sole {
            Sharing::Sole
        } else {
            Sharing::Among(live_nodes)
        };
        let more = if self.is_closed(pot) {
            Nano::ZERO
        } else if state.cap.is_none() {
            // Its bound was lifted, and the node has not heard of it.
            need
        } else {
            sharing.portion(need, state.unleased())
        };
        let slices = self.nodes.get_mut(name).map(|node| &mut node.slices);
        let granted = match slices {
            None => Nano::ZERO,
            // Nothing was ever granted, and nothing is: no slice is made.
            Some(slices) if more.is_zero() => slices.get(pot).map_or(Nano::ZERO, |slice| slice.granted),
            Some(slices) => {
                let slice = slices.entry(pot.clone()).or_default();
                slice.granted = slice.granted.saturating_add(more);
                slice.granted
            }
        };
        Grant {
            pot: pot.clone(),
            more,
            granted,
            rest: state.unleased(),
        }
    }

    /// Nothing is granted from it: the account does not exist, or it or one above it is disabled.
    fn is_closed(&self, pot: &Pot) -> bool {
        let lineage = self.lineage(&pot.account);
        lineage.is_empty() || lineage.iter().any(|(_, account)| account.is_disabled)
    }

    fn live_nodes(&self, now_ms: i64) -> u32 {
        let live = |node: &&Node| node.state == NodeState::Open && node.lease_until_ms > now_ms;
        u32::try_from(self.nodes.values().filter(live).count()).unwrap_or(u32::MAX)
    }

    /// Ends an epoch in order: all its charges are posted and no hold is left.
    pub fn leave(&mut self, name: &str, epoch: u64) -> Result<(), LeaveRefusal> {
        let node = self.nodes.get_mut(name).ok_or(LeaveRefusal::UnknownNode)?;
        if node.epoch != epoch {
            return Err(LeaveRefusal::WrongEpoch);
        }
        if node.state == NodeState::Open {
            node.close(NodeState::Closed);
        }
        Ok(())
    }

    /// Closes the epochs of direct nodes whose leases ended, and names them. Nothing of theirs can be on its way that
    /// would still be posted. A node with a journal of its own keeps its slices.
    pub fn reap(&mut self, now_ms: i64) -> Vec<Arc<str>> {
        let mut reaped = Vec::new();
        for (name, node) in &mut self.nodes {
            let is_over = node.state == NodeState::Open && node.lease_until_ms <= now_ms;
            if is_over && node.kind == JournalKind::Direct {
                node.close(NodeState::Closed);
                reaped.push(name.clone());
            }
        }
        reaped
    }

    /// Frees the slices of a node that does not come back. What its journal holds will be taken from nobody's account.
    pub fn forget(&mut self, name: &str, now_ms: i64) -> Result<Forgotten, ForgetRefusal> {
        let node = self.nodes.get_mut(name).ok_or(ForgetRefusal::UnknownNode)?;
        if node.state != NodeState::Open {
            return Ok(Forgotten::Already);
        }
        if node.lease_until_ms > now_ms {
            let until_ms = node.lease_until_ms;
            return Err(ForgetRefusal::StillLeased { until_ms });
        }
        node.close(match node.kind {
            JournalKind::Local => NodeState::Forgotten,
            JournalKind::Direct => NodeState::Closed,
        });
        Ok(Forgotten::Now)
    }

    pub fn epoch(&self, name: &str) -> Option<u64> {
        self.nodes.get(name).map(|node| node.epoch)
    }

    pub fn node_state(&self, name: &str) -> Option<NodeState> {
        self.nodes.get(name).map(|node| node.state)
    }

    /// What a node was granted of a pot in this epoch, and what its charges took of it.
    pub fn slice(&self, name: &str, pot: &Pot) -> (Nano, Nano) {
        let slice = self.nodes.get(name).and_then(|node| node.slices.get(pot));
        slice.map_or((Nano::ZERO, Nano::ZERO), |slice| (slice.granted, slice.drawn))
    }
}

impl Node {
    fn close(&mut self, state: NodeState) {
        self.state = state;
        self.slices.clear();
    }
}
