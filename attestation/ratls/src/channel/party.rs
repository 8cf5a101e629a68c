//! One side of a connection: it asks, and it is asked.

use std::sync::Arc;

use attestation::Hex;

use super::{
    Acceptance, Answer, Cut, Effect, Footing, Message, Now, Session, challenger::Challenger, responder::Responder,
};
use crate::{identity::Identity, peer::Peer};

#[derive(Clone, Debug)]
pub enum Event {
    /// The control stream is open. First, and once.
    Opened,
    Received(Message),
    /// What [`Effect::Prove`] asked for; `None` where no answer could be made.
    Proved {
        nonce: Hex<32>,
        answer: Option<Answer>,
    },
    /// Policy, collateral or anchor are others than before.
    TrustChanged,
    /// [`Party::wake`] has come.
    Tick,
    /// Something came that is no message.
    Broken(&'static str),
}

/// Both machines of one side, and whether the connection is over.
#[derive(Debug)]
pub struct Party {
    challenger: Option<Challenger>,
    responder: Option<Responder>,
    over: bool,
}

impl Party {
    /// Of a connection that was made with `identity` to `peer`. One of them is missing where an app's side showed no
    /// certificate; where both are missing there is nothing to bind.
    pub fn new(identity: Option<&Identity>, peer: Option<&Arc<Peer>>, now: Now) -> Self {
        let peer_spki = peer.map_or([0; 32], |peer| *peer.spki_sha256());
        Self {
            challenger: peer.map(|peer| Challenger::new(Arc::clone(peer), now)),
            responder: identity.map(|identity| {
                Responder::new(
                    identity.role(),
                    *identity.spki_sha256(),
                    peer_spki,
                    identity.not_after(),
                    now,
                )
            }),
            over: false,
        }
    }

    /// Where the connection stands. One that is over stands nowhere.
    pub fn footing(&self) -> Footing {
        if self.over {
            return Footing::default();
        }
        Footing {
            peer: self.challenger.as_ref().map(Challenger::status),
            ours: self
                .responder
                .as_ref()
                .map_or(Acceptance::NotAsked, Responder::acceptance),
        }
    }

    /// Whether it was cut.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// When to send [`Event::Tick`], if nothing else happens.
    pub fn wake(&self) -> Option<Now> {
        let asks = self.challenger.as_ref().map(Challenger::wake);
        let asked = self.responder.as_ref().map(Responder::wake);
        match (asks, asked) {
            (Some(asks), Some(asked)) => Some(asks.earlier(asked)),
            (asks, asked) => asks.or(asked),
        }
    }

    /// A handful of effects at most; after [`Effect::Cut`] none.
    pub fn step(&mut self, event: Event, now: Now, session: &dyn Session) -> Vec<Effect> {
        if self.over {
            return Vec::new();
        }
        let mut effects = Vec::new();
        let turned = self.turn(event, now, session, &mut effects);
        self.over = turned.is_err();
        effects.push(Effect::Footing(self.footing()));
        if let Err(cut) = turned {
            // It is told of its own failures, by their code.
            if matches!(
                cut,
                Cut::Refused(_) | Cut::Statement | Cut::Late | Cut::Unanswered | Cut::Ended
            ) {
                let code = cut.code().to_owned();
                effects.push(Effect::Send(Message::Refused { code }));
            }
            effects.push(Effect::Cut(cut));
        }
        effects
    }

    fn turn(&mut self, event: Event, now: Now, session: &dyn Session, effects: &mut Vec<Effect>) -> Result<(), Cut> {
        // Whatever comes, what is over is over: an answer that arrives after its end is not looked at.
        effects.extend(self.tick(now, session)?);
        match event {
            Event::Opened => {
                if let Some(challenger) = &mut self.challenger {
                    effects.extend(challenger.ask(now, session)?);
                }
            }
            Event::Tick => {}
            Event::Broken(what) => return Err(Cut::Protocol(what)),
            Event::TrustChanged => {
                if let Some(challenger) = &mut self.challenger {
                    effects.extend(challenger.changed(now, session)?);
                }
            }
            Event::Received(message) => effects.extend(self.received(message, now, session)?),
            Event::Proved { nonce, answer } => {
                if let Some(responder) = &mut self.responder {
                    effects.push(responder.proved(nonce, answer)?);
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, now: Now, session: &dyn Session) -> Result<Option<Effect>, Cut> {
        if let Some(responder) = &self.responder {
            responder.tick(now)?;
        }
        match &mut self.challenger {
            Some(challenger) => challenger.tick(now, session),
            None => Ok(None),
        }
    }

    fn received(&mut self, message: Message, now: Now, session: &dyn Session) -> Result<Option<Effect>, Cut> {
        match message {
            Message::Challenge { nonce } => {
                let responder = self.responder.as_mut().ok_or(Cut::Protocol("a question to nobody"))?;
                responder.challenged(nonce, now, session).map(Some)
            }
            Message::Accepted { nonce, until, .. } => {
                let responder = self
                    .responder
                    .as_mut()
                    .ok_or(Cut::Protocol("an acceptance of nobody"))?;
                responder.accepted(nonce, until)?;
                Ok(None)
            }
            Message::Evidence { nonce, proof, gpu } => {
                let challenger = self.challenger.as_mut().ok_or(Cut::Protocol("evidence of nobody"))?;
                challenger.answered(nonce, Answer { proof, gpu }, now).map(Some)
            }
            Message::Refused { code } => Err(Cut::Unwelcome { code: bounded(code) }),
        }
    }
}

/// A peer's word that goes into logs and metrics: one of a code's form, or none.
fn bounded(code: String) -> String {
    let sound = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if sound { code } else { "unnamed".to_owned() }
}
