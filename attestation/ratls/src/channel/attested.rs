//! What came of one question.

use std::sync::Arc;

use attestation::{Role, Verdict, binding::Channel, gpu::GpuEvidence};

use super::{Answer, Cut, Proof};
use crate::trust::Accepted;

/// A peer that proved itself on this connection.
///
/// Proves: all that its [`Verdict`] does, and that who holds the other end of the connection is that guest, asked after
/// the connection was made. Without a quote: that the other end holds the certificate's key.
/// Does not prove: that the guest is healthy, or serves what it says.
///
/// Only the answer to a question makes one. It holds all that is needed to appraise it again, with its peer:
/// [`Peer::bundle`](crate::Peer::bundle).
#[derive(Clone, Debug)]
pub struct Attested {
    /// Unix time of the question: an answer that was held back, or is appraised again, is no younger for it.
    pub(crate) asked_at: u64,
    pub(crate) verdict: Verdict,
    pub(crate) question: Question,
    pub(crate) said: Arc<Said>,
    /// What the verdict was come to by.
    pub(crate) accepted: Arc<Accepted>,
}

/// What was asked, and on which connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// Of the peer.
    pub(crate) role: Role,
    pub(crate) nonce: [u8; 32],
    pub(crate) exporter: [u8; 32],
    pub(crate) attester_spki: [u8; 32],
    pub(crate) verifier_spki: [u8; 32],
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) proof: Proof,
    pub(crate) gpu: Option<GpuEvidence>,
}

impl Attested {
    /// When it was asked for, as Unix time in seconds.
    pub fn asked_at(&self) -> u64 {
        self.asked_at
    }

    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What the report data are made of.
    pub fn channel(&self) -> Channel<'_> {
        self.question.channel()
    }

    /// As it came.
    pub fn proof(&self) -> &Proof {
        &self.said.proof
    }

    /// As it came.
    pub fn gpu(&self) -> Option<&GpuEvidence> {
        self.said.gpu.as_ref()
    }
}

impl Question {
    pub(crate) fn channel(&self) -> Channel<'_> {
        Channel {
            role: self.role,
            nonce: &self.nonce,
            exporter: &self.exporter,
            attester_spki: &self.attester_spki,
            verifier_spki: &self.verifier_spki,
        }
    }
}

impl Said {
    pub(crate) fn read(answer: Answer) -> Result<Self, Cut> {
        let gpu = answer.gpu.map(|bytes| GpuEvidence::decode(&bytes.0)).transpose();
        Ok(Self {
            proof: answer.proof,
            gpu: gpu.map_err(|refusal| Cut::Refused(refusal.into()))?,
        })
    }
}
