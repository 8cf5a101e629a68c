//! The side that is asked.

use std::time::Duration;

use attestation::{Hex, Role, binding::Channel};

use super::{Acceptance, Answer, Cut, Effect, Message, Now, Session};

/// Questions are answered at once up to this many, then one each [`REFILL`]: on hardware a quote is a second of a
/// service that all guests of the machine share.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Responder {
    role: Role,
    ours: [u8; 32],
    /// Zeros where the peer showed no certificate.
    peer: [u8; 32],
    proving: Option<Hex<32>>,
    answered: Option<Hex<32>>,
    acceptance: Acceptance,
    tokens: u32,
    since: Now,
    /// When our claims end.
    end: Now,
}

impl Responder {
    pub(crate) fn new(role: Role, ours: [u8; 32], peer: [u8; 32], not_after: u64, now: Now) -> Self {
        Self {
            role,
            ours,
            peer,
            proving: None,
            answered: None,
            acceptance: Acceptance::Pending,
            tokens: BURST,
            since: now,
            end: now.at_unix(not_after),
        }
    }

    pub(crate) fn acceptance(&self) -> Acceptance {
        self.acceptance
    }

    pub(crate) fn wake(&self) -> Now {
        self.end
    }

    pub(crate) fn tick(&self, now: Now) -> Result<(), Cut> {
        if now.reached(self.end) {
            Err(Cut::OurEnd)
        } else {
            Ok(())
        }
    }

    pub(crate) fn challenged(&mut self, nonce: Hex<32>, now: Now, session: &dyn Session) -> Result<Effect, Cut> {
        if self.proving.is_some() {
            return Err(Cut::Protocol("a question before the answer to the last"));
        }
        self.refill(now);
        self.tokens = self.tokens.checked_sub(1).ok_or(Cut::Flood)?;
        let exporter = session.export(&nonce.0).ok_or(Cut::NoSecret)?;
        let channel = Channel {
            role: self.role,
            nonce: &nonce.0,
            exporter: &exporter,
            attester_spki: &self.ours,
            verifier_spki: &self.peer,
        };
        self.proving = Some(nonce);
        Ok(Effect::Prove {
            nonce,
            report_data: channel.report_data(),
        })
    }

    pub(crate) fn proved(&mut self, nonce: Hex<32>, answer: Option<Answer>) -> Result<Effect, Cut> {
        let Answer { proof, gpu } = answer.ok_or(Cut::NoProof)?;
        self.proving = None;
        self.answered = Some(nonce);
        Ok(Effect::Send(Message::Evidence { nonce, proof, gpu }))
    }

    pub(crate) fn accepted(&mut self, nonce: Hex<32>, until: u64) -> Result<(), Cut> {
        if self.answered != Some(nonce) {
            return Err(Cut::Protocol("an acceptance of what was not said"));
        }
        self.answered = None;
        self.acceptance = Acceptance::Until(until);
        Ok(())
    }

    fn refill(&mut self, now: Now) {
        let passed = now.elapsed.saturating_sub(self.since.elapsed).as_secs() / REFILL.as_secs();
        let added = u32::try_from(passed).unwrap_or(BURST).min(BURST);
        self.tokens = self.tokens.saturating_add(added).min(BURST);
        self.since = if self.tokens == BURST {
            now
        } else {
            self.since.after(REFILL * added)
        };
    }
}
