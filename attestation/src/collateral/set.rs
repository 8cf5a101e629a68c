//! The collateral in force.

use std::{collections::BTreeMap, sync::Arc};

use super::{Ca, Collateral, Dated, Fmspc, Listed};
use crate::{Hex, Part, Refusal, TrustAnchor, digest::sha256};

/// One piece of collateral for each kind of platform, all of it under one trust anchor.
///
/// Nothing in it ever gets older: somebody who can serve us last month's lists could hide a revocation or a flaw in the
/// firmware, though every signature holds.
#[derive(Clone, Debug)]
pub struct CollateralSet {
    anchor: TrustAnchor,
    members: BTreeMap<(Fmspc, Ca), Arc<Collateral>>,
    /// The newest of each that was ever seen.
    known: BTreeMap<(Fmspc, Ca), Known>,
    generation: Hex<32>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    tcb_info: Dated,
    qe_identity: Dated,
    pck_crl: Listed,
    root_ca_crl: Listed,
}

impl CollateralSet {
    pub fn new(anchor: TrustAnchor) -> Self {
        let mut set = Self {
            anchor,
            members: BTreeMap::new(),
            known: BTreeMap::new(),
            generation: Hex([0; 32]),
        };
        set.renew();
        set
    }

    /// All of them in force at this time, or the reason why one is not.
    pub(crate) fn of(anchor: TrustAnchor, mut members: Vec<Collateral>, now: u64) -> Result<Self, Refusal> {
        // Each comes with lists of its day, and older lists are refused after newer ones.
        members.sort_by_key(|collateral| (collateral.root_ca_crl.from, collateral.pck_crl.from));
        let mut set = Self::new(anchor);
        for member in members {
            set.insert(member, now)?;
        }
        Ok(set)
    }

    /// Takes it in place of what was known for its platforms. Refused: what is not signed under the anchor, does not hold
    /// now, or is older than what was known.
    pub fn insert(&mut self, collateral: Collateral, now: u64) -> Result<(), Refusal> {
        collateral.check(&self.anchor, now)?;
        self.check_rollback(&collateral)?;
        let key = (collateral.fmspc, collateral.ca);
        self.known.insert(key, Known::of(&collateral));
        self.members.insert(key, Arc::new(collateral));
        self.renew();
        Ok(())
    }

    /// Remembers how new it is, though it may have ended: after a restart, what is on the disk may be all that says how
    /// old new collateral must not be. It is not used for anything else.
    pub fn recall(&mut self, collateral: &Collateral) -> Result<(), Refusal> {
        // In its last second all of it held.
        collateral.check(&self.anchor, collateral.expires)?;
        self.check_rollback(collateral)?;
        self.known
            .insert((collateral.fmspc, collateral.ca), Known::of(collateral));
        Ok(())
    }

    pub fn get(&self, fmspc: Fmspc, ca: Ca) -> Result<&Arc<Collateral>, Refusal> {
        self.members
            .get(&(fmspc, ca))
            .ok_or(Refusal::CollateralMissing { fmspc, ca: ca.name() })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Collateral>> {
        self.members.values()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    /// A digest of all of it, which changes whenever any of it does.
    pub fn generation(&self) -> Hex<32> {
        self.generation
    }

    /// Takes what was kept of before, whatever its order: what still holds is inserted, what ended is recalled. Says what
    /// was refused.
    pub fn restore(&mut self, mut kept: Vec<Collateral>, now: u64) -> Vec<Refusal> {
        // Each comes with lists of its day, and older lists are refused after newer ones.
        kept.sort_by_key(|collateral| (collateral.root_ca_crl.from, collateral.pck_crl.from));
        let restored = kept.into_iter().map(|collateral| match collateral.expires < now {
            true => self.recall(&collateral),
            false => self.insert(collateral, now),
        });
        restored.filter_map(Result::err).collect()
    }

    /// Members of the same authority whose lists are newer. A list is of the authority and not of one kind of platform:
    /// what one of them revokes is revoked.
    pub(crate) fn newer_lists<'a>(&'a self, than: &'a Collateral) -> impl Iterator<Item = &'a Collateral> {
        let is_newer = move |member: &&'a Collateral| {
            member.ca == than.ca
                && (member.pck_crl.from > than.pck_crl.from || member.root_ca_crl.from > than.root_ca_crl.from)
        };
        self.members.values().map(AsRef::as_ref).filter(is_newer)
    }

    /// What its generation is a digest of, beside the root.
    pub(crate) fn digests(&self) -> Vec<Hex<32>> {
        self.members.values().map(|member| member.digest).collect()
    }

    /// Of a set with members of these digests, in the order of a set.
    pub(crate) fn generation_of(anchor: &TrustAnchor, digests: &[Hex<32>]) -> Hex<32> {
        let digests: Vec<[u8; 32]> = digests.iter().map(|digest| digest.0).collect();
        sha256(&[anchor.root_der(), digests.as_flattened()])
    }

    /// What a quote of its kind of platform is judged by: itself, and members of its authority with newer lists that held
    /// then. In the order of a set.
    pub(crate) fn beside(&self, own: &Arc<Collateral>, then: u64) -> Vec<Arc<Collateral>> {
        let newer: Vec<Hex<32>> = self.newer_lists(own).map(|member| member.digest).collect();
        let counts = |member: &&Arc<Collateral>| {
            member.digest == own.digest || newer.contains(&member.digest) && member.check_dates(then).is_ok()
        };
        self.members.values().filter(counts).map(Arc::clone).collect()
    }

    fn renew(&mut self) {
        self.generation = Self::generation_of(&self.anchor, &self.digests());
    }

    /// Revocation lists are of an authority and not of one kind of platform, so they are compared with all.
    fn check_rollback(&self, new: &Collateral) -> Result<(), Refusal> {
        for (&(fmspc, ca), old) in &self.known {
            let same_ca = ca == new.ca;
            let same = same_ca && fmspc == new.fmspc;
            for (compared, part, known, found) in [
                (
                    same,
                    Part::TcbInfo,
                    u64::from(old.tcb_info.evaluation),
                    u64::from(new.tcb_info.evaluation),
                ),
                (same, Part::TcbInfo, old.tcb_info.from, new.tcb_info.from),
                (
                    same,
                    Part::QeIdentity,
                    u64::from(old.qe_identity.evaluation),
                    u64::from(new.qe_identity.evaluation),
                ),
                (same, Part::QeIdentity, old.qe_identity.from, new.qe_identity.from),
                (same_ca, Part::PckCrl, old.pck_crl.number, new.pck_crl.number),
                (same_ca, Part::PckCrl, old.pck_crl.from, new.pck_crl.from),
                (true, Part::RootCaCrl, old.root_ca_crl.number, new.root_ca_crl.number),
                (true, Part::RootCaCrl, old.root_ca_crl.from, new.root_ca_crl.from),
            ] {
                if compared && found < known {
                    return Err(Refusal::CollateralRolledBack { part, known, found });
                }
            }
        }
        Ok(())
    }
}

impl Known {
    fn of(collateral: &Collateral) -> Self {
        Self {
            tcb_info: collateral.tcb_info,
            qe_identity: collateral.qe_identity,
            pck_crl: collateral.pck_crl,
            root_ca_crl: collateral.root_ca_crl,
        }
    }
}
