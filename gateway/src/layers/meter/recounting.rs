//! The words of a charged answer, kept while it passes so that they can be counted when it has ended.
//!
//! Only where the model's tokenizer is configured; everyone else's answers pass without a copy.

use std::sync::Arc;

use backends::attempt::Outbound;
use billing::HiddenReasoning;

use crate::{
    ledger::Captured,
    recount::{Pending, Recounts, Texts, Transcript, Vocabulary},
};

pub(super) struct Recounting {
    recounts: Recounts,
    vocabulary: Arc<Vocabulary>,
    outbound: Arc<Outbound>,
    answer: Transcript,
    /// Whether what was heard are events.
    is_stream: bool,
}

impl Recounting {
    pub(super) fn new(recounts: &Recounts, vocabulary: Arc<Vocabulary>, outbound: &Arc<Outbound>) -> Self {
        Self {
            answer: recounts.transcript(),
            is_stream: true,
            recounts: recounts.clone(),
            vocabulary,
            outbound: outbound.clone(),
        }
    }

    /// The client is given this piece of a stream.
    pub(super) fn hear(&mut self, piece: &[u8]) {
        self.answer.push(piece);
    }

    /// The client is given this answer, whether or not it asked for a stream.
    pub(super) fn hear_whole(&mut self, answer: &[u8]) {
        self.is_stream = false;
        self.answer.push(answer);
    }

    /// Hands everything in for when the charge is durable.
    pub(super) fn follow(self, captured: Captured, is_whole: bool, hidden: bool) -> Captured {
        let pending = Pending {
            texts: Texts {
                outbound: self.outbound,
                answer: self.answer,
                is_stream: self.is_stream,
                is_whole,
            },
            vocabulary: self.vocabulary,
            hidden: if hidden {
                HiddenReasoning::Billed
            } else {
                HiddenReasoning::Free
            },
        };
        let recounts = self.recounts;
        captured.inspect(move |charge| recounts.submit(pending, charge.clone()))
    }
}
