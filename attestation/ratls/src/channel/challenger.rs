//! The side that asks: one peer, one connection.

use std::{sync::Arc, time::Duration};

use attestation::{Hex, Verdict};

use super::{
    Answer, Attested, Cut, Effect, FIRST_ANSWER, GRACE, LIFETIME, Message, Now, Question, RENEW, Said, Session, Status,
};
use crate::peer::Peer;

/// No question follows another faster, however soon a verdict ends.
const PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Challenger {
    peer: Arc<Peer>,
    asked: Option<Asked>,
    bound: Option<Bound>,
    /// Until when the first answer is due.
    due: Now,
    /// When the connection ends, whatever is said on it.
    end: Now,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    at: Now,
}

/// The last answer that was accepted.
#[derive(Debug)]
struct Bound {
    attested: Arc<Attested>,
    asked_at: Now,
    renew: Now,
    ends: Now,
    late: bool,
}

impl Challenger {
    pub(crate) fn new(peer: Arc<Peer>, now: Now) -> Self {
        let end = now.at_unix(peer.not_after());
        Self {
            peer,
            asked: None,
            bound: None,
            due: now.after(FIRST_ANSWER),
            end,
        }
    }

    pub(crate) fn status(&self) -> Status {
        match &self.bound {
            None => Status::Pending,
            Some(bound) if bound.late => Status::Late(Arc::clone(&bound.attested)),
            Some(bound) => Status::Bound(Arc::clone(&bound.attested)),
        }
    }

    /// Until when nothing happens here by itself.
    pub(crate) fn wake(&self) -> Now {
        let next = match &self.bound {
            None => self.due,
            Some(bound) if bound.late => bound.ends.after(GRACE),
            Some(bound) if self.asked.is_some() => bound.ends,
            Some(bound) => bound.renew.earlier(bound.ends),
        };
        next.earlier(self.end)
    }

    pub(crate) fn ask(&mut self, now: Now, session: &dyn Session) -> Result<Option<Effect>, Cut> {
        // An answer is on its way: one question at a time.
        if self.asked.is_some() {
            return Ok(None);
        }
        let nonce = session.nonce().ok_or(Cut::NoSecret)?;
        let exporter = session.export(&nonce).ok_or(Cut::NoSecret)?;
        self.asked = Some(Asked {
            question: self.peer.question(nonce, exporter),
            at: now,
        });
        Ok(Some(Effect::Send(Message::Challenge { nonce: Hex(nonce) })))
    }

    pub(crate) fn answered(&mut self, nonce: Hex<32>, answer: Answer, now: Now) -> Result<Effect, Cut> {
        let asked = self
            .asked
            .take()
            .ok_or(Cut::Protocol("evidence that nobody asked for"))?;
        if asked.question.nonce != nonce.0 {
            return Err(Cut::Protocol("evidence for another nonce"));
        }
        let said = Arc::new(Said::read(answer)?);
        let first = self.bound.as_ref().map(|bound| bound.attested.verdict());
        let bound = self.appraise(asked.question, said, first, asked.at, now)?;
        let accepted = Message::Accepted {
            nonce,
            tier: bound.attested.verdict().tier(),
            until: bound.ends.unix,
        };
        self.bound = Some(bound);
        Ok(Effect::Send(accepted))
    }

    /// What we trust has changed: the last answer is worth what it is worth now.
    pub(crate) fn changed(&mut self, now: Now, session: &dyn Session) -> Result<Option<Effect>, Cut> {
        if let Some(bound) = self.bound.take() {
            let Attested {
                verdict,
                question,
                said,
                ..
            } = &*bound.attested;
            self.bound = Some(self.appraise(*question, Arc::clone(said), Some(verdict), bound.asked_at, now)?);
        } else {
            self.peer.appraise_again(now.unix).map_err(Cut::Refused)?;
        }
        self.ask(now, session)
    }

    pub(crate) fn tick(&mut self, now: Now, session: &dyn Session) -> Result<Option<Effect>, Cut> {
        if now.reached(self.end) {
            return Err(Cut::Ended);
        }
        let Some(bound) = &mut self.bound else {
            return if now.reached(self.due) {
                Err(Cut::Unanswered)
            } else {
                Ok(None)
            };
        };
        if now.reached(bound.ends.after(GRACE)) {
            return Err(Cut::Late);
        }
        bound.late = now.reached(bound.ends);
        if now.reached(bound.renew) {
            self.ask(now, session)
        } else {
            Ok(None)
        }
    }

    fn appraise(
        &self,
        question: Question,
        said: Arc<Said>,
        first: Option<&Verdict>,
        asked_at: Now,
        now: Now,
    ) -> Result<Bound, Cut> {
        let attested = self
            .peer
            .appraise_channel(question, said, first, asked_at.unix, now.unix)?;
        // Counted from the question, so that an answer held back is not fresher than one sent at once; and an answer
        // that is appraised again is no younger for it.
        let lifetime = self.peer.max_age().min(LIFETIME);
        let ends = now
            .at_unix(attested.verdict.expires())
            .earlier(asked_at.after(lifetime));
        let renew = asked_at.after(RENEW).earlier(before(ends, LIFETIME - RENEW));
        let pause = asked_at.after(PAUSE);
        Ok(Bound {
            renew: if pause.reached(renew) { pause } else { renew },
            late: now.reached(ends),
            attested: Arc::new(attested),
            asked_at,
            ends,
        })
    }
}

fn before(moment: Now, wait: Duration) -> Now {
    Now {
        unix: moment.unix.saturating_sub(wait.as_secs()),
        elapsed: moment.elapsed.saturating_sub(wait),
    }
}
